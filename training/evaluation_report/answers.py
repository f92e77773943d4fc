"""What an evaluation answered, kept small: five classes an image rather than a thousand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answer for each image that was counted.

    Attributes:
      index: int64 [images], the image's position in the dataset.
      label: int32 [images], the true class.
      top_classes: int32 [images, k], the likeliest classes, the likeliest first; k is at most 5.
      top_probabilities: float32 [images, k], theirs.
      true_probability: float32 [images], that of the true class.
      num_classes: of the network.
    """

    index: np.ndarray
    label: np.ndarray
    top_classes: np.ndarray
    top_probabilities: np.ndarray
    true_probability: np.ndarray
    num_classes: int

    @property
    def given(self) -> np.ndarray:
        """int32 [images], the class that each image was taken for."""
        return self.top_classes[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """float32 [images], the probability of that class."""
        return self.top_probabilities[:, 0]

    @property
    def right(self) -> np.ndarray:
        """Bool [images], whether that class is the true one."""
        return self.given == self.label

    def most_confident_mistakes(self, most: int) -> np.ndarray:
        """Positions in these arrays of the wrong answers, the most confident first."""
        wrong = np.flatnonzero(~self.right)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]

    def least_confident_right(self, most: int) -> np.ndarray:
        """Positions in these arrays of the right answers, the least confident first."""
        right = np.flatnonzero(self.right)
        return right[np.argsort(self.confidence[right], kind="stable")][:most]


class AnswersCollector:
    """Takes the batches of an `Evaluator`; about 60 bytes an image are kept of them.

    Args:
      num_classes: of the network.
    """

    def __init__(self, num_classes: int):
        self._num_classes = num_classes
        self._batches: list[tuple[np.ndarray, ...]] = []

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Takes a batch of answers, as `Evaluator.run` gives them to those that take them.

        Args:
          batch: "index" and "label", [batch]; "probabilities" [batch, classes]; "top_classes"
            [batch, k]; "loss" [batch], the negative logarithm of the true class's probability.
        """
        top_classes = batch["top_classes"]
        self._batches.append(
            (
                batch["index"].astype(np.int64),
                batch["label"].astype(np.int32),
                top_classes.astype(np.int32),
                np.take_along_axis(batch["probabilities"], top_classes, axis=1).astype(np.float32),
                np.exp(-batch["loss"]).astype(np.float32),
            )
        )

    def answers(self) -> Answers:
        """All that were taken.

        Raises:
          ValueError: if there are none.
        """
        if not any(len(index) for index, *_ in self._batches):
            raise ValueError("There is no answer to report on: no image was evaluated.")
        index, label, top_classes, top_probabilities, true_probability = (
            np.concatenate(column) for column in zip(*self._batches, strict=True)
        )
        return Answers(
            index, label, top_classes, top_probabilities, true_probability, self._num_classes
        )
