"""Optimizers by TF-Slim's names, all with weight decay in the gradient and on weights alone."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from slimzoo_registry import Registry
from training.configuration import TrainingConfig

Factory = Callable[[TrainingConfig], keras.optimizers.Optimizer]

# Keras would number optimizers of one process, and checkpoints hold these names.
_NAME = "optimizer"
optimizers: Registry[Factory] = Registry("optimizer")


class MomentumSGD(keras.optimizers.SGD):
    """Stochastic gradient descent by the rule of the 2012 paper, section 5.

        v <- momentum * v - learning_rate * (gradient + weight_decay * w);  w <- w + v

    `weight_decay` of Keras' own optimizers is another rule: it shrinks weights apart from v.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its velocity in one pass over memory."""
        velocity = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
        )


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the configuration names, before its variables exist.

    Raises:
      ValueError: if it is unknown.
    """
    optimizer = with_weight_decay(optimizers[config.optimizer](config), config.weight_decay)
    if config.mixed_precision == "float16":
        # Gradients below 6e-8 would vanish in float16.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer


def with_weight_decay(
    optimizer: keras.optimizers.Optimizer, weight_decay: float
) -> keras.optimizers.Optimizer:
    """Makes an optimizer add `weight_decay * w` to the gradient of every weight, not of biases.

    This is the gradient of TF-Slim's L2 loss, taken after replicas have added their gradients up
    and after loss scaling has been undone.
    """
    plain_update = optimizer.update_step

    def update_step(gradient, variable, learning_rate):
        if variable.shape.rank > 1:  # biases are vectors
            gradient = tf.convert_to_tensor(gradient) + weight_decay * variable
        return plain_update(gradient, variable, learning_rate)

    if weight_decay:
        optimizer.update_step = update_step
    return optimizer


@optimizers.register("momentum")
def _momentum(config: TrainingConfig) -> keras.optimizers.Optimizer:
    return MomentumSGD(config.learning_rate, momentum=config.momentum, name=_NAME)


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
    return keras.optimizers.Adam(
        config.learning_rate,
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
