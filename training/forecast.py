"""How long a run will take and how much it will write, said once a few steps have been timed."""

from __future__ import annotations

import dataclasses
import textwrap

# Steps that build graphs, and after which a GPU has not begun with the next.
_UNTIMED_STEPS = 2
_ENOUGH_STEPS = 20
# Of slow steps fewer are enough, of fast ones more are needed.
_ENOUGH_SECONDS = 10.0
_LEAST_SECONDS = 3.0
# A shorter run is over before much can be done about it.
_LONG = 180.0
# Of the time of an image in training. The way back, which takes two thirds of the arithmetic, falls
# away, but an image is read all the same: alexnet_v2 took 0.55 on two CPU cores, measured once.
_SHARE_OF_A_VALIDATED_IMAGE = 0.5
_COLUMNS = 79


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is known of a run before its first step.

    Attributes:
      train_dir: of the run.
      first_step: that it goes on from.
      num_steps: of the whole run.
      batch_size: images a step.
      steps_per_epoch: may be fractional.
      num_validations: still to come.
      num_validation_images: of each of them.
      num_bytes: of the checkpoints that it keeps.
      ends_by_steps: whether --max_number_of_steps says how long it is, not --num_epochs.
    """

    train_dir: str
    first_step: int
    num_steps: int
    batch_size: int
    steps_per_epoch: float
    num_validations: float
    num_validation_images: int
    num_bytes: int
    ends_by_steps: bool = False


class Forecast:
    """Times the first steps of a run, and then says once what is to come of it.

    Args:
      plan: of the run.
    """

    def __init__(self, plan: RunPlan):
        self._plan = plan
        self._num_steps = self._num_untimed = 0
        self._started = 0.0
        self._is_said = False

    def step(self, now: float, count: int = 1) -> str:
        """Takes note of a step.

        Args:
          now: when it was finished, in seconds.
          count: of steps that were finished together then.

        Returns:
          What to say, in lines; mostly nothing.
        """
        if self._num_steps < _UNTIMED_STEPS:
            self._started, self._num_untimed = now, self._num_steps + count
        self._num_steps += count
        timed, seconds = self._num_steps - self._num_untimed, now - self._started
        is_enough = timed >= _ENOUGH_STEPS and seconds >= _LEAST_SECONDS
        if self._is_said or timed < 1 or not (is_enough or seconds >= _ENOUGH_SECONDS):
            return ""
        self._is_said = True
        return self._text(seconds / timed)

    def paused(self, seconds: float) -> None:
        """Leaves out time in which no steps were taken."""
        self._started += seconds

    def _text(self, step_seconds: float) -> str:
        plan = self._plan
        left = plan.num_steps - plan.first_step - self._num_steps
        image_seconds = step_seconds / plan.batch_size
        validated = plan.num_validations * plan.num_validation_images
        validation_seconds = validated * image_seconds * _SHARE_OF_A_VALIDATED_IMAGE
        seconds = left * step_seconds + validation_seconds
        if seconds < _LONG or left < 1:
            return ""
        rate = f"{1 / image_seconds:.3g}" if image_seconds > 0.01 else f"{1 / image_seconds:,.0f}"
        told = [
            f"{duration(seconds)} to go: {left / plan.steps_per_epoch:.3g} epochs at "
            f"{rate} images/s{', with validations' if validated else ''}; "
            f"{size(plan.num_bytes)} of checkpoints in {plan.train_dir}."
        ]
        if not plan.first_step:
            told.append(self._shorter(seconds / left))
        told.append("Ctrl-C saves, and the same command goes on.")
        text = f"About {' '.join(filter(None, told))}"
        return textwrap.fill(
            text,
            _COLUMNS,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _shorter(self, step_seconds: float) -> str:
        """A flag that makes the run about nine times as short, as 10 epochs are to 90."""
        plan = self._plan
        if plan.ends_by_steps:
            steps = plan.num_steps // 9
            given = f"--max_number_of_steps={steps}"
        else:
            epochs = max(round(plan.num_steps / plan.steps_per_epoch) // 9, 1)
            steps, given = round(epochs * plan.steps_per_epoch), f"--num_epochs={epochs}"
        if not 0 < steps < plan.num_steps:
            return ""
        return f"{given} takes about {duration(steps * step_seconds)}."


def duration(seconds: float) -> str:
    """A time in the unit that people would use: "14 minutes", "2.1 hours"."""
    amount, name = seconds / 86_400, "day"
    if seconds < 90:
        amount, name = seconds, "second"
    elif seconds < 90 * 60:
        amount, name = seconds / 60, "minute"
    elif seconds < 48 * 3600:
        amount, name = seconds / 3600, "hour"
    shown = f"{amount:.1f}" if name in ("hour", "day") and amount < 9.95 else f"{amount:.0f}"
    return f"{shown} {name}{'' if shown == '1' else 's'}"


def size(num_bytes: float) -> str:
    """A number of bytes as people read it: "371 MB", "1.1 GB"."""
    if num_bytes >= 999.5e6:
        return f"{num_bytes / 1e9:.1f} GB"
    megabytes = num_bytes / 1e6
    return f"{megabytes:.0f} MB" if megabytes >= 9.95 else f"{megabytes:.1f} MB"
