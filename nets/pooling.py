"""Average pools whose windows depend on the map, as TF-Slim's networks have them at their ends."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="slimzoo")
class WindowOrMapPooling2D(keras.layers.Layer):
    """Averages over windows as large as asked for, or as the map, if it is smaller.

    Args:
      size: height and width of a window, in positions.
      strides: by which windows move, in positions.
    """

    def __init__(self, size: int, strides: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size
        self.strides = strides

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages [batch, height, width, channels]."""
        height, width = inputs.shape[1:3]
        if height is not None and width is not None:
            window = [min(size, self.size) for size in (height, width)]
            return tf.nn.avg_pool2d(inputs, window, self.strides, "VALID")
        rows, columns = (tf.minimum(tf.shape(inputs)[axis], self.size) for axis in (1, 2))
        shares = tf.ones([rows, columns, inputs.shape[3], 1], inputs.dtype)
        strides = [1, self.strides, self.strides, 1]
        sums = tf.nn.depthwise_conv2d(inputs, shares, strides, "VALID")
        return sums / tf.cast(rows * columns, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the averages."""
        batch, *sizes, channels = input_shape
        pooled = [None if n is None else (n - min(n, self.size)) // self.strides + 1 for n in sizes]
        return (batch, *pooled, channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"size": self.size, "strides": self.strides}


@keras.saving.register_keras_serializable(package="slimzoo")
class AuxiliaryPooling2D(keras.layers.Layer):
    """Averages 5x5 positions in strides of 3, on the way to Inception's auxiliary logits.

    A 5x5 convolution that gives one position follows, so the map must have 17 to 19 a side, as
    images of 299 to 346 pixels leave. Takes and gives float [batch, height, width, channels].
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages; raises ValueError if the size is known and does not give 5x5 positions."""
        self.compute_output_shape(tuple(inputs.shape))
        return tf.nn.avg_pool2d(inputs, 5, 3, "VALID")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, 5, 5, channels]."""
        batch, height, width, channels = input_shape
        if any(size is not None and not 17 <= size <= 19 for size in (height, width)):
            raise ValueError(
                f"Its auxiliary logits are for maps of 17 to 19 positions a side, and this one has "
                f"{height}x{width}. (Training leaves them out with "
                "--network_options=create_aux_logits=False, and get_network_fn in Python likewise.)"
            )
        return (batch, 5, 5, channels)

    def get_config(self) -> dict[str, Any]:
        """What any layer has."""
        return super().get_config()
