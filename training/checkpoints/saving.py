"""The checkpoints of a run: the last few and the best, saved and taken up again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.checkpoints.finding import BEST_FOLDER, CHECKPOINT_NAME, latest_checkpoint
from training.checkpoints.sources import damage_explained


class RunCheckpoints:
    """Keeps what a run needs to go on: the last few checkpoints, and the best.

    Args:
      train_dir: of the run.
      step: steps taken, an integer variable.
      network: variables by their TF-Slim names.
      optimizer: its variables.
      averages: moving averages by the names of the network's variables.
      learning_rate: float64, the state of the learning rate.
      keep: how many of the last to keep.
      writes: whether this process writes; of several hosts one does.
    """

    def __init__(
        self,
        train_dir: str,
        *,
        step: tf.Variable,
        network: Mapping[str, keras.Variable],
        optimizer: list[keras.Variable],
        averages: Mapping[str, tf.Variable],
        learning_rate: tf.Variable,
        keep: int = 3,
        writes: bool = True,
    ):
        self.train_dir = train_dir
        self._step = step
        self._keep = keep
        self._writes = writes
        with tf.device("CPU:0"):
            self._best_top_1 = tf.Variable(-1.0, dtype=tf.float64, name="best_top_1")
        self._variables = {
            "step": step,
            "best_top_1": self._best_top_1,
            "learning_rate": learning_rate,
            "network": tensorflow_variables(network),
            "averages": dict(averages),
            "optimizer": tensorflow_variables({one.path: one for one in optimizer}),
        }
        self._checkpoint = tf.train.Checkpoint(**self._variables)
        self._last, self._best = (
            tf.train.CheckpointManager(
                self._checkpoint, folder, max_to_keep=count, checkpoint_name=CHECKPOINT_NAME
            )
            for folder, count in ((train_dir, keep), (os.path.join(train_dir, BEST_FOLDER), 1))
        )

    @property
    def best_top_1(self) -> float:
        """The highest validation accuracy so far, 0 to 1; -1 before the first validation."""
        return float(self._best_top_1)

    def last(self) -> str | None:
        """The last checkpoint; None before the first."""
        return latest_checkpoint(self.train_dir)

    def best(self) -> str | None:
        """The checkpoint of the highest validation accuracy; None before the first."""
        return latest_checkpoint(os.path.join(self.train_dir, BEST_FOLDER))

    def resume(self) -> str | None:
        """Takes up the last checkpoint, if there is one, and returns it.

        Raises:
          ValueError: if it is damaged, or of a run with other settings.
        """
        last = self.last()
        if last:
            with damage_explained(last):
                self._checkpoint.restore(last).assert_consumed()
        return last

    def save(self) -> None:
        """Saves the run as it is.

        Raises:
          ValueError: if the disk is full.
        """
        self._save_with(self._last)

    def save_if_best(self, top_1: float) -> None:
        """Saves the run among the best if its validation accuracy is higher than ever.

        Raises:
          ValueError: if the disk is full.
        """
        if top_1 > self.best_top_1:
            self._best_top_1.assign(top_1)
            self._save_with(self._best)

    def _save_with(self, manager: tf.train.CheckpointManager) -> None:
        if not self._writes:
            return
        try:
            manager.save(int(self._step))
        except tf.errors.ResourceExhaustedError as error:
            raise ValueError(self._disk_full()) from error

    def _disk_full(self) -> str:
        numbers = sum(
            int(np.prod(variable.shape))
            for part in ("network", "averages", "optimizer")
            for variable in self._variables[part].values()
        )
        return (
            f"The checkpoint of step {int(self._step):,} could not be written: no space is left in "
            f"{self.train_dir}. One takes {numbers * 4 / 1e6:,.0f} MB, and --keep_checkpoints="
            f"{self._keep} of them are kept besides the best. The last complete one is "
            f"{self.last()}. Free some space; the same command continues from it."
        )


def tensorflow_variables(variables: Mapping[str, keras.Variable]) -> dict[str, Any]:
    """What `tf.train.Checkpoint` keeps by name, so that layers can be moved without harm."""
    return {name: variable.value for name, variable in variables.items()}
