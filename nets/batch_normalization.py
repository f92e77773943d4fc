"""Batch normalisation as TF-Slim has it, on TensorFlow's fused kernels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="slimzoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis, by one fused operation.

    Keras' own takes mean and variance by several operations, in float32 whatever its inputs are.
    As TF-Slim's fused one, this keeps the moving variance of Bessel's correction, n / (n - 1), and
    normalises with the batch's without. A layer that is not trained uses its moving statistics
    and leaves them as they are. Replicas have each their own batch, or, if `synchronized`, all of
    them one. Takes and gives float [batch, height, width, channels].
    """

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

    def _normalized_over_replicas(
        self, inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What the fused operation gives, with the batches of all replicas as one.

        The sums of replicas are added up twice, since a variance from sums of squares loses the
        digits of a large mean. Gradients go back through both, from every replica to every one.
        """
        replica = tf.distribute.get_replica_context()
        values = tf.cast(inputs, tf.float32)
        axes = list(range(values.shape.rank - 1))
        total, count = replica.all_reduce(
            "SUM", [tf.reduce_sum(values, axes), tf.cast(tf.size(values[..., 0]), tf.float32)]
        )
        mean = total / count
        centered = values - mean
        variance = replica.all_reduce("SUM", tf.reduce_sum(tf.square(centered), axes)) / count
        outputs = centered * (scale * tf.math.rsqrt(variance + self.epsilon)) + offset
        bessel = count / tf.maximum(count - 1, 1)
        return tf.cast(outputs, inputs.dtype), mean, variance * bessel
