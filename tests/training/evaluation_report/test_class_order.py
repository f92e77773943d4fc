import numpy as np
import pytest

from training.evaluation_report.class_order import order_by_confusion


def test_classes_that_are_confused_stand_together():
    """Groups of six among sixty classes whose labels tell nothing of them."""
    generator = np.random.default_rng(0)
    group = generator.permutation(60) // 6
    matrix = np.where(group[:, np.newaxis] == group, generator.integers(2, 9, (60, 60)), 0)
    matrix += generator.integers(0, 2, (60, 60))
    order = order_by_confusion(matrix)
    assert sorted(order) == list(range(60))
    assert (np.diff(group[order]) != 0).sum() == 9  # each group is in one piece


def test_a_chain_is_laid_out_as_a_chain():
    """Each class is taken for its two neighbours only."""
    place = np.random.default_rng(1).permutation(8)
    matrix = np.zeros((8, 8), int)
    for one in range(8):
        matrix[one, one] = 10
        for other in range(8):
            if abs(place[one] - place[other]) == 1:
                matrix[one, other] = 4
    steps = np.abs(np.diff(place[order_by_confusion(matrix)]))
    assert (steps == 1).sum() >= 6


@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_mistakes_the_order_is_that_of_labels(count):
    order = order_by_confusion(np.eye(count, dtype=int) * 3)
    assert order.tolist() == list(range(count))


def test_a_class_without_images_does_no_harm():
    matrix = np.array([[0, 0, 0], [0, 3, 1], [0, 2, 2]])
    assert order_by_confusion(matrix).tolist() == [1, 2, 0]
