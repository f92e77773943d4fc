"""The training loop: the same code for one device, several, and several hosts.

    loop = TrainingLoop(state, step, learning_rate, progress, checkpoints, settings)
    loop.run(make_batches, reporter)

What it is given decides what is trained, on what, and where; it knows no flags.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, Protocol

import numpy as np
import tensorflow as tf

from training.checkpoints.saving import RunCheckpoints
from training.evaluation import EvaluationResult
from training.hosts.agreement import Agreement
from training.input_pipeline import Example
from training.learning_rates import DIVERGENCE_FACTOR, LearningRate
from training.progress import Progress
from training.reporting import Reporter
from training.several_steps import SeveralSteps
from training.training_state import TrainingState

# In nats; a network that guesses loses 7 with 1,000 classes. The weights of one that is as sure and
# as wrong as this are ruined, though they may be finite for some steps more.
_LOST = 1e4
# Weights with a loss above this are not gone back to: they may be on the way there.
_GOOD = 100.0
# What the outcome of a step holds.
_SUMS = ("loss", "right", "counted", "unread")
# Seconds of work that a kill while validating may take along.
_LONG = 30.0


class DivergenceError(ValueError):
    """The loss of a step is no number any more, or beyond all hope.

    Args:
      step: the first such one.
      what: was seen.
    """

    def __init__(self, step: int, what: str):
        super().__init__(what)
        self.step = step
        self.what = what


class Step(Protocol):
    """Takes a step of training; `TrainStep` is one."""

    def __call__(
        self, batch: Example, rate: tf.Tensor, step: tf.Tensor, wishes: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
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
      max_nan_restarts: how often a run that diverges goes back to its last good checkpoint.
    """

    batch_size: int
    steps_per_epoch: float
    num_steps: int
    validation_interval_epochs: float = 1.0
    save_interval_secs: float = 600.0
    log_every_n_steps: int = 10
    max_nan_restarts: int = 0


class TrainingLoop:
    """Takes steps, reports, validates and saves.

    Args:
      state: what training changes.
      step: takes a step on a batch; changes `state`.
      learning_rate: of each step.
      progress: where in the data the run is.
      checkpoints: of the run.
      settings: how long and how often.
      validate: evaluates the network as it is; None does not validate.
      agreement: of the hosts; None is a single one.
      several_steps: takes steps together where nothing is due between them; None takes each by
        itself, as several hosts must, which agree at each step.

    Attributes:
      left_out: how many times an image was left out so far.
      unread: how many of those times its file could not be read.
    """

    def __init__(
        self,
        state: TrainingState,
        step: Step,
        learning_rate: LearningRate,
        progress: Progress,
        checkpoints: RunCheckpoints,
        settings: LoopSettings,
        validate: Callable[[], EvaluationResult] | None = None,
        agreement: Agreement | None = None,
        several_steps: SeveralSteps | None = None,
    ):
        self._state = state
        self._take_step = step
        self._take_several = several_steps
        self._learning_rate = learning_rate
        self._progress = progress
        self._checkpoints = checkpoints
        self._settings = settings
        self._validate = validate
        self._agreement = agreement or Agreement()
        self._validate_every = max(
            1, round(settings.validation_interval_epochs * settings.steps_per_epoch)
        )
        # The outcomes that have not been looked at, of calls by their first step, and those of
        # steps since the last report.
        self._pending: list[tuple[int, dict[str, tf.Tensor]]] = []
        self._outcomes: list[dict[str, float]] = []
        self._good_step = 0
        self._went_back_to = -1
        self.left_out = 0
        self.unread = 0

    def run(
        self,
        make_batches: Callable[[], Iterator[Example]],
        reporter: Reporter,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> EvaluationResult | None:
        """Trains from the state's step to the last.

        Args:
          make_batches: gives the batches from the progress on, as the strategy distributes them.
            It is called again when the run goes back.
          reporter: shows and writes what happens.
          stop_requested: asked at each step, or after steps that were taken together; if it says
            yes, the run is saved and left.

        Returns:
          The last validation; None without any.

        Raises:
          ValueError: if the loss is no longer a number, more often than it may go back, or if a
            checkpoint cannot be written.
          KeyboardInterrupt: if the run was left.
          Exception: if the next batch cannot be made, or a validation fails; all is saved then.
        """
        # Of what is taken up the first loss will tell.
        self._good_step = int(self._state.step) - 1
        if self._settings.max_nan_restarts and not self._checkpoints.last():
            self._checkpoints.save()  # so that there is one to go back to
        while True:
            try:
                return self._run_on(make_batches(), reporter, stop_requested)
            except DivergenceError as error:
                self._go_back(error, reporter)

    def is_finished(self) -> bool:
        """Whether the last step has been taken and validated."""
        return int(self._state.step) >= self._settings.num_steps and not self._owes_validation()

    def _run_on(
        self,
        batches: Iterator[Example],
        reporter: Reporter,
        stop_requested: Callable[[], bool],
    ) -> EvaluationResult | None:
        settings = self._settings
        result = None
        if self._owes_validation():
            result = self._validate_and_save(reporter)
        last_save = time.perf_counter()
        while int(self._state.step) < settings.num_steps:
            count = self._steps_together()
            rates = [self._learning_rate(self._place() + ahead) for ahead in range(count)]
            # A GPU is given one call ahead. With more, waiting for it would look like waiting for
            # the input.
            self._look_at_losses(but=1)
            started = time.perf_counter()
            taken = [self._next(batches) for _ in range(count)]
            reporter.waited(time.perf_counter() - started)
            saves = time.perf_counter() - last_save > settings.save_interval_secs
            self._train_on(taken, rates, self._agreement.wishes(stop_requested(), saves))
            step = int(self._state.step)
            reporter.step(count)
            is_last = step == settings.num_steps
            is_validation = self._validates_now()
            stops, saves = self._agreement.on(stop_requested(), saves)
            if step % settings.log_every_n_steps == 0 or is_validation or is_last:
                self._report(reporter, rates[-1])
            if is_validation or saves or is_last or stops:
                started = time.perf_counter()
                if is_validation:
                    # Nobody may wait for its end. The clocks of several hosts do not decide it.
                    if self._agreement.is_needed or started - last_save > _LONG:
                        self._save()
                    result = self._validate_and_save(reporter)
                    # It can take long. Other hosts hear of it at the next step.
                    stops, _ = self._agreement.on(stop_requested(), False)
                else:
                    self._save()
                last_save = time.perf_counter()
                reporter.paused(last_save - started)
            if stops and not is_last:
                self._leave()
        self._agreement.wait()  # the others end when the last checkpoint is there
        return result

    # ------------------------------------------------------------------------ steps

    def _place(self) -> float:
        """Steps of today's batch size that the run so far amounts to; mostly a whole number."""
        steps, rest = divmod(self._progress.num_taken, self._settings.batch_size)
        return steps + rest / self._settings.batch_size if rest else steps

    def _next(self, batches: Iterator[Example]) -> Example:
        try:
            return next(batches)
        except Exception:  # a source of the user's own can raise anything
            if int(self._state.step):  # so that nothing is lost
                self._save()
            raise

    def _steps_together(self) -> int:
        """How many steps come next in one call: several if nothing is due before the last."""
        if self._take_several is None:
            return 1
        count, step = self._take_several.count, int(self._state.step)
        if step + count > self._settings.num_steps:
            return 1
        for ahead in range(1, count):
            is_logged = (step + ahead) % self._settings.log_every_n_steps == 0
            if is_logged or self._validates_now(ahead) or self._changes_factors(ahead):
                return 1
        return count

    def _changes_factors(self, ahead: int) -> bool:
        """Whether the step after so many has other rate factors than the next one."""
        if not self._state.rate_factors:
            return False
        now, then = (
            self._state.rate_factors.at((self._place() + steps) / self._settings.steps_per_epoch)
            for steps in (0, ahead)
        )
        return now != then

    def _train_on(
        self, batches: Sequence[Example], rates: Sequence[float], wishes: tf.Tensor | None
    ) -> None:
        self._state.set_epoch(self._place() / self._settings.steps_per_epoch)
        step = int(self._state.step)
        taken = tf.constant(step, tf.int32)
        if len(batches) == 1:
            outcome = self._take_step(batches[0], tf.constant(rates[0]), taken, wishes)
        else:
            assert self._take_several
            outcome = self._take_several(tuple(batches), tf.constant(rates), taken)
        self._pending.append((step + 1, outcome))
        self._state.step.assign(step + len(batches))
        self._progress.advance(len(batches) * self._settings.batch_size)

    def _look_at_losses(self, but: int = 0) -> None:
        """Waits for the losses of all calls but the newest, and raises if one is lost."""
        while len(self._pending) > but:
            first, outcome = self._pending.pop(0)
            sums = {key: np.ravel(outcome[key]).tolist() for key in _SUMS}
            for step, values in enumerate(zip(*sums.values(), strict=True), first):
                of_step = dict(zip(sums, values, strict=True))
                loss = of_step["loss"] / max(of_step["counted"], 1)
                if not math.isfinite(loss):
                    raise DivergenceError(step, "the loss is not a number any more")
                if loss > _LOST:
                    raise DivergenceError(step, f"the loss is {loss:.3g}")
                if loss <= _GOOD:
                    self._good_step = step - 1  # it is the loss of the weights before the step
                self._agreement.learn(step, outcome)
                self._outcomes.append(of_step)

    def _report(self, reporter: Reporter, rate: float) -> None:
        self._look_at_losses()
        totals = {key: sum(outcome[key] for outcome in self._outcomes) for key in _SUMS}
        expected = len(self._outcomes) * self._settings.batch_size
        self.left_out += expected - round(totals["counted"])
        if totals["unread"] and not self.unread:
            reporter.say(
                "WARNING: some images cannot be read any more, and are left out; each is tried "
                "several times, which takes time."
            )
        self.unread += round(totals["unread"])
        self._outcomes.clear()
        counted = max(totals["counted"], 1)
        reporter.train_metrics(
            int(self._state.step),
            self._progress.epoch,
            totals["loss"] / counted,
            totals["right"] / counted,
            rate,
        )

    # ------------------------------------------------------- validations and checkpoints

    def _validates_now(self, ahead: int = 0) -> bool:
        """Whether a validation is due, or will be after so many steps more."""
        if self._validate is None:
            return False
        left = self._settings.num_steps - int(self._state.step) - ahead
        place = self._place() + ahead
        is_due = place // self._validate_every > (place - 1) // self._validate_every
        # One that the last step's would follow at once is left to it.
        return (is_due and 2 * left >= self._validate_every) or left <= 0

    def _owes_validation(self) -> bool:
        """Whether the validation of the step that is gone on from failed or was never asked for."""
        step = int(self._state.step)
        return step > 0 and int(self._progress.validated) < step and self._validates_now()

    def _validate_and_save(self, reporter: Reporter) -> EvaluationResult:
        step = int(self._state.step)
        try:
            result = self._run_validation(reporter, step)
        except Exception:  # an image that cannot be read must not cost an epoch
            self._save()
            raise
        self._save()
        return result

    def _run_validation(self, reporter: Reporter, step: int) -> EvaluationResult:
        assert self._validate is not None
        with self._state.averages_in_place():
            result = self._validate()
        reporter.validation_metrics(step, self._progress.epoch, result.as_json())
        reporter.say(
            f"step {step:,}, epoch {self._progress.epoch:.1f}: validation {result.averages()}"
        )
        if self._learning_rate.observe(1 - result.top_1):
            reporter.say(f"step {step:,}: no better for a while, the learning rate is lowered.")
        self._check_finite()
        self._progress.validated.assign(step)
        if result.loss <= _GOOD:  # of ruined weights the accuracy can be the best, by chance
            self._checkpoints.save_if_best(result.top_1, result.loss)
        return result

    def _save(self) -> None:
        self._look_at_losses()
        self._check_finite()
        self._checkpoints.save(good_step=self._good_step)
        self._agreement.saved(int(self._state.step))

    def _check_finite(self) -> None:
        if not self._checkpoints.is_finite():
            # As the next loss would show.
            raise DivergenceError(int(self._state.step) + 1, "weights are not finite numbers")

    def _leave(self) -> NoReturn:
        step = int(self._state.step)
        self._agreement.wait()  # the one that saves has done so
        who = "" if self._checkpoints.writes else " by the first host"
        continues = (
            "The same commands on all hosts continue."
            if self._agreement.is_needed
            else "The same command continues."
        )
        raise KeyboardInterrupt(f"Interrupted and saved{who} at step {step:,}. {continues}")

    # ------------------------------------------------------------------- divergence

    def _go_back(self, error: DivergenceError, reporter: Reporter) -> None:
        """Takes up the last good checkpoint with a lower rate, or raises what happened.

        A checkpoint is good when a good loss was seen on its weights, in the step after it. One
        from which the run diverges a second time is not: its momentum may be ruined.
        """
        if self._good_step == self._went_back_to and self._checkpoints.before(self._good_step):
            self._good_step -= 1
        aside = self._checkpoints.set_aside(self._good_step + 1)
        self._agreement.wait()  # the one that writes has done so
        self._pending.clear()
        self._outcomes.clear()
        divergences = self._learning_rate.state.divergences
        times = int(divergences) + 1
        rate = self._learning_rate(self._place())
        last = self._checkpoints.before(self._good_step + 1)
        if times > self._settings.max_nan_restarts or last is None:
            raise ValueError(self._end_of_divergence(error, rate, last, aside)) from error
        resumed = self._checkpoints.take_up(last)
        self._progress.take_up(int(self._state.step), resumed.lacks)
        divergences.assign(times)
        step = self._good_step = self._went_back_to = int(self._state.step)
        reporter.go_back(step)
        reporter.say(
            f"WARNING: at step {error.step:,} {error.what}: training diverged at the learning rate "
            f"{rate:.3g}. It goes back to step {step:,} ({last}), and all rates are multiplied by "
            f"{DIVERGENCE_FACTOR**times:.3g} from now on ({times} of "
            f"--max_nan_restarts={self._settings.max_nan_restarts}).{_moved(aside)}"
        )

    def _end_of_divergence(
        self, error: DivergenceError, rate: float, last: str | None, aside: list[str]
    ) -> str:
        best = self._checkpoints.best()
        kept = "There is no checkpoint to go back to."
        by_itself = " With --max_nan_restarts=3 a run goes back by itself, with a lower rate."
        if last:
            kept = f"The last good checkpoint is {last}, from which the same command continues."
        if best and best != last:
            kept += f" The best is {best}."
        return (
            f"At step {error.step:,} {error.what}: training diverged at the learning rate "
            f"{rate:.3g}. {kept}{_moved(aside)} Try a lower --learning_rate or --warmup_epochs."
            f"{'' if self._settings.max_nan_restarts else by_itself}"
        )


def _moved(aside: list[str]) -> str:
    return f" What was saved after that is now {', '.join(aside)}." if aside else ""
