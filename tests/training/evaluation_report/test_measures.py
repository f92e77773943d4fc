import numpy as np
import pytest
from told_answers import answered, collected

from training.evaluation_report.measures import (
    class_measures,
    confusion_counts,
    reliability,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "below", "above"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_intervals_are_those_of_the_table(successes, trials, below, above):
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872: table I, method 3."""
    assert wilson_interval(successes, trials) == pytest.approx((below, above), abs=6e-5)


# Rows: 3 of 4 images of class 0 right, 1 of 2 of class 1, none of class 2, no image of class 3.
PAIRS = ((0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 0), (2, 3))


def test_classes_are_measured_as_by_hand():
    measures = class_measures(answered(PAIRS, 5))
    assert measures.support.tolist() == [4, 2, 3, 0, 0]
    assert measures.given.tolist() == [6, 2, 0, 1, 0]
    assert measures.right.tolist() == [3, 1, 0, 0, 0]
    np.testing.assert_allclose(measures.recall, [3 / 4, 1 / 2, 0, np.nan, np.nan])
    np.testing.assert_allclose(measures.precision, [3 / 6, 1 / 2, np.nan, 0, np.nan])
    np.testing.assert_allclose(measures.f1, [0.6, 0.5, 0, np.nan, np.nan])
    assert measures.worst_first().tolist() == [2, 1, 0]


def test_of_classes_that_are_equally_bad_the_larger_comes_first():
    measures = class_measures(answered([(0, 3), (1, 3), (1, 3), (2, 2), (2, 3), (3, 3)], 4))
    assert measures.worst_first().tolist() == [1, 0, 2, 3]


def test_confusion_is_counted_and_adds_up():
    counts = confusion_counts(answered(PAIRS, 5))
    expected = np.zeros((5, 5), int)
    for true, given in PAIRS:
        expected[true, given] += 1
    np.testing.assert_array_equal(counts.matrix(np.arange(5)), expected)
    np.testing.assert_array_equal([counts.row(label) for label in range(5)], expected)
    np.testing.assert_array_equal(counts.matrix(np.array([2, 0])), [[0, 2], [0, 3]])
    assert counts.images.sum() == len(PAIRS)
    assert counts.most_confused(2) == [(2, 0, 2), (0, 1, 1)]
    assert len(counts.most_confused(100)) == 4


def test_no_matrix_of_21_thousand_classes_is_made_to_count_a_few_images():
    """It would take 3.5 GB."""
    rows = [(20_999, np.zeros(21_000, np.float32))]
    rows[0][1][[5, 7]] = 0.6, 0.4
    counts = confusion_counts(collected(rows))
    assert counts.most_confused(5) == [(20_999, 5, 1)]
    assert counts.row(20_999).sum() == 1


def rows_of(confidences_and_right):
    return [
        (0 if is_right else 1, (confidence, 1 - confidence, 0))
        for confidence, is_right in confidences_and_right
    ]


def test_calibration_error_is_that_of_the_definition():
    """Two bins of ten: 0.95 sure and 3 of 4 right; 0.62 sure and 1 of 2 right."""
    rows = rows_of([(0.95, True)] * 3 + [(0.95, False), (0.62, True), (0.62, False)])
    measured = reliability(collected(rows), num_bins=10)
    assert measured.images.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 4]
    np.testing.assert_allclose(measured.accuracy[[6, 9]], [0.5, 0.75])
    np.testing.assert_allclose(measured.confidence[[6, 9]], [0.62, 0.95], rtol=1e-6)
    expected = (2 * abs(0.5 - 0.62) + 4 * abs(0.75 - 0.95)) / 6
    assert measured.expected_calibration_error == pytest.approx(expected, rel=1e-6)


def test_who_is_right_as_often_as_sure_has_no_calibration_error():
    rows = rows_of([(0.75, number < 30) for number in range(40)])
    assert reliability(collected(rows)).expected_calibration_error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("confidence", [1.0, 0.5, 2 / 3])
def test_confidence_at_the_edge_of_a_bin_is_counted_once(confidence):
    measured = reliability(collected(rows_of([(confidence, True)])))
    assert measured.images.sum() == 1
