"""The checkpoints of a run: the last few and the best, saved and taken up again."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from preprocessing.decoding import plain_message
from training.checkpoints import files
from training.checkpoints.files import (
    CHECKPOINT_NAME,
    checkpoints_in,
    own_checkpoints_in,
    step_of,
)
from training.checkpoints.finding import BEST_FOLDER, latest_checkpoint
from training.checkpoints.sources import DamagedCheckpointError, damage_explained
from training.storage.whole_files import write_text

ON_DAMAGE = ("fail", "previous")
"""What to do if the newest checkpoint is damaged: refuse, or take the one before."""


class Resumed(NamedTuple):
    """A checkpoint that was taken up.

    Attributes:
      checkpoint: its prefix.
      lacks: names of what an earlier version of this package did not save, which kept its value.
    """

    checkpoint: str
    lacks: tuple[str, ...]


class RunCheckpoints:
    """Keeps what a run needs to go on: the last few checkpoints, and the best.

    Args:
      train_dir: of the run.
      step: steps taken, an integer variable.
      network: variables by their TF-Slim names.
      optimizer: its variables.
      averages: moving averages by the names of the network's variables.
      learning_rate: float64, the state of the learning rate.
      added: variables by name that checkpoints of earlier versions lack.
      keep: how many of the last to keep.
      writes: whether this process writes; of several hosts one does.

    Attributes:
      train_dir, writes: as given.
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
        added: Mapping[str, tf.Variable] | None = None,
        keep: int = 3,
        writes: bool = True,
    ):
        self.train_dir = train_dir
        self._step = step
        self._keep = keep
        self.writes = writes
        with tf.device("CPU:0"):
            self._best_top_1 = tf.Variable(-1.0, dtype=tf.float64, name="best_top_1")
            # Lower than any: nothing is better than the best of an earlier version, which did not
            # save its loss, but for a higher accuracy.
            self._best_loss = tf.Variable(-np.inf, dtype=tf.float64, name="best_loss")
        # What must be finite.
        self._numbers = {
            "network": tensorflow_variables(network),
            "averages": dict(averages),
            "optimizer": tensorflow_variables({one.path: one for one in optimizer}),
        }
        self._added = {"best_loss": self._best_loss, **(added or {})}
        self._variables = {
            "step": step,
            "best_top_1": self._best_top_1,
            "learning_rate": learning_rate,
            **self._numbers,
        }

    @property
    def best_top_1(self) -> float:
        """The highest validation accuracy so far, 0 to 1; -1 before the first validation."""
        return float(self._best_top_1)

    def last(self) -> str | None:
        """The last checkpoint; None before the first."""
        return latest_checkpoint(self.train_dir)

    def best(self) -> str | None:
        """The checkpoint of the best validation, see `save_if_best`; None before the first."""
        return latest_checkpoint(self._best_folder)

    def before(self, step: int) -> str | None:
        """The newest checkpoint from before a step, among the last and the best; None without."""
        found = [*checkpoints_in(self.train_dir), *checkpoints_in(self._best_folder)]
        return max((path for path in found if step_of(path) < step), key=step_of, default=None)

    def num_bytes(self) -> int:
        """How many bytes a checkpoint takes, but for the names of its variables."""
        return sum(
            int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size
            for part in self._numbers.values()
            for variable in part.values()
        )

    def bytes_to_come(self) -> int:
        """How many bytes the checkpoints of the run take at most, besides those there now.

        These are as many as are kept, the best, and one that is written before another is removed.
        """
        num_there = len(own_checkpoints_in(self.train_dir)) + (self.best() is not None)
        return max(self._keep + 2 - num_there, 1) * self.num_bytes()

    def is_finite(self) -> bool:
        """Whether no weight, no average of it and nothing of the optimizer is a NaN or infinite."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(shard)))
            for part in self._numbers.values()
            for variable in part.values()
            # Of one that is divided among devices, no device need hold the whole.
            for shard in getattr(variable, "shards", [variable])
            if variable.dtype.is_floating
        )

    def resume(self, on_damaged: str = "fail") -> Resumed | None:
        """Takes up the last checkpoint; None if there is none.

        What killed processes left of others is removed first.

        Args:
          on_damaged: of `ON_DAMAGE`; "previous" sets a damaged checkpoint aside, says so, and takes
            the newest that is whole, in the end the best.

        Raises:
          ValueError: if it is damaged or holds NaNs, if all are, or if it is of a run with other
            settings.
        """
        if self.writes:
            for folder in (self.train_dir, self._best_folder):
                files.remove_leftovers(folder)
        newest_first = checkpoints_in(self.train_dir)[::-1] + checkpoints_in(self._best_folder)
        for path, before in itertools.zip_longest(newest_first, newest_first[1:]):
            try:
                return self._read(path)
            except DamagedCheckpointError as error:
                if on_damaged == "fail":
                    raise ValueError(f"{error} {_advice(before)}") from error
                print(f"WARNING: {error} {self._out_of_the_way(path)}")
        aside = checkpoints_in(os.path.join(self.train_dir, files.ASIDE_FOLDER))
        if newest_first or aside:
            raise ValueError(
                f"{self.train_dir} holds a run, but no checkpoint that it can go on from: "
                f"{', '.join(newest_first + aside)} are damaged, or of weights that had diverged. "
                "Give another --train_dir to start anew."
            )
        return None

    def take_up(self, checkpoint: str) -> Resumed:
        """Takes up one of the checkpoints of this run; errors as those of `resume`."""
        return self._read(checkpoint)

    def set_aside(self, since: int) -> list[str]:
        """Moves the last checkpoints since a step away, so that no run goes on from them.

        Of those that have been moved so far, no more are kept than of the others.

        Returns:
          Where they are now.
        """
        ruined = [path for path in own_checkpoints_in(self.train_dir) if step_of(path) >= since]
        moved = [files.set_aside(path) for path in ruined if self.writes]
        aside = own_checkpoints_in(os.path.join(self.train_dir, files.ASIDE_FOLDER))
        earlier = [path for path in aside if path not in moved]
        for path in earlier[: -self._keep] if moved else ():
            files.remove_checkpoint(path)
        return moved

    def save(self, good_step: int | None = None) -> None:
        """Saves the run as it is, and removes the oldest if there are too many.

        Args:
          good_step: the newest checkpoint of this step or before is kept in any case: those after
            it may turn out to be ruined. None is the newest.

        Raises:
          ValueError: if it cannot be written, as on a full disk.
        """
        self._save_in(self.train_dir, self._keep, good_step)

    def save_if_best(self, top_1: float, loss: float) -> None:
        """Saves the run as the best if its validation accuracy is higher than ever.

        Of as high an accuracy, which few images give often, the lower validation loss is better.

        Raises:
          ValueError: if it cannot be written, as on a full disk.
        """
        is_as_high = top_1 == self.best_top_1 and loss < float(self._best_loss)
        if top_1 > self.best_top_1 or is_as_high:
            self._best_top_1.assign(top_1)
            self._best_loss.assign(loss)
            self._save_in(self._best_folder, 1)

    @property
    def _best_folder(self) -> str:
        return os.path.join(self.train_dir, BEST_FOLDER)

    def _read(self, prefix: str) -> Resumed:
        with damage_explained(prefix), files.readable_path(prefix) as path:
            names = {name.partition("/")[0] for name, _ in tf.train.list_variables(path)}
            lacks = tuple(name for name in self._added if name not in names)
            there = {name: self._added[name] for name in self._added if name in names}
            _checkpoint(self._variables | there).read(path).assert_consumed()
        if not self.is_finite():
            raise DamagedCheckpointError(f"The checkpoint {prefix} holds NaNs or infinities.")
        return Resumed(prefix, lacks)

    def _out_of_the_way(self, prefix: str) -> str:
        """Sets a damaged checkpoint aside, but for the best, and says what was done."""
        if os.path.dirname(prefix) == self._best_folder:
            return "The run goes on from the one before."
        if self.writes:
            files.set_aside(prefix)
        place = files.place_aside(prefix)
        return f"Its files are now {place}.*, and the run goes on from the one before."

    def _save_in(self, folder: str, keep: int, good_step: int | None = None) -> None:
        if not self.writes:
            return
        prefix = os.path.join(folder, f"{CHECKPOINT_NAME}-{int(self._step)}")
        with self._failure_explained(prefix):
            os.makedirs(folder, exist_ok=True)
            _checkpoint(self._variables | self._added).write(prefix)
        # The newest in time comes last; its step is not the highest after the run has gone back.
        paths = [path for path in own_checkpoints_in(folder) if path != prefix] + [prefix]
        good = [path for path in paths if good_step is None or step_of(path) <= good_step]
        for path in paths[:-keep]:
            if path not in good[-1:]:
                files.remove_checkpoint(path)
        _write_list(folder, paths[-keep:])

    @contextlib.contextmanager
    def _failure_explained(self, prefix: str) -> Iterator[None]:
        """Leaves nothing of a checkpoint that cannot be written, and says what to do."""
        try:
            yield
        except BaseException as error:
            files.remove_unwritten(prefix)
            if isinstance(error, tf.errors.ResourceExhaustedError):
                why = "no space is left there"
            elif isinstance(error, tf.errors.OpError):
                why = plain_message(error)
            elif isinstance(error, OSError):
                why = error.strerror or str(error)
            else:
                raise
            raise ValueError(
                f"The checkpoint of step {int(self._step):,} could not be written in "
                f"{os.path.dirname(prefix)}: {why}. One takes "
                f"{self.num_bytes() / 1e6:,.0f} MB, and "
                f"--keep_checkpoints={self._keep} of them are kept besides the best. The last "
                f"complete one is {self.last()}. When this is mended, the same command continues "
                "from it."
            ) from error


def _checkpoint(variables: Mapping[str, Any]) -> tf.train.Checkpoint:
    checkpoint = tf.train.Checkpoint(**variables)
    checkpoint.save_counter  # noqa: B018, made when asked for: earlier versions have saved one
    return checkpoint


def _write_list(folder: str, paths: list[str]) -> None:
    """Writes TensorFlow's list, for those who look for the last one with its functions."""
    names = [os.path.basename(path) for path in paths]
    lines = [f'all_model_checkpoint_paths: "{name}"' for name in names]
    lines.insert(0, f'model_checkpoint_path: "{names[-1]}"')
    try:
        write_text(os.path.join(folder, "checkpoint"), "\n".join(lines) + "\n")
    except OSError as error:  # nothing depends on it
        print(f"WARNING: {error.filename} cannot be written: {error.strerror}.")


def _advice(before: str | None) -> str:
    if before is None:
        return "There is no other: give another --train_dir to start anew."
    return (
        "--on_damaged_checkpoint=previous sets it aside and goes on from the one before, "
        f"{before}; so does the same command after you remove its files."
    )


def tensorflow_variables(variables: Mapping[str, keras.Variable]) -> dict[str, Any]:
    """What `tf.train.Checkpoint` keeps by name, so that layers can be moved without harm."""
    return {name: variable.value for name, variable in variables.items()}
