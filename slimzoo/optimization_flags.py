"""The flags of the optimizer and of the learning rate, which are part of `TrainingConfig`."""

from __future__ import annotations

import dataclasses

from slimzoo.flags import Theme, flag
from training.learning_rates import LearningRateSettings, decay_types
from training.optimizers import OptimizerSettings, optimizers


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationFlags:
    """How weights are updated; `TrainingConfig` checks the ranges."""

    optimizer: str = flag(
        OptimizerSettings.optimizer,
        f"How weights are updated: {', '.join(optimizers)}.",
        theme=Theme.OPTIMIZER,
    )
    clip_global_norm: float | None = flag(
        OptimizerSettings.clip_global_norm,
        "The most that the global norm of a step's gradients may be, which is that of all weights "
        "together, without weight decay; if it is more, all are scaled down alike. Default: they "
        "are not clipped.",
        theme=Theme.OPTIMIZER,
    )
    momentum: float = flag(
        OptimizerSettings.momentum,
        "Momentum coefficient of the optimizer `momentum`, at least 0 and below 1. 0 gives "
        "plain SGD.",
        theme=Theme.OPTIMIZER,
    )
    rmsprop_momentum: float = flag(
        OptimizerSettings.rmsprop_momentum,
        "Momentum coefficient of the optimizer `rmsprop`, at least 0 and below 1. 0 turns "
        "momentum off.",
        theme=Theme.OPTIMIZER,
    )
    rmsprop_decay: float = flag(
        OptimizerSettings.rmsprop_decay,
        "RMSProp's rho: decay rate of the moving average of squared gradients, at least 0 and"
        " below 1. It is the share of the average that is kept at each step.",
        theme=Theme.OPTIMIZER,
    )
    adam_beta1: float = flag(
        OptimizerSettings.adam_beta1,
        "Adam's beta1: decay rate of the moving average of gradients, at least 0 and below 1."
        " It is the share of the average that is kept at each step.",
        theme=Theme.OPTIMIZER,
    )
    adam_beta2: float = flag(
        OptimizerSettings.adam_beta2,
        "Adam's beta2: decay rate of the moving average of squared gradients, at least 0 and "
        "below 1. It is the share of the average that is kept at each step.",
        theme=Theme.OPTIMIZER,
    )
    adadelta_rho: float = flag(
        OptimizerSettings.adadelta_rho,
        "Adadelta's rho: decay rate of the moving averages of squared gradients and squared "
        "updates, at least 0 and below 1. It is the share of the averages that is kept at "
        "each step.",
        theme=Theme.OPTIMIZER,
    )
    adagrad_initial_accumulator_value: float = flag(
        OptimizerSettings.adagrad_initial_accumulator_value,
        "Adagrad's sums of squared gradients start from this, which must be above 0.",
        theme=Theme.OPTIMIZER,
    )
    ftrl_learning_rate_power: float = flag(
        OptimizerSettings.ftrl_learning_rate_power,
        "FTRL divides the learning rate by its sums of squared gradients to the power of minus "
        "this, which must be 0 or less.",
        theme=Theme.OPTIMIZER,
    )
    ftrl_initial_accumulator_value: float = flag(
        OptimizerSettings.ftrl_initial_accumulator_value,
        "FTRL's sums of squared gradients start from this, which must not be negative.",
        theme=Theme.OPTIMIZER,
    )
    ftrl_l1: float = flag(
        OptimizerSettings.ftrl_l1,
        "FTRL's L1 regularization, not negative.",
        theme=Theme.OPTIMIZER,
    )
    ftrl_l2: float = flag(
        OptimizerSettings.ftrl_l2,
        "FTRL's L2 regularization, not negative. --weight_decay is added to gradients, and this "
        "is not.",
        theme=Theme.OPTIMIZER,
    )
    opt_epsilon: float | None = flag(
        None,
        "Small positive constant against division by zero. `adam` adds it to the square root "
        "of its denominator, `rmsprop` and `adadelta` add it under the root; other optimizers"
        " ignore it. Default: 1e-7 for adam and adadelta, 1 for rmsprop.",
        theme=Theme.OPTIMIZER,
    )
    # What a network can have values of its own for is None until `with_defaults` fills it in.
    weight_decay: float | None = flag(
        None,
        "Coefficient of L2 regularization: weight_decay * w is added to the gradient of every"
        " weight, but not of biases. This is not the decoupled decay of AdamW. Default: the "
        "network's own value, for most networks 0.0005.",
        theme=Theme.OPTIMIZER,
    )
    weight_decay_factors: list[str] | None = flag(
        None,
        "PATTERN=FACTOR pairs, separated by commas, multiply the weight decay of variables whose "
        "whole name matches (* is any text): */fc10/*=250. Biases have no decay. Default: the "
        "network's own; empty: none.",
        theme=Theme.OPTIMIZER,
    )
    learning_rate: float | None = flag(
        None,
        "Initial learning rate, before the schedule lowers it (after the warm-up, if there is one)."
        " Default: the network's own value, for most networks 0.01, whichever the optimizer.",
        theme=Theme.LEARNING_RATE,
    )
    learning_rate_factors: list[str] | None = flag(
        None,
        "PATTERN=FACTOR pairs, separated by commas, multiply the learning rate of variables "
        "whose whole name matches (* is any text); several matches multiply. "
        "PATTERN@EPOCH=FACTOR holds after that many epochs: */biases=2,*/conv1/*@67=0.1. "
        "Default: the network's own; empty: none.",
        theme=Theme.LEARNING_RATE,
    )
    learning_rate_decay_type: str = flag(
        LearningRateSettings.learning_rate_decay_type,
        "How the learning rate falls. "
        + " ".join(f"`{name}`: {decay_type.__doc__}" for name, decay_type in decay_types.items()),
        theme=Theme.LEARNING_RATE,
    )
    end_learning_rate: float = flag(
        LearningRateSettings.end_learning_rate,
        "Learning rate at the end of training for `polynomial` and `cosine`. It is an "
        "absolute value, not a fraction, and at most learning_rate.",
        theme=Theme.LEARNING_RATE,
    )
    learning_rate_decay_factor: float | None = flag(
        None,
        "The learning rate is multiplied by this at each decay, for example 0.1. Default: "
        "0.94 for `exponential`, 0.1 for `piecewise` and `plateau`; the other schedules do "
        "not use it.",
        theme=Theme.LEARNING_RATE,
    )
    num_epochs_per_decay: float | None = flag(
        None,
        "Epochs between decays of `exponential`, 2 by default. `polynomial` falls over so many, "
        "by default over the whole run.",
        theme=Theme.LEARNING_RATE,
    )
    learning_rate_boundaries: list[str] = flag(
        [], "Epochs at which `piecewise` decays, for example 30,60,80.", theme=Theme.LEARNING_RATE
    )
    plateau_patience: int = flag(
        LearningRateSettings.plateau_patience,
        "Validations without a lower error after which `plateau` decays.",
        theme=Theme.LEARNING_RATE,
    )
    plateau_max_decays: int = flag(
        LearningRateSettings.plateau_max_decays,
        "Maximum number of times that `plateau` lowers the learning rate in one run. The "
        "AlexNet paper of 2012 lowered it 3 times.",
        theme=Theme.LEARNING_RATE,
    )
    warmup_epochs: float = flag(
        LearningRateSettings.warmup_epochs,
        "Length of the warm-up, in epochs. During it the learning rate is scaled up linearly "
        "from about 0 to the rate of the schedule. These epochs count in num_epochs. 0 means "
        "no warm-up.",
        theme=Theme.LEARNING_RATE,
    )
