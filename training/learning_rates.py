"""The learning rate at each step.

The curves are Keras' schedules; what is added is warmup in front of any of them, and the 2012
paper's rule, which looks at the validation error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from slimzoo.configuration import TrainingConfig
from slimzoo_registry import Registry

schedules = keras.optimizers.schedules
Curve = Callable[[float], float]

# name -> (configuration, steps per epoch, steps in all) -> the rate as a function of the step.
decay_types: Registry[Callable[[TrainingConfig, float, int], Curve]] = Registry(
    "learning rate decay type"
)


class LearningRate:
    """The rate as a function of the step, and for `plateau` of the validation errors so far.

    Args:
      config: the configuration; its `learning_rate*`, `plateau*` and `warmup_epochs` count.
      steps_per_epoch: may be fractional.
      num_steps: length of the run.

    Attributes:
      state: float64 [3], to be kept in checkpoints: decays made by `plateau`, lowest validation
        error, validations since.

    Raises:
      ValueError: if the decay type is unknown or its settings do not fit together.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: float, num_steps: int):
        self._curve = decay_types[config.learning_rate_decay_type](
            config, steps_per_epoch, num_steps
        )
        self._warmup_steps = config.warmup_epochs * steps_per_epoch
        self._uses_plateau = config.learning_rate_decay_type == "plateau"
        self._factor = config.learning_rate_decay_factor or 0.1
        self._patience = config.plateau_patience
        self._max_decays = config.plateau_max_decays
        with tf.device("CPU:0"):
            # float64, so that an error equal to the lowest is not less than its rounding.
            self.state = tf.Variable([0.0, float("inf"), 0.0], dtype=tf.float64, name="plateau")

    def __call__(self, step: int) -> float:
        """The rate of the step that follows `step` finished ones."""
        rate = self._curve(step)
        if self._uses_plateau:
            rate *= self._factor ** float(self.state[0])
        if step < self._warmup_steps:
            rate *= (step + 1) / (self._warmup_steps + 1)
        return rate

    def observe(self, validation_error: float) -> bool:
        """Takes note of a validation error; returns whether that lowers the rate."""
        decays, lowest, waited = self.state.numpy().tolist()
        if validation_error < lowest:
            self.state.assign([decays, validation_error, 0.0])
            return False
        waited += 1
        lowers = self._uses_plateau and waited >= self._patience and decays < self._max_decays
        self.state.assign([decays + lowers, lowest, 0.0 if lowers else waited])
        return lowers


def _from_keras(schedule: keras.optimizers.schedules.LearningRateSchedule) -> Curve:
    def curve(step: float) -> float:
        with tf.device("CPU:0"):
            return float(schedule(step))

    return curve


@decay_types.register("fixed")
@decay_types.register("plateau")
def _fixed(config: TrainingConfig, steps_per_epoch: float, num_steps: int) -> Curve:
    return lambda step: config.learning_rate


@decay_types.register("exponential")
def _exponential(config: TrainingConfig, steps_per_epoch: float, num_steps: int) -> Curve:
    return _from_keras(
        schedules.ExponentialDecay(
            config.learning_rate,
            decay_steps=max(1, round(config.num_epochs_per_decay * steps_per_epoch)),
            decay_rate=config.learning_rate_decay_factor or 0.94,
            staircase=True,
        )
    )


@decay_types.register("polynomial")
def _polynomial(config: TrainingConfig, steps_per_epoch: float, num_steps: int) -> Curve:
    _check_end(config)
    return _from_keras(
        schedules.PolynomialDecay(config.learning_rate, num_steps, config.end_learning_rate)
    )


@decay_types.register("cosine")
def _cosine(config: TrainingConfig, steps_per_epoch: float, num_steps: int) -> Curve:
    _check_end(config)
    return _from_keras(
        schedules.CosineDecay(
            config.learning_rate, num_steps, alpha=config.end_learning_rate / config.learning_rate
        )
    )


@decay_types.register("piecewise")
def _piecewise(config: TrainingConfig, steps_per_epoch: float, num_steps: int) -> Curve:
    try:
        epochs = [float(boundary) for boundary in config.learning_rate_boundaries]
    except ValueError:
        epochs = []
    rising = epochs == sorted(set(epochs)) and all(map(math.isfinite, epochs))
    if not epochs or epochs[0] <= 0 or not rising:
        raise ValueError(
            f"--learning_rate_boundaries is {','.join(config.learning_rate_boundaries)!r}; "
            "`piecewise` takes rising epochs, for example 30,60,80."
        )
    factor = config.learning_rate_decay_factor or 0.1
    # Keras keeps the old rate at the boundary itself; a step count there has finished the epoch.
    return _from_keras(
        schedules.PiecewiseConstantDecay(
            [round(epoch * steps_per_epoch) - 1 for epoch in epochs],
            [config.learning_rate * factor**i for i in range(len(epochs) + 1)],
        )
    )


def _check_end(config: TrainingConfig) -> None:
    if config.end_learning_rate > config.learning_rate:
        raise ValueError(
            f"--end_learning_rate is {config.end_learning_rate}, above --learning_rate "
            f"{config.learning_rate}."
        )
