"""ReLU and ReLU6, which TensorFlow has slow kernels for in bfloat16 on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from nets.device_forms import traced_for_gpu
from nets.xla import fused

# As bfloat16 has them, in bits.
_SIX = 0x40C0
_INFINITY = 0x7F80


@keras.saving.register_keras_serializable(package="slimzoo")
class Activation(keras.layers.Activation):
    """`keras.layers.Activation`, whose `relu` and `relu6` are trained fast in bfloat16 too.

    In evaluation they stay operations of TensorFlow, which fuses them with the convolution before.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Applies it to each element."""
        if training and compares_bits(inputs):
            if self.activation is keras.activations.relu:
                return bfloat16_relu(inputs)
            if self.activation is keras.activations.relu6:
                return _bfloat16_relu6(inputs)
        return self.activation(inputs)


def compares_bits(inputs: tf.Tensor) -> bool:
    """Whether the functions below are faster than TensorFlow's here."""
    return inputs.dtype == tf.bfloat16 and not traced_for_gpu()


@tf.custom_gradient
def bfloat16_relu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """`tf.nn.relu`, whose own gradient takes twice the time."""
    outputs = tf.nn.relu(inputs)
    return outputs, _gradient(_where_positive, outputs)


@tf.custom_gradient
def _bfloat16_relu6(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """`tf.nn.relu6`, which takes 1.4 times as long, forward and back."""
    outputs = _clipped_to_six(inputs)
    return outputs, _gradient(_where_below_six, outputs)


def _gradient(
    kept: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], outputs: tf.Tensor
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The gradient of a function that hands on some elements, which is its own gradient."""
    # Without a stop, TensorFlow would look through all that made them, at each custom gradient.
    outputs = tf.stop_gradient(outputs)

    @tf.custom_gradient
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return kept(upstream, outputs), gradient

    return gradient  # type: ignore[no-any-return]


# By the bits: the first is the sign, and the others are ordered as the numbers are.


@fused
def _where_positive(values: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """`values` where `condition` is positive, else 0."""
    return _kept(values, _bits(condition) > 0)


@fused
def _where_below_six(values: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """`values` where `condition` is positive and below 6, else 0."""
    bits = _bits(condition)
    return _kept(values, tf.logical_and(bits > 0, bits < _SIX))


@fused
def _clipped_to_six(values: tf.Tensor) -> tf.Tensor:
    bits = _bits(values)
    clipped = tf.clip_by_value(bits, 0, _SIX)
    # What is larger than all numbers, but for the sign, is a NaN, and stays one.
    is_nan = tf.bitwise.bitwise_and(bits, 0x7FFF) > _INFINITY
    return tf.bitcast(tf.where(is_nan, bits, clipped), tf.bfloat16)


def _kept(values: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    bits = _bits(values)
    return tf.bitcast(tf.where(where, bits, tf.zeros_like(bits)), tf.bfloat16)


def _bits(values: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(values, tf.int16)
