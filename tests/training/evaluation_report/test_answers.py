import numpy as np
import pytest
from told_answers import ROWS, batch_of, collected

from training.evaluation_report.answers import AnswersCollector


def test_what_is_kept_is_what_was_answered_whatever_the_batch():
    whole = collected(ROWS, batch_size=6)
    for batch_size in (1, 4):
        parts = collected(ROWS, batch_size)
        for name in ("index", "label", "top_classes", "top_probabilities", "true_probability"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert whole.given.tolist() == [0, 0, 1, 1, 0, 1]
    assert whole.right.tolist() == [True, True, False, True, False, True]
    np.testing.assert_allclose(whole.confidence, [0.9, 0.6, 0.7, 0.8, 0.95, 0.5])
    np.testing.assert_allclose(whole.true_probability, [0.9, 0.6, 0.2, 0.8, 0.03, 0.5], rtol=1e-6)


def test_five_of_many_classes_are_kept():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(200))
    answers = collected([(7, probabilities)])
    assert answers.top_classes.shape == (1, 5)
    expected = np.sort(probabilities)[::-1][:5]
    np.testing.assert_allclose(answers.top_probabilities[0], expected, rtol=1e-6)


def test_mistakes_come_by_falling_and_right_answers_by_rising_confidence():
    answers = collected(ROWS)
    assert answers.most_confident_mistakes(10).tolist() == [4, 2]
    assert answers.most_confident_mistakes(1).tolist() == [4]
    assert answers.least_confident_right(3).tolist() == [5, 1, 3]


def test_nothing_to_report_on_is_said():
    collector = AnswersCollector(3)
    with pytest.raises(ValueError, match="There is no answer to report on"):
        collector.answers()
    collector.add({name: value[:0] for name, value in batch_of(ROWS).items()})
    with pytest.raises(ValueError, match="There is no answer to report on"):
        collector.answers()
