"""Convolutions that go over channels and positions apart, their weights by TF-Slim's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from nets.device_forms import traced_for_gpu


@keras.saving.register_keras_serializable(package="slimzoo")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose weights TF-Slim calls `depthwise_weights`.

    Args:
      kernel_size: height and width of the window, in pixels.
      strides: of the window, in pixels.
      padding: `valid` or `same`.
      decays: whether weight decay is on its weights; MobileNets have none there.
    """

    slim_names: ClassVar[dict[str, str]] = {"kernel": "depthwise_weights", "bias": "biases"}

    def __init__(
        self,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        *,
        decays: bool = True,
        **kwargs: Any,
    ):
        super().__init__(kernel_size, strides, padding, **kwargs)
        self.decays = decays

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves, adds the bias and applies the activation."""
        rows, columns = self.strides
        is_plain = rows == columns and self.dilation_rate == (1, 1)
        is_plain = is_plain and self.data_format == "channels_last"
        if inputs.dtype != tf.bfloat16 or not is_plain or traced_for_gpu():
            return super().call(inputs)

        @tf.custom_gradient
        def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
            return _bfloat16_depthwise(inputs, kernel, rows, self.padding.upper())

        outputs = convolve(inputs, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"decays": self.decays}


def _bfloat16_depthwise(
    inputs: tf.Tensor, kernel: tf.Tensor, stride: int, padding: str
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """`tf.nn.depthwise_conv2d`; its gradient is taken in float32, twice as fast on a CPU."""
    options = {"strides": [1, stride, stride, 1], "padding": padding}

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wide_inputs, wide_kernel, wide_upstream = (
            tf.cast(one, tf.float32) for one in (inputs, kernel, upstream)
        )
        of_inputs = tf.nn.depthwise_conv2d_backprop_input(
            tf.shape(inputs), wide_kernel, wide_upstream, **options
        )
        of_kernel = tf.nn.depthwise_conv2d_backprop_filter(
            wide_inputs, kernel.shape, wide_upstream, **options
        )
        return tf.cast(of_inputs, inputs.dtype), tf.cast(of_kernel, kernel.dtype)

    return tf.nn.depthwise_conv2d(inputs, kernel, **options), gradients


@keras.saving.register_keras_serializable(package="slimzoo")
class SeparableConv2D(keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D`, its weights by TF-Slim's names: two under one scope.

    Args:
      filters: channels of the output.
      kernel_size: height and width of the window, in pixels.
      strides: of the window, in pixels.
      padding: `valid` or `same`.
      decays: whether weight decay is on its weights.
    """

    slim_names: ClassVar[dict[str, str]] = {
        "depthwise_kernel": "depthwise_weights",
        "pointwise_kernel": "pointwise_weights",
        "bias": "biases",
    }

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        *,
        decays: bool = True,
        **kwargs: Any,
    ):
        super().__init__(filters, kernel_size, strides, padding, **kwargs)
        self.decays = decays

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"decays": self.decays}
