"""Optimizers by TF-Slim's names, all with weight decay in the gradient and on weights alone.

What is relied on of Keras, which setup.py pins: the way in which its documentation of
`keras.optimizers.Optimizer` writes an optimizer of one's own (`build`, `update_step`,
`add_optimizer_variables`, `_get_variable_index`), SGD's `momentums`, that `iterations` rises after
the updates, that `_all_reduce_sum_gradients` adds gradients up over replicas, and that
`update_step` gets these sums and variables of TensorFlow. tests/training/test_optimizers.py and
test_train_step.py hold it to that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from slimzoo_registry import Registry
from training.compiled_updates import update_by_adam, update_by_momentum


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Which optimizer, and its constants. The names are those of the flags.

    Attributes:
      optimizer: in `optimizers`.
      learning_rate: until the first step sets it.
      learning_rate_factors: multiply the rate of variables by their names; see `VariableFactors`.
      weight_decay: the factor of the weights that is added to their gradients; biases have none.
      weight_decay_factors: multiply the decay of variables by their names.
      momentum: of `momentum`, in [0, 1).
      rmsprop_momentum: of `rmsprop`, in [0, 1).
      rmsprop_decay: of the squared gradients of `rmsprop`, in [0, 1).
      adam_beta1: decay of the gradients of `adam`, in [0, 1).
      adam_beta2: decay of the squared gradients of `adam`, in [0, 1).
      adadelta_rho: decay of the squared gradients of `adadelta`, in [0, 1).
      adagrad_initial_accumulator_value: of the sums of squared gradients of `adagrad`, above 0.
      ftrl_learning_rate_power: of the sums of squared gradients of `ftrl`, 0 or less.
      ftrl_initial_accumulator_value: of these sums, not negative.
      ftrl_l1: L1 regularization of `ftrl`, not negative.
      ftrl_l2: L2 regularization of `ftrl`, not negative.
      opt_epsilon: added to denominators; None is the optimizer's own.
      clip_global_norm: the most that the norm of all gradients of a step together may be, above 0;
        None does not clip. Gradients are those of the loss, without weight decay.
    """

    optimizer: str = "momentum"
    learning_rate: float = 0.01
    learning_rate_factors: Sequence[str] = ()
    weight_decay: float = 5e-4
    weight_decay_factors: Sequence[str] = ()
    momentum: float = 0.9
    rmsprop_momentum: float = 0.9
    rmsprop_decay: float = 0.9
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adadelta_rho: float = 0.95
    adagrad_initial_accumulator_value: float = 0.1
    ftrl_learning_rate_power: float = -0.5
    ftrl_initial_accumulator_value: float = 0.1
    ftrl_l1: float = 0.0
    ftrl_l2: float = 0.0
    opt_epsilon: float | None = None
    clip_global_norm: float | None = None


# name -> (settings, keyword arguments of `PerVariable`) -> the optimizer.
Factory = Callable[..., keras.optimizers.Optimizer]
optimizers: Registry[Factory] = Registry("optimizer")

# Keras would number optimizers of one process, and checkpoints hold these names.
_NAME = "optimizer"


class PerVariable:
    """Lets an optimizer of Keras treat each variable in its own way.

    It adds `decay * w` to the gradient of every weight, not of biases: the gradient of TF-Slim's
    L2 loss, taken after replicas have added their gradients up and after loss scaling has been
    undone. Keras' own `weight_decay` shrinks weights apart from the gradient, which is another
    rule.

    Args:
      decay: of weights; biases have none.
      decay_factors: multiply `decay`, one for each variable, None for one without decay. If there
        are none, all weights have 1.
      rate_factors: float32 [variables], multiply the learning rate, read at each step; None are 1.
      clip_global_norm: the most that the norm of all gradients together may be, those of all
        replicas added up; if it is more, one factor scales them all. Keras' own `global_clipnorm`
        clips those of each replica by themselves, which depends on how many replicas there are.
        None does not clip.
      **kwargs: those of the optimizer of Keras.

    Attributes:
      is_elementwise: whether each number of a variable is updated by its own gradient and its own
        history alone, so that a device can update a part of a variable. A rule with a norm or a
        mean of the whole (Lamb, Adafactor) is not. What does not say so is taken not to be.
    """

    is_elementwise = False

    def __init__(
        self,
        *args: Any,
        decay: float = 0.0,
        decay_factors: Sequence[float | None] | None = None,
        rate_factors: tf.Variable | None = None,
        clip_global_norm: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.decay = decay
        self.decay_factors = decay_factors
        self.clip_global_norm = clip_global_norm
        self._rate_factors = [rate_factors]  # in a list, so that Keras does not track it

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, but for `rate_factors`, which live with a run."""
        factors = self.decay_factors
        return {
            **super().get_config(),  # type: ignore[misc]
            "decay": self.decay,
            "decay_factors": None if factors is None else list(factors),
            "clip_global_norm": self.clip_global_norm,
        }

    def _all_reduce_sum_gradients(
        self, grads_and_vars: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        """Adds up the gradients of all replicas, as Keras does, and clips the sums together."""
        summed = super()._all_reduce_sum_gradients(grads_and_vars)  # type: ignore[misc]
        if self.clip_global_norm is None:
            return list(summed)
        gradients, variables = zip(*summed, strict=True)
        # Each replica adds squares up in an order of its own, and all are to stay alike.
        norm = tf.distribute.get_replica_context().all_reduce(
            "MEAN", tf.linalg.global_norm(gradients)
        )
        clipped, _ = tf.clip_by_global_norm(gradients, self.clip_global_norm, use_norm=norm)
        return list(zip(clipped, variables, strict=True))

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable at its own rate and with its own decay."""
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        [factors] = self._rate_factors
        if factors is not None:
            learning_rate = learning_rate * tf.cast(factors[index], variable.dtype)
        if self.decay_factors is None:
            factor = 1.0 if is_weight(variable) else None
        else:
            factor = self.decay_factors[index]
        decay = None if factor is None else self.decay * factor
        self.update_variable(gradient, variable, learning_rate, index, decay)

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        learning_rate: tf.Tensor,
        index: int,
        decay: float | None,
    ) -> None:
        """Updates a variable at this rate and with this decay; what optimizers override.

        Args:
          gradient: of the shape of the variable.
          variable: a weight or a bias.
          learning_rate: a scalar.
          index: of the variable among those of the optimizer.
          decay: is added times the variable to its gradient; None where there is none, as mostly
            for biases.
        """
        del index
        if decay:
            gradient = tf.convert_to_tensor(gradient) + decay * variable
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]


class MomentumSGD(PerVariable, keras.optimizers.SGD):
    """Stochastic gradient descent by the rule of the 2012 paper, section 5.

        v <- momentum * v - learning_rate * (gradient + decay * w);  w <- w + v

    The decay is not that of Keras' own optimizers, which shrinks weights apart from v.
    """

    is_elementwise = True

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        learning_rate: tf.Tensor,
        index: int,
        decay: float | None,
    ) -> None:
        """Updates it and its velocity: a weight in one compiled loop, a bias with a kernel."""
        dtype = variable.dtype
        # Under a strategy, handles are those of this device, where variables may be of another.
        handles = [variable.handle, self.momentums[index].value.handle]
        rate, momentum = tf.cast(learning_rate, dtype), tf.constant(self.momentum, dtype)
        if decay is None:
            gradient = tf.cast(gradient, dtype)
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=handles[0], accum=handles[1], lr=rate, grad=gradient, momentum=momentum
            )
        else:
            gradient, decay = _before_its_cast(gradient), tf.constant(decay, dtype)
            update_by_momentum(handles, dtype, rate, momentum, gradient, decay)


class Adam(PerVariable, keras.optimizers.Adam):
    """Keras' Adam, with weight decay in the gradient and compiled."""

    is_elementwise = True

    def add_optimizer_variables(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the moments, and keeps them where `update_variable` finds them."""
        moments = super().add_optimizer_variables(*args, **kwargs)
        self._first_moments, self._second_moments, *_ = moments
        return moments

    def update_variable(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        learning_rate: tf.Tensor,
        index: int,
        decay: float | None,
    ) -> None:
        """Updates a weight and its two moments in compiled loops; a bias as Keras does."""
        if decay is None:
            super().update_variable(gradient, variable, learning_rate, index, decay)
            return
        dtype = variable.dtype
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        corrections = tf.sqrt(1 - tf.pow(beta_2, step)) / (1 - tf.pow(beta_1, step))
        moments = (self._first_moments[index], self._second_moments[index])
        update_by_adam(
            [variable.handle, *(moment.value.handle for moment in moments)],
            dtype,
            tf.cast(learning_rate, dtype) * corrections,
            beta_1,
            beta_2,
            tf.constant(self.epsilon, dtype),
            _before_its_cast(gradient),
            tf.constant(decay, dtype),
        )


class SGD(PerVariable, keras.optimizers.SGD):
    """Keras' SGD, with weight decay in the gradient."""

    is_elementwise = True


class RMSprop(PerVariable, keras.optimizers.RMSprop):
    """TensorFlow 1's RMSProp, with weight decay in the gradient.

        s <- rho * s + (1 - rho) * gradient ^ 2
        m <- momentum * m + learning_rate * gradient / sqrt(s + epsilon);  w <- w - m

    The mean square s begins at 1. From 0, as Keras has it, the first steps are longer: with an
    epsilon of 1, up to 1.41 times.
    """

    is_elementwise = True

    def add_optimizer_variables(
        self, trainable_variables: Any, name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Makes the means, those of squares, which Keras calls velocities, with ones in them."""
        if name == "velocity":
            initializer = "ones"
        return super().add_optimizer_variables(trainable_variables, name, initializer)


class Adagrad(PerVariable, keras.optimizers.Adagrad):
    """Keras' Adagrad, with weight decay in the gradient."""

    is_elementwise = True


class Adadelta(PerVariable, keras.optimizers.Adadelta):
    """Keras' Adadelta, with weight decay in the gradient."""

    is_elementwise = True


class Ftrl(PerVariable, keras.optimizers.Ftrl):
    """Keras' FTRL, with weight decay in the gradient."""

    is_elementwise = True


def is_weight(variable: tf.Variable) -> bool:
    """Whether weight decay applies to it: biases are vectors, or have one at each position."""
    return variable.shape.rank > 1 and not variable.name.split(":")[0].endswith("bias")


def _before_its_cast(gradient: tf.Tensor) -> tf.Tensor:
    """The bfloat16 gradient that mixed precision cast to this one; this one if there is none.

    The update casts it while it reads it, which spares writing and reading the wide one. On
    several replicas the wide ones are added up, and nothing is found.
    """
    found = gradient
    while tf.is_symbolic_tensor(found):
        operation = found.op
        if operation.type in ("Identity", "IdentityN"):
            found = operation.inputs[found.value_index]
        elif operation.type == "Cast" and operation.inputs[0].dtype == tf.bfloat16:
            return operation.inputs[0]
        else:
            break
    return gradient


def make_optimizer(
    settings: OptimizerSettings,
    *,
    decay_factors: Sequence[float | None] | None = None,
    rate_factors: tf.Variable | None = None,
    scale_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer, before its variables exist.

    Args:
      settings: which one, and its constants. The lists of factors by name are not read here,
        because the names of the variables are not known yet.
      decay_factors: multiply the weight decay, one for each variable to come.
      rate_factors: multiply the learning rate, one for each; read at each step.
      scale_loss: whether to scale the loss, because gradients below 6e-8 vanish in float16.

    Raises:
      ValueError: if it is unknown, or does not clip gradients, which the settings ask for.
    """
    optimizer = optimizers[settings.optimizer](
        settings,
        learning_rate=settings.learning_rate,
        name=_NAME,
        decay=settings.weight_decay,
        decay_factors=decay_factors,
        rate_factors=rate_factors,
    )
    if settings.clip_global_norm is not None:
        if not isinstance(optimizer, PerVariable):
            raise ValueError(
                f"The optimizer {type(optimizer).__name__} does not take --clip_global_norm: it is "
                "not made from training.optimizers.PerVariable, which clips. Leave out the flag, "
                f"or begin it with: class {type(optimizer).__name__}(PerVariable, ...)."
            )
        optimizer.clip_global_norm = settings.clip_global_norm
    if scale_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


@optimizers.register("momentum")
def _momentum(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    if not settings.momentum:  # then Keras keeps no velocity
        return SGD(**options)
    return MomentumSGD(momentum=settings.momentum, **options)


@optimizers.register("sgd")
def _sgd(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return SGD(**options)


@optimizers.register("rmsprop")
def _rmsprop(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return RMSprop(
        rho=settings.rmsprop_decay,
        momentum=settings.rmsprop_momentum,
        epsilon=settings.opt_epsilon or 1.0,  # TF-Slim's
        **options,
    )


@optimizers.register("adam")
def _adam(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return Adam(
        beta_1=settings.adam_beta1,
        beta_2=settings.adam_beta2,
        # TF-Slim shares rmsprop's 1, with which Adam hardly moves.
        epsilon=settings.opt_epsilon or 1e-7,
        **options,
    )


@optimizers.register("adagrad")
def _adagrad(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return Adagrad(initial_accumulator_value=settings.adagrad_initial_accumulator_value, **options)


@optimizers.register("adadelta")
def _adadelta(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return Adadelta(rho=settings.adadelta_rho, epsilon=settings.opt_epsilon or 1e-7, **options)


@optimizers.register("ftrl")
def _ftrl(settings: OptimizerSettings, **options: Any) -> keras.optimizers.Optimizer:
    return Ftrl(
        learning_rate_power=settings.ftrl_learning_rate_power,
        initial_accumulator_value=settings.ftrl_initial_accumulator_value,
        l1_regularization_strength=settings.ftrl_l1,
        l2_regularization_strength=settings.ftrl_l2,
        **options,
    )
