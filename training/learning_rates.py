"""The learning rate at each step.

The curves are Keras' schedules; what is added is warmup in front of any of them, and the 2012
paper's rule, which looks at the validation error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from slimzoo_registry import Registry

schedules = keras.optimizers.schedules
Curve = Callable[[float], float]

DIVERGENCE_FACTOR = 0.5
"""By which all rates are multiplied when a run goes back because it diverged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningRateSettings:
    """What decides the rate at each step. The names are those of the flags.

    Attributes:
      learning_rate: after warmup, before any decay.
      learning_rate_decay_type: in `decay_types`.
      end_learning_rate: where `polynomial` and `cosine` end.
      learning_rate_decay_factor: by which a decay multiplies the rate; None is the type's own.
      num_epochs_per_decay: between the decays of `exponential`, None is 2; over which `polynomial`
        falls, None is the whole run.
      learning_rate_boundaries: epochs at which `piecewise` decays, rising.
      plateau_patience: validations without a lower error after which `plateau` decays.
      plateau_max_decays: how often `plateau` decays at most.
      warmup_epochs: over which the rate rises from 0.
    """

    learning_rate: float = 0.01
    learning_rate_decay_type: str = "cosine"
    end_learning_rate: float = 0.0
    learning_rate_decay_factor: float | None = None
    num_epochs_per_decay: float | None = None
    learning_rate_boundaries: Sequence[float | str] = ()
    plateau_patience: int = 5
    plateau_max_decays: int = 3
    warmup_epochs: float = 0.0


# name -> (settings, steps per epoch, steps in all) -> the rate as a function of the step. Each may
# be fractional.
decay_types: Registry[Callable[[LearningRateSettings, float, float], Curve]] = Registry(
    "learning rate decay type"
)


class LearningRateState:
    """What a rate depends on besides the step.

    Attributes:
      plateau: float64 [3]: decays made by `plateau`, lowest validation error, validations since.
      divergences: int64 []: how often the run has diverged and gone back; each time all rates from
        then on are multiplied by `DIVERGENCE_FACTOR`.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            # float64, so that an error equal to the lowest is not less than its rounding.
            self.plateau = tf.Variable([0.0, float("inf"), 0.0], dtype=tf.float64, name="plateau")
            self.divergences = tf.Variable(0, dtype=tf.int64, name="divergences")


class LearningRate:
    """The rate as a function of the step, and for `plateau` of the validation errors so far.

    Args:
      settings: what decides it.
      steps_per_epoch: may be fractional.
      num_steps: length of the run.
      state: what checkpoints keep of it; None is that of a new run.

    Attributes:
      state: see `LearningRateState`.

    Raises:
      ValueError: if the decay type is unknown or its settings do not fit together.
    """

    def __init__(
        self,
        settings: LearningRateSettings,
        steps_per_epoch: float,
        num_steps: float,
        state: LearningRateState | None = None,
    ):
        self._curve = decay_types[settings.learning_rate_decay_type](
            settings, steps_per_epoch, num_steps
        )
        self._warmup_steps = settings.warmup_epochs * steps_per_epoch
        self._uses_plateau = settings.learning_rate_decay_type == "plateau"
        self._factor = settings.learning_rate_decay_factor or 0.1
        self._patience = settings.plateau_patience
        self._max_decays = settings.plateau_max_decays
        self.state = state or LearningRateState()

    def __call__(self, step: float) -> float:
        """The rate of the step that follows `step` finished ones.

        A run whose batches were smaller once has finished a fractional number of today's.
        """
        rate = self._curve(step) * DIVERGENCE_FACTOR ** int(self.state.divergences)
        if self._uses_plateau:
            rate *= self._factor ** float(self.state.plateau[0])
        if step < self._warmup_steps:
            rate *= (step + 1) / (self._warmup_steps + 1)
        return rate

    def observe(self, validation_error: float) -> bool:
        """Takes note of a validation error; returns whether that lowers the rate."""
        decays, lowest, waited = self.state.plateau.numpy().tolist()
        if validation_error < lowest:
            self.state.plateau.assign([decays, validation_error, 0.0])
            return False
        waited += 1
        lowers = self._uses_plateau and waited >= self._patience and decays < self._max_decays
        self.state.plateau.assign([decays + lowers, lowest, 0.0 if lowers else waited])
        return lowers


def _from_keras(schedule: keras.optimizers.schedules.LearningRateSchedule) -> Curve:
    def curve(step: float) -> float:
        with tf.device("CPU:0"):
            return float(schedule(step))

    return curve


@decay_types.register("fixed")
def _fixed(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Stays as it is."""
    return lambda step: settings.learning_rate


@decay_types.register("plateau")
def _plateau(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Falls when the validation error has stopped falling, as in the 2012 paper."""
    return _fixed(settings, steps_per_epoch, num_steps)  # `LearningRate` divides it


@decay_types.register("exponential")
def _exponential(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Falls in steps, every --num_epochs_per_decay epochs."""
    return _from_keras(
        schedules.ExponentialDecay(
            settings.learning_rate,
            decay_steps=_steps_per_decay(settings.num_epochs_per_decay or 2.0, steps_per_epoch),
            decay_rate=settings.learning_rate_decay_factor or 0.94,
            staircase=True,
        )
    )


@decay_types.register("polynomial")
def _polynomial(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Falls along a line to --end_learning_rate."""
    _check_end(settings)
    if settings.num_epochs_per_decay is not None:
        num_steps = _steps_per_decay(settings.num_epochs_per_decay, steps_per_epoch)
    return _from_keras(
        schedules.PolynomialDecay(settings.learning_rate, num_steps, settings.end_learning_rate)
    )


@decay_types.register("cosine")
def _cosine(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Falls along half a cosine to --end_learning_rate."""
    _check_end(settings)
    return _from_keras(
        schedules.CosineDecay(
            settings.learning_rate,
            num_steps,
            alpha=settings.end_learning_rate / settings.learning_rate,
        )
    )


@decay_types.register("piecewise")
def _piecewise(settings: LearningRateSettings, steps_per_epoch: float, num_steps: float) -> Curve:
    """Falls at each epoch of --learning_rate_boundaries."""
    try:
        epochs = [float(boundary) for boundary in settings.learning_rate_boundaries]
    except ValueError:
        epochs = []
    rising = epochs == sorted(set(epochs)) and all(map(math.isfinite, epochs))
    if not epochs or epochs[0] <= 0 or not rising:
        given = ",".join(map(str, settings.learning_rate_boundaries))
        raise ValueError(
            f"--learning_rate_boundaries is {given!r}; `piecewise` takes rising epochs, "
            "for example 30,60,80."
        )
    factor = settings.learning_rate_decay_factor or 0.1
    # Keras keeps the old rate at the boundary itself; a step count there has finished the epoch.
    return _from_keras(
        schedules.PiecewiseConstantDecay(
            [round(epoch * steps_per_epoch) - 1 for epoch in epochs],
            [settings.learning_rate * factor**i for i in range(len(epochs) + 1)],
        )
    )


def _steps_per_decay(num_epochs: float, steps_per_epoch: float) -> int:
    """Whole steps; a part of one is left out, as in TF-Slim, but not for a rounding error."""
    return max(1, int(num_epochs * steps_per_epoch + 1e-6))


def _check_end(settings: LearningRateSettings) -> None:
    if settings.end_learning_rate > settings.learning_rate:
        raise ValueError(
            f"--end_learning_rate is {settings.end_learning_rate}, above --learning_rate "
            f"{settings.learning_rate}."
        )
