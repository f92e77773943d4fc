"""Optimizers by TF-Slim's names, all with weight decay in the gradient and on weights alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from slimzoo.configuration import TrainingConfig
from slimzoo_registry import Registry

Factory = Callable[[TrainingConfig], keras.optimizers.Optimizer]

# Keras would number optimizers of one process, and checkpoints hold these names.
_NAME = "optimizer"
optimizers: Registry[Factory] = Registry("optimizer")


class _DecayInUpdate:
    """An optimizer whose compiled update adds the weight decay itself.

    Args:
      decay: of weights; biases have none.
      **kwargs: those of the optimizer of Keras.

    Attributes:
      decay_factors: multiply `decay`, one for each variable; None are 1.
    """

    def __init__(self, *args: Any, decay: float = 0.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.decay = decay
        self.decay_factors: Sequence[float] | None = None

    def _decay_of(self, index: int) -> float:
        return self.decay if self.decay_factors is None else self.decay * self.decay_factors[index]


class MomentumSGD(_DecayInUpdate, keras.optimizers.SGD):
    """Stochastic gradient descent by the rule of the 2012 paper, section 5.

        v <- momentum * v - learning_rate * (gradient + decay * w);  w <- w + v

    The decay is not that of Keras' own optimizers, which shrinks weights apart from v.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its velocity."""
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        # Under a strategy, handles are those of this device, where variables may be of another.
        arguments = {
            "var": variable.handle,
            "accum": self.momentums[index].value.handle,
            "lr": tf.cast(learning_rate, dtype),
            "momentum": tf.constant(self.momentum, dtype),
        }
        if is_weight(variable):
            gradient = _before_its_cast(gradient)
            decay = tf.constant(self._decay_of(index), dtype)
            _update_weights(grad=gradient, decay=decay, **arguments)
        else:
            tf.raw_ops.ResourceApplyKerasMomentum(grad=tf.cast(gradient, dtype), **arguments)


class Adam(_DecayInUpdate, keras.optimizers.Adam):
    """Keras' Adam, with weight decay in the gradient and compiled into three loops a variable."""

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its two moments."""
        if not is_weight(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        _update_weights_by_adam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=tf.cast(learning_rate, dtype)
            * tf.sqrt(1 - tf.pow(beta_2, step))
            / (1 - tf.pow(beta_1, step)),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=_before_its_cast(gradient),
            decay=tf.constant(self._decay_of(index), dtype),
        )


@tf.function(jit_compile=True, autograph=False)
def _update_weights_by_adam(
    var: tf.Tensor,
    m: tf.Tensor,
    v: tf.Tensor,
    lr: tf.Tensor,
    beta1: tf.Tensor,
    beta2: tf.Tensor,
    epsilon: tf.Tensor,
    grad: tf.Tensor,
    decay: tf.Tensor,
) -> None:
    """`ResourceApplyAdam` with weight decay; `lr` holds the corrections of the moments' bias."""
    weights, first, second = (
        tf.raw_ops.ReadVariableOp(resource=resource, dtype=lr.dtype) for resource in (var, m, v)
    )
    gradient = tf.cast(grad, lr.dtype) + decay * weights
    first += (gradient - first) * (1 - beta1)
    second += (tf.square(gradient) - second) * (1 - beta2)
    tf.raw_ops.AssignVariableOp(resource=m, value=first)
    tf.raw_ops.AssignVariableOp(resource=v, value=second)
    tf.raw_ops.AssignVariableOp(
        resource=var, value=weights - lr * first / (tf.sqrt(second) + epsilon)
    )


# TensorFlow's kernel knows no decay, and to add it beforehand is one more pass over all weights.
@tf.function(jit_compile=True, autograph=False)
def _update_weights(
    var: tf.Tensor,
    accum: tf.Tensor,
    lr: tf.Tensor,
    grad: tf.Tensor,
    momentum: tf.Tensor,
    decay: tf.Tensor,
) -> None:
    """`ResourceApplyKerasMomentum` with weight decay, and with a gradient of any float dtype."""
    weights = tf.raw_ops.ReadVariableOp(resource=var, dtype=lr.dtype)
    velocity = tf.raw_ops.ReadVariableOp(resource=accum, dtype=lr.dtype)
    velocity = momentum * velocity - lr * (tf.cast(grad, lr.dtype) + decay * weights)
    tf.raw_ops.AssignVariableOp(resource=accum, value=velocity)
    tf.raw_ops.AssignVariableOp(resource=var, value=weights + velocity)


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
    config: TrainingConfig,
    decay_factors: Sequence[float] | None = None,
    rate_factors: tf.Variable | None = None,
) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the configuration names, before its variables exist.

    Args:
      config: with the network's defaults filled in.
      decay_factors: multiply the weight decay, one for each variable to come.
      rate_factors: multiply the learning rate, one for each; read at each step.

    Raises:
      ValueError: if it is unknown.
    """
    optimizer = optimizers[config.optimizer](config)
    if isinstance(optimizer, _DecayInUpdate):
        optimizer.decay_factors = decay_factors
    else:
        optimizer = with_weight_decay(optimizer, config.weight_decay, decay_factors)
    if rate_factors is not None:
        optimizer = _with_rate_factors(optimizer, rate_factors)
    if config.mixed_precision == "float16":
        # Gradients below 6e-8 would vanish in float16.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def with_weight_decay(
    optimizer: keras.optimizers.Optimizer,
    weight_decay: float,
    decay_factors: Sequence[float] | None = None,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer add `weight_decay * w` to the gradient of every weight, not of biases.

    This is the gradient of TF-Slim's L2 loss, taken after replicas have added their gradients up
    and after loss scaling has been undone.
    """
    plain_update = optimizer.update_step

    def update_step(gradient, variable, learning_rate):
        if is_weight(variable):
            decay = weight_decay
            if decay_factors is not None:
                decay *= decay_factors[optimizer._get_variable_index(variable)]
            gradient = tf.convert_to_tensor(gradient) + decay * variable
        return plain_update(gradient, variable, learning_rate)

    if weight_decay:
        optimizer.update_step = update_step
    return optimizer


def _with_rate_factors(
    optimizer: keras.optimizers.Optimizer, factors: tf.Variable
) -> keras.optimizers.Optimizer:
    plain_update = optimizer.update_step

    def update_step(gradient, variable, learning_rate):
        factor = factors[optimizer._get_variable_index(variable)]
        return plain_update(gradient, variable, learning_rate * tf.cast(factor, variable.dtype))

    optimizer.update_step = update_step
    return optimizer


@optimizers.register("momentum")
def _momentum(config: TrainingConfig) -> keras.optimizers.Optimizer:
    if not config.momentum:  # then Keras keeps no velocity
        return _sgd(config)
    return MomentumSGD(
        config.learning_rate, momentum=config.momentum, decay=config.weight_decay, name=_NAME
    )


@optimizers.register("sgd")
def _sgd(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(config.learning_rate, name=_NAME)


@optimizers.register("rmsprop")
def _rmsprop(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return keras.optimizers.RMSprop(
        config.learning_rate,
        rho=config.rmsprop_decay,
        momentum=config.rmsprop_momentum,
        epsilon=config.opt_epsilon or 1.0,  # TF-Slim's
        name=_NAME,
    )


@optimizers.register("adam")
def _adam(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return Adam(
        config.learning_rate,
        decay=config.weight_decay,
        beta_1=config.adam_beta1,
        beta_2=config.adam_beta2,
        # TF-Slim shares rmsprop's 1, with which Adam hardly moves.
        epsilon=config.opt_epsilon or 1e-7,
        name=_NAME,
    )


@optimizers.register("adagrad")
def _adagrad(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adagrad(config.learning_rate, name=_NAME)


@optimizers.register("adadelta")
def _adadelta(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adadelta(
        config.learning_rate,
        rho=config.adadelta_rho,
        epsilon=config.opt_epsilon or 1e-7,
        name=_NAME,
    )


@optimizers.register("ftrl")
def _ftrl(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return keras.optimizers.Ftrl(config.learning_rate, name=_NAME)
