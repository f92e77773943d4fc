"""An order of classes in which those that are confused stand side by side."""

from __future__ import annotations

import numpy as np


def order_by_confusion(matrix: np.ndarray) -> np.ndarray:
    """Orders classes so that clusters of those that are taken for each other are contiguous.

    The likeness of two classes is the share of the images of each that is taken for the other.
    Clusters grow by average linkage (R. R. Sokal, C. D. Michener, "A statistical method for
    evaluating systematic relationships", 1958): time after time the two most alike become one.
    Their two rows of classes are joined where the ends are most alike. What is confused with
    nothing comes last, in the order of labels.

    Args:
      matrix: counts [classes, classes]; rows are true classes. Its time grows with the third power
        of their number: 1,000 take about a second.

    Returns:
      The positions of rows in the new order, int64 [classes].
    """
    count = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    likeness = (shares + shares.T).astype(np.float32)
    np.fill_diagonal(likeness, 0)
    ends_alike = likeness.copy()
    clusters: dict[int, list[int]] = {label: [label] for label in range(count)}
    sizes = np.ones(count)
    best = likeness.max(axis=1) if count else likeness.sum(axis=1)
    while len(clusters) > 1:
        one = int(best.argmax())
        if best[one] <= 0:
            break
        other = int(likeness[one].argmax())
        clusters[one] = _joined(clusters[one], clusters.pop(other), ends_alike)
        merged = (likeness[one] * sizes[one] + likeness[other] * sizes[other]) / (
            sizes[one] + sizes[other]
        )
        sizes[one] += sizes[other]
        merged[[one, other]] = 0
        likeness[one] = likeness[:, one] = merged
        likeness[other] = likeness[:, other] = 0
        best = likeness.max(axis=1)
    in_order = sorted(clusters.values(), key=lambda cluster: (-len(cluster), min(cluster)))
    return np.array([label for cluster in in_order for label in cluster], np.int64)


def _joined(left: list[int], right: list[int], alike: np.ndarray) -> list[int]:
    """Two rows as one: of the four ways, that with the most alike ends in the middle."""
    ways = [
        (left, right),
        (left, right[::-1]),
        (left[::-1], right),
        (left[::-1], right[::-1]),
    ]
    first, second = max(ways, key=lambda way: alike[way[0][-1], way[1][0]])
    return first + second
