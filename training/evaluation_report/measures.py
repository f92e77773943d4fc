"""Numbers that say how good answers are, each as its source defines it."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from training.evaluation_report.answers import Answers

_95_PERCENT = 1.959963984540054  # standard deviations to both sides of the mean
NUM_CONFIDENCE_BINS = 15


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share: Wilson's score interval, without correction for continuity.

    Unlike the usual normal approximation it stays in [0, 1], and says something of 10 out of 10.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.

    Args:
      successes: of the trials.
      trials: at least 1.
    """
    share, square = successes / trials, _95_PERCENT**2
    middle = share + square / (2 * trials)
    half = _95_PERCENT * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    below, above = (middle - half) / (1 + square / trials), (middle + half) / (1 + square / trials)
    return max(below, 0.0), min(above, 1.0)


@dataclasses.dataclass(frozen=True)
class ClassMeasures:
    """How well each class is recognized; arrays of [classes].

    Precision, recall and F1 are those of C. J. van Rijsbergen, "Information Retrieval" (1979),
    chapter 7, for each class against all others.

    Attributes:
      support: images of the class.
      given: images that were taken for it.
      right: those that are both.
      recall: right / support; NaN without images of the class.
      precision: right / given; NaN where nothing was taken for it.
      f1: 2 right / (support + given), their harmonic mean; NaN without images of the class.
    """

    support: np.ndarray
    given: np.ndarray
    right: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """See the class."""
        return _share(self.right, self.support)

    @property
    def precision(self) -> np.ndarray:
        """See the class."""
        return _share(self.right, self.given)

    @property
    def f1(self) -> np.ndarray:
        """See the class."""
        f1 = _share(2 * self.right, self.support + self.given)
        return np.where(self.support > 0, f1, np.nan)

    @property
    def present(self) -> np.ndarray:
        """The classes that have images, int64."""
        return np.flatnonzero(self.support)

    def worst_first(self) -> np.ndarray:
        """The classes that have images by their recall; of equals that with more images first."""
        present = self.present
        return present[np.lexsort((present, -self.support[present], self.recall[present]))]


def class_measures(answers: Answers) -> ClassMeasures:
    """Counts the images of each class, and the answers."""
    counts = (
        np.bincount(labels, minlength=answers.num_classes)
        for labels in (answers.label, answers.given, answers.label[answers.right])
    )
    return ClassMeasures(*counts)


@dataclasses.dataclass(frozen=True)
class ConfusionCounts:
    """The confusion matrix without its zeros, in the order of rows; arrays of [cells].

    Attributes:
      true: int64, the row: the class of the images.
      given: int64, the column: the class that they were taken for.
      images: int64, how many, at least 1.
      num_classes: rows and columns.
    """

    true: np.ndarray
    given: np.ndarray
    images: np.ndarray
    num_classes: int

    def matrix(self, classes: np.ndarray) -> np.ndarray:
        """Rows and columns of some classes, in their order: int32 [classes, classes]."""
        position = np.full(self.num_classes, -1)
        position[classes] = np.arange(len(classes))
        rows, columns = position[self.true], position[self.given]
        inside = (rows >= 0) & (columns >= 0)
        matrix = np.zeros((len(classes), len(classes)), np.int32)
        matrix[rows[inside], columns[inside]] = self.images[inside]
        return matrix

    def row(self, true: int) -> np.ndarray:
        """A whole row, int64 [classes]."""
        start, end = np.searchsorted(self.true, [true, true + 1])
        row = np.zeros(self.num_classes, np.int64)
        row[self.given[start:end]] = self.images[start:end]
        return row

    def most_confused(self, most: int) -> list[ConfusedPair]:
        """The cells beside the diagonal that hold most images, as pairs of classes."""
        beside = np.flatnonzero(self.true != self.given)
        chosen = beside[np.argsort(-self.images[beside], kind="stable")][:most]
        return [
            ConfusedPair(int(self.true[cell]), int(self.given[cell]), int(self.images[cell]))
            for cell in chosen
        ]


class ConfusedPair(NamedTuple):
    """So many images of the class `true` were taken for the class `given`."""

    true: int
    given: int
    images: int


def confusion_counts(answers: Answers) -> ConfusionCounts:
    """Counts the images of each pair of a true and a given class."""
    cells = answers.label.astype(np.int64) * answers.num_classes + answers.given
    cells, images = np.unique(cells, return_counts=True)
    true, given = np.divmod(cells, answers.num_classes)
    return ConfusionCounts(true, given, images, answers.num_classes)


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often answers of a confidence are right; arrays of [bins].

    Attributes:
      edges: of the bins, float64 [bins + 1].
      images: whose confidence is in the bin: above its lower edge, and at most its upper one.
      confidence: their mean confidence; NaN in an empty bin.
      accuracy: the share of them that is right; NaN in an empty bin.
    """

    edges: np.ndarray
    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """The mean distance of confidence and accuracy, weighted by images: 0 to 1."""
        distance = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(distance * self.images) / self.images.sum())


def reliability(answers: Answers, num_bins: int = NUM_CONFIDENCE_BINS) -> Reliability:
    """Sorts the answers by their confidence into bins of equal width.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks",
    ICML 2017, section 2, which has 15 bins; the error is that of M. P. Naeini, G. F. Cooper,
    M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    confidence = answers.confidence.astype(np.float64)
    bins = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, num_bins - 1)
    images = np.bincount(bins, minlength=num_bins)
    return Reliability(
        edges,
        images,
        _share(np.bincount(bins, confidence, minlength=num_bins), images),
        _share(np.bincount(bins, answers.right, minlength=num_bins), images),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Their quotient; NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
