"""Batch normalisation as TF-Slim has it, on TensorFlow's fused kernels."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from nets.context_settings import holding
from nets.device_forms import traced_for_gpu

_folds = ContextVar("folds", default=False)


def folded_into_convolutions(folds: bool = True) -> contextlib.AbstractContextManager[None]:
    """Lets normalisation of evaluation change convolutions in a graph that is made inside.

    What the convolutions themselves gave is then computed only if it is asked for, and is no longer
    on the way to the result: there are no gradients by it.
    """
    return holding(_folds, folds)


@keras.saving.register_keras_serializable(package="slimzoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis, by one fused operation.

    Keras' own takes mean and variance by several operations, in float32 whatever its inputs are.
    As TF-Slim's fused one, this keeps the moving variance of Bessel's correction, n / (n - 1), and
    normalises with the batch's without. A layer that is not trained uses its moving statistics
    and leaves them as they are. Replicas have each their own batch, or, if `synchronized`, all of
    them one. Takes and gives float [batch, height, width, channels].

    Where `folded_into_convolutions` says so, it becomes part of the convolution before it, with
    which TensorFlow fuses a bias and an activation. In float32 on a CPU, it fuses many
    normalisations as they are, and to scale the weights costs more than it spares.

    Args:
      folds_in_float32: whether it is folded there too, as is worth while behind depthwise
        convolutions and before ReLU6.
      **kwargs: as Keras takes them.
    """

    def __init__(self, *, folds_in_float32: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.folds_in_float32 = folds_in_float32

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"folds_in_float32": self.folds_in_float32}

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        """As `keras.layers.Layer` has it; replicas' moving statistics become their mean."""
        if str(kwargs.get("name")).startswith("moving_"):
            kwargs["aggregation"] = "mean"
        return super().add_weight(*args, **kwargs)

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalises by the batch in training, by the moving statistics otherwise."""
        # Its numbers are float32 also where the variables are not.
        channels = self.moving_mean.shape
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels)
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros(channels)
        if not (training and self.trainable):
            folds = self.folds_in_float32 or inputs.dtype != tf.float32 or traced_for_gpu()
            if folds and not training and (convolution := _convolution_to_change(inputs)):
                return self._folded_into(convolution, scale, offset)
            outputs, *_ = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                scale,
                offset,
                mean=tf.cast(self.moving_mean, tf.float32),
                variance=tf.cast(self.moving_variance, tf.float32),
                epsilon=self.epsilon,
                is_training=False,
            )
            return outputs
        if self.synchronized and not tf.distribute.in_cross_replica_context():
            outputs, mean, variance = self._normalized_over_replicas(inputs, scale, offset)
        else:
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, scale, offset, epsilon=self.epsilon, is_training=True
            )
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            value = tf.cast(value, moving.dtype)
            moving.assign(moving - (moving - value) * (1 - self.momentum))
        return outputs

    def _folded_into(
        self, convolution: tf.Operation, scale: tf.Tensor, offset: tf.Tensor
    ) -> tf.Tensor:
        """The same, as a convolution by other weights and a bias: one pass over memory less."""
        mean, variance = (
            tf.cast(one, tf.float32) for one in (self.moving_mean, self.moving_variance)
        )
        factor = scale * tf.math.rsqrt(variance + self.epsilon)
        values, kernel = convolution.inputs
        of_kernel = factor
        if convolution.type == "DepthwiseConv2dNative":
            of_kernel = tf.reshape(factor, kernel.shape[2:])
        weights = tf.cast(tf.cast(kernel, tf.float32) * of_kernel, kernel.dtype)
        names = ("strides", "padding", "explicit_paddings", "dilations", "data_format")
        outputs = getattr(tf.raw_ops, convolution.type)(
            input=values,
            filter=weights,
            **{name: convolution.get_attr(name) for name in names},
        )
        return tf.nn.bias_add(outputs, tf.cast(offset - mean * factor, outputs.dtype))

    def _normalized_over_replicas(
        self, inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the fused operation gives, with the batches of all replicas as one.

        Sums over the images of a replica are added up twice, since a variance from sums of squares
        loses the digits of a large mean.
        """
        axes = list(range(inputs.shape.rank - 1))
        values = tf.cast(inputs, tf.float32)
        total, count = _sums_of_replicas(
            [tf.reduce_sum(values, axes), tf.cast(tf.size(values[..., 0]), tf.float32)]
        )
        mean = total / count
        [squares] = _sums_of_replicas([tf.reduce_sum(tf.square(values - mean), axes)])
        variance = squares / count
        inverse_deviation = tf.math.rsqrt(variance + self.epsilon)

        @tf.custom_gradient
        def normalize(
            inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
        ) -> tuple[tf.Tensor, Any]:
            def normalized() -> tf.Tensor:
                return (tf.cast(inputs, tf.float32) - mean) * inverse_deviation

            def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                # Equations of section 3 of https://arxiv.org/abs/1502.03167, simplified. Every
                # image has moved the statistics, so those of inputs hold sums over all replicas.
                upstream = tf.cast(upstream, tf.float32)
                of_scale = tf.reduce_sum(upstream * normalized(), axes)
                of_offset = tf.reduce_sum(upstream, axes)
                sums = _sums_of_replicas([of_scale, of_offset])
                by_statistics = (normalized() * sums[0] + sums[1]) / count
                of_inputs = (upstream - by_statistics) * (scale * inverse_deviation)
                return tf.cast(of_inputs, inputs.dtype), of_scale, of_offset

            return tf.cast(normalized() * scale + offset, inputs.dtype), gradients

        bessel = count / tf.maximum(count - 1, 1)
        return normalize(inputs, scale, offset), mean, variance * bessel


def _convolution_to_change(values: tf.Tensor) -> tf.Operation | None:
    """The operation of a graph that made them, if it is a convolution, and is to be changed."""
    if not (_folds.get() and tf.is_symbolic_tensor(values)):
        return None
    while values.op.type in ("Identity", "IdentityN"):  # as a custom gradient leaves behind
        values = values.op.inputs[values.value_index]
    return values.op if values.op.type in ("Conv2D", "DepthwiseConv2dNative") else None


def _sums_of_replicas(values: list[tf.Tensor]) -> list[tf.Tensor]:
    """Adds up over all replicas, in a replica, without a gradient.

    `all_reduce` has one, for which TensorFlow looks through all operations that a sum depends on,
    those of the other replicas included, as far as there are gradients. For a network of a hundred
    layers that took minutes.
    """
    sums: list[tf.Tensor] = tf.distribute.get_replica_context().all_reduce(
        "SUM", list(map(tf.stop_gradient, values))
    )
    return sums
