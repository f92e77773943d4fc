"""How far a run has come in its data, which a checkpoint keeps.

Steps do not tell: with another batch size or another number of photos the same step is at another
place in another epoch.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import tensorflow as tf


class Progress:
    """The epoch that a run is in, and how many images of it have been taken.

    Args:
      num_examples: images in an epoch.
      fingerprint: of what these images are; see `ImageDataset.fingerprint`.
      batch_size_before: of a run whose checkpoints, of an earlier version, count steps alone.

    Attributes:
      variable: int64 [4], to be kept in checkpoints: the epoch, images taken of it, images in it,
        and their fingerprint.
      validated: int64 [], to be kept too: the step of the last validation.
    """

    def __init__(self, num_examples: int, fingerprint: int = 0, batch_size_before: int = 1):
        self._num_examples = num_examples
        self._fingerprint = fingerprint
        self._batch_size_before = batch_size_before
        with tf.device("CPU:0"):
            self.variable = tf.Variable([0, 0, num_examples, fingerprint], dtype=tf.int64)
            self.validated = tf.Variable(0, dtype=tf.int64)

    @property
    def place(self) -> tuple[int, int]:
        """The epoch, counted from 0, and the position in it of the image that comes next."""
        epoch, taken, _, _ = self.variable.numpy().tolist()
        return epoch, taken

    @property
    def num_taken(self) -> int:
        """Images taken so far, in epochs of as many images as there are now."""
        epoch, taken = self.place
        return epoch * self._num_examples + taken

    @property
    def epoch(self) -> float:
        """Epochs so far, with the part of the one that has begun."""
        return self.num_taken / self._num_examples

    def advance(self, num_images: int) -> None:
        """Counts images that have been taken."""
        self._move_to(self.num_taken + num_images)

    def take_up(self, step: int, lacks: Container[str] = ()) -> tuple[str, float]:
        """Brings what a checkpoint says to the images that there are now.

        Args:
          step: of the checkpoint.
          lacks: what it does not say, by the names "progress" and "validated".

        Returns:
          What is different now, for the user, empty if the images are those that there were, so
          that the run goes on exactly where it was; and the epoch that it was in.
        """
        if "progress" in lacks:
            self._move_to(step * self._batch_size_before)
        if "validated" in lacks:
            self.validated.assign(step)
        epoch, taken, num_before, _ = self.variable.numpy().tolist()
        return self._fit_to_data(), epoch + taken / num_before

    def _fit_to_data(self) -> str:
        epoch, taken, num_before, fingerprint_before = self.variable.numpy().tolist()
        if num_before == self._num_examples and fingerprint_before == self._fingerprint:
            return ""
        share = taken / num_before
        # Never at the end of an epoch, which is the beginning of the next.
        taken = min(round(share * self._num_examples), self._num_examples - 1)
        self._move_to(epoch * self._num_examples + taken)
        if num_before == self._num_examples:
            what = f"They are {num_before:,} as before, but not the same"
        else:
            what = f"They are {self._num_examples:,} now and were {num_before:,}"
        said = f"The images to train on have changed. {what}. It goes on at epoch {self.epoch:.2f}."
        if taken:
            said += " In this epoch some may come twice and others not at all."
        return said

    def _move_to(self, num_images: int) -> None:
        epoch, taken = divmod(num_images, self._num_examples)
        self.variable.assign(np.array([epoch, taken, self._num_examples, self._fingerprint]))
