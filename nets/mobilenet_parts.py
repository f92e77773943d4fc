"""What the MobileNets have in common: normalised convolutions, gates, and the last layers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nets import layers
from nets.activations import Activation
from nets.batch_normalization import BatchNormalization
from nets.registry import EndPoints
from nets.scopes import layer_name
from nets.separable import DepthwiseConv2D

# Of TF-Slim's argument scopes.
HYPERPARAMETERS = {"weight_decay": 4e-5}


class NormalizedStack:
    """Applies convolutions, each with batch normalisation and an activation, one after another.

    Weights are truncated normal of .09; depthwise ones do not decay. Activations have their names
    in `keras.activations`; None leaves one out.

    Attributes:
      net: the output of the last layer, a Keras symbolic tensor.
      end_points: outputs by TF-Slim's names, in order.

    Args:
      images: a Keras symbolic tensor.
      momentum: by which moving statistics keep what they were.
    """

    def __init__(self, images: Any, *, momentum: float):
        self.net = images
        self.end_points: EndPoints = {}
        self._momentum = momentum

    @property
    def depth(self) -> int:
        """Channels of the last output."""
        return int(self.net.shape[-1])

    def apply(self, layer: keras.layers.Layer) -> None:
        """Applies a layer."""
        self.net = layer(self.net)

    def mark(self, end_point: str) -> None:
        """Makes the last output an end point."""
        self.end_points[end_point] = self.net

    def convolve(
        self,
        scope: str,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        activation: str | None = "relu6",
        normalized: bool = True,
    ) -> None:
        """A convolution, its scope below the network's; it has biases if it is not normalised."""
        self.apply(
            layers.Conv2D(
                filters,
                kernel_size,
                stride,
                "same",
                dilation_rate=dilation,
                use_bias=not normalized,
                kernel_initializer=_weights(),
                name=layer_name(scope),
            )
        )
        if normalized:
            self._normalize(scope)
        self._activate(scope, activation)

    def convolve_depthwise(
        self,
        scope: str,
        kernel_size: int,
        stride: int,
        *,
        dilation: int = 1,
        activation: str = "relu6",
    ) -> None:
        """A convolution of each channel by itself."""
        self.apply(
            DepthwiseConv2D(
                kernel_size,
                stride,
                "same",
                dilation_rate=dilation,
                use_bias=False,
                decays=False,
                depthwise_initializer=_weights(),
                name=layer_name(scope),
            )
        )
        self._normalize(scope)
        self._activate(scope, activation)

    def squeeze_and_excite(self, scope: str) -> None:
        """Multiplies channels by what two layers, the first with a fourth, make of their means."""
        inputs, depth = self.net, self.depth
        self.apply(
            keras.layers.GlobalAveragePooling2D(keepdims=True, name=layer_name(f"{scope}/pool"))
        )
        squeezed = divisible(depth / 4)
        self.convolve(f"{scope}/Conv", squeezed, 1, activation="relu", normalized=False)
        self.convolve(f"{scope}/Conv_1", depth, 1, activation=None, normalized=False)
        self.apply(keras.layers.Activation(gate, name=layer_name(f"{scope}/gate")))
        self.net = keras.layers.Multiply(name=layer_name(f"{scope}/multiply"))([inputs, self.net])

    def _normalize(self, scope: str) -> None:
        self.apply(
            BatchNormalization(
                momentum=self._momentum,
                epsilon=0.001,
                folds_in_float32=True,
                name=layer_name(f"{scope}/BatchNorm"),
            )
        )

    def _activate(self, scope: str, activation: str | None) -> None:
        if activation is not None:
            name = layer_name(f"{scope}/{activation}")
            self.apply(Activation(activation, name=name))


def add_logits(
    stack: NormalizedStack, num_classes: int | None, keep_prob: float, spatial_squeeze: bool
) -> None:
    """What follows the pool: dropout, `Logits/Conv2d_1c_1x1`, and two end points."""
    if num_classes is None:
        return
    stack.apply(layers.Dropout(keep_prob, name="dropout"))
    stack.apply(
        layers.Conv2D(
            num_classes, 1, kernel_initializer=_weights(), name=layer_name("Logits/Conv2d_1c_1x1")
        )
    )
    if spatial_squeeze:
        stack.apply(layers.SpatialSqueeze(name="squeeze"))
    stack.mark("Logits")
    stack.end_points["Predictions"] = keras.layers.Softmax(name="Predictions")(stack.net)


@keras.saving.register_keras_serializable(package="slimzoo")
def gate(inputs: tf.Tensor) -> tf.Tensor:
    """A sigmoid of three straight lines, from 0 to 1.00002: TF-Slim's factor is not quite 1/6."""
    return tf.nn.relu6(inputs + 3) * 0.16667


def divisible(filters: float, divisor: int = 8, least: int | None = None) -> int:
    """The nearest multiple of `divisor`, at least `least` and no more than a tenth less."""
    rounded = max(least or divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


def _weights() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.09)
