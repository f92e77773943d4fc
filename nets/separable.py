"""Convolutions that go over channels and positions apart, their weights by TF-Slim's names."""

from __future__ import annotations

from typing import Any, ClassVar

import keras


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

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"decays": self.decays}


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
