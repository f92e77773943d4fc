"""The training loop: the same code for one device, several, and several hosts.

    loop = TrainingLoop(state, step, learning_rate, checkpoints, settings)
    loop.run(batches, reporter)

What it is given decides what is trained, on what, and where; it knows no flags.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from training.checkpoints.saving import RunCheckpoints
from training.evaluation import EvaluationResult
from training.input_pipeline import Example
from training.learning_rates import LearningRate
from training.reporting import Reporter
from training.training_state import TrainingState


class Step(Protocol):
    """Takes a step of training; `TrainStep` is one."""

    def __call__(self, batch: Example, rate: tf.Tensor, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `TrainStep.__call__`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long a run is, and what happens how often.

    Attributes:
      batch_size: images in a batch, over all replicas.
      steps_per_epoch: batches in a pass over the dataset; may be fractional.
      num_steps: of the whole run.
      validation_interval_epochs: between validations.
      save_interval_secs: between checkpoints.
      log_every_n_steps: between reports.
    """

    batch_size: int
    steps_per_epoch: float
    num_steps: int
    validation_interval_epochs: float = 1.0
    save_interval_secs: float = 600.0
    log_every_n_steps: int = 10


class TrainingLoop:
    """Takes steps, reports, validates and saves.

    Args:
      state: what training changes.
      step: takes a step on a batch; changes `state`.
      learning_rate: of each step.
      checkpoints: of the run.
      settings: how long and how often.
      validate: evaluates the network as it is; None does not validate.

    Attributes:
      left_out: how many times an image was left out so far.
    """

    def __init__(
        self,
        state: TrainingState,
        step: Step,
        learning_rate: LearningRate,
        checkpoints: RunCheckpoints,
        settings: LoopSettings,
        validate: Callable[[], EvaluationResult] | None = None,
    ):
        self._state = state
        self._take_step = step
        self._learning_rate = learning_rate
        self._checkpoints = checkpoints
        self._settings = settings
        self._validate = validate
        self._validate_every = max(
            1, round(settings.validation_interval_epochs * settings.steps_per_epoch)
        )
        self._pending: list[dict[str, tf.Tensor]] = []
        self.left_out = 0

    def run(
        self,
        batches: Iterator[Example],
        reporter: Reporter,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> EvaluationResult | None:
        """Trains from the state's step to the last.

        Args:
          batches: from that step on, as the strategy distributes them.
          reporter: shows and writes what happens.
          stop_requested: asked after each step; if it says yes, the run is saved and left.

        Returns:
          The last validation; None without any.

        Raises:
          ValueError: if the loss is no longer a number, or the disk is full.
          KeyboardInterrupt: if the run was left.
          tf.errors.OpError: if the next batch cannot be made; what was done is saved.
        """
        settings = self._settings
        result = None
        last_save = time.perf_counter()
        for step in range(int(self._state.step) + 1, settings.num_steps + 1):
            rate = self._learning_rate(step - 1)
            if len(self._pending) > 1:
                # A GPU is given one step ahead. With more, waiting for it would look like
                # waiting for the input.
                self._pending[-2]["loss"].numpy()
            started = time.perf_counter()
            batch = self._next(batches)
            reporter.waited(time.perf_counter() - started)
            self._train_on(batch, rate)
            self._state.step.assign(step)
            reporter.step()
            is_last = step == settings.num_steps
            is_validation = self._validates_after(step)
            is_save = time.perf_counter() - last_save > settings.save_interval_secs
            stops = stop_requested()
            if step % settings.log_every_n_steps == 0 or is_validation or is_last:
                self._report(reporter, step, rate)
            if is_validation or is_save or is_last or stops:
                started = time.perf_counter()
                if is_validation:
                    result = self._validate_and_keep_the_best(reporter, step)
                    stops = stop_requested()  # a validation can take long
                self._check_finite()
                self._checkpoints.save()
                last_save = time.perf_counter()
                reporter.paused(last_save - started)
            if stops and not is_last:
                raise KeyboardInterrupt(
                    f"Interrupted and saved at step {step:,}. The same command continues."
                )
        return result

    def _validates_after(self, step: int) -> bool:
        if self._validate is None:
            return False
        left = self._settings.num_steps - step
        # One that the last step's would follow at once is left to it.
        is_due = step % self._validate_every == 0 and 2 * left >= self._validate_every
        return is_due or left == 0

    def _next(self, batches: Iterator[Example]) -> Example:
        try:
            return next(batches)
        except tf.errors.OpError:
            if int(self._state.step):  # so that nothing is lost
                self._check_finite()
                self._checkpoints.save()
            raise

    def _train_on(self, batch: Example, rate: float) -> None:
        step = self._state.step
        self._state.set_epoch(int(step) / self._settings.steps_per_epoch)
        self._pending.append(self._take_step(batch, tf.constant(rate), tf.cast(step, tf.int32)))

    def _report(self, reporter: Reporter, step: int, rate: float) -> None:
        totals = {
            key: sum(float(outcome[key]) for outcome in self._pending)
            for key in ("loss", "right", "counted")
        }
        expected = len(self._pending) * self._settings.batch_size
        self.left_out += expected - round(totals["counted"])
        self._pending.clear()
        loss = totals["loss"] / max(totals["counted"], 1)
        if not np.isfinite(loss):
            raise ValueError(self._divergence(step, rate))
        reporter.train_metrics(step, loss, totals["right"] / max(totals["counted"], 1), rate)

    def _validate_and_keep_the_best(self, reporter: Reporter, step: int) -> EvaluationResult:
        assert self._validate is not None
        with self._state.averages_in_place():
            result = self._validate()
        epoch = step / self._settings.steps_per_epoch
        reporter.validation_metrics(step, result.as_json())
        reporter.say(f"step {step:,}, epoch {epoch:.1f}: validation {result}")
        if self._learning_rate.observe(1 - result.top_1):
            reporter.say(f"step {step:,}: no better for a while, the learning rate is lowered.")
        self._check_finite()
        self._checkpoints.save_if_best(result.top_1)
        return result

    def _check_finite(self) -> None:
        step = int(self._state.step)
        if not self._state.is_finite():
            raise ValueError(self._divergence(step, self._learning_rate(step)))

    def _divergence(self, step: int, rate: float) -> str:
        last = self._checkpoints.last()
        kept = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
        return (
            f"At step {step:,} the loss is not a number any more: training diverged at the "
            f"learning rate {rate:.3g}. {kept} Try a lower --learning_rate or --warmup_epochs."
        )
