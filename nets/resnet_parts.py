"""What the residual networks have in common: their layers, and how their blocks share a stride.

Sources: He and others, "Deep Residual Learning for Image Recognition"
(https://arxiv.org/abs/1512.03385); TF-Slim, `nets/resnet_utils.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from nets import layers
from nets.activations import Activation
from nets.batch_normalization import BatchNormalization
from nets.registry import EndPoints
from nets.scopes import joined, layer_name

# Of TF-Slim's argument scope.
HYPERPARAMETERS = {"weight_decay": 1e-4}
# Filters of the 3x3 convolutions in each of the four blocks; a unit gives four times as many.
BASE_DEPTHS = (64, 128, 256, 512)
# Of an image's sides to those of a map, after conv1 and pool1, and after the last block.
_FIRST_STRIDE, _LAST_STRIDE = 4, 32


class Block(NamedTuple):
    """A row of the paper's table 1: units of one width, the last of which has the stride.

    Attributes:
      scope: `block1`.
      units: how many.
      base_depth: filters of a unit's 3x3 convolution.
      stride: of the last unit.
      rate: of dilation of every 3x3 convolution.
    """

    scope: str
    units: int
    base_depth: int
    stride: int
    rate: int


def blocks(
    units: Sequence[int], base_depths: Sequence[int], output_stride: int | None
) -> list[Block]:
    """The four blocks of a network.

    Every block but the last halves the map. Once its stride is `output_stride`, it stays so, and
    the convolutions that follow are dilated instead: they see as far as they would have seen.

    Args:
      units: how many each block has.
      base_depths: filters of the 3x3 convolutions of each block.
      output_stride: of the image's sides to those of the last map; None is 32.

    Raises:
      ValueError: if no block ends with `output_stride`.
    """
    if output_stride not in (None, 4, 8, 16, 32):
        raise ValueError(f"output_stride is {output_stride}; it must be 4, 8, 16, 32 or None.")
    stride, rate = _FIRST_STRIDE, 1
    table = []
    for number, (count, base_depth) in enumerate(zip(units, base_depths, strict=True), start=1):
        nominal = 2 if number < len(units) else 1
        if stride < (output_stride or _LAST_STRIDE):
            table.append(Block(f"block{number}", count, base_depth, nominal, rate))
            stride *= nominal
        else:
            table.append(Block(f"block{number}", count, base_depth, 1, rate))
            rate *= nominal
    return table


class ResidualNetwork:
    """Applies the layers of a residual network, and keeps what TF-Slim keeps of their outputs.

    He's initial values (TF-Slim's `variance_scaling_initializer`); batch normalisation with a
    decay of .997 and an epsilon of 1e-5.

    Attributes:
      end_points: outputs by TF-Slim's names, in order.

    Args:
      scope: the network's name.
    """

    def __init__(self, scope: str):
        self.end_points: EndPoints = {}
        self._scope = scope

    def mark(self, scope: str, net: Any) -> Any:
        """Makes a tensor an end point, its scope below the network's; returns it."""
        self.end_points[joined(self._scope, scope)] = net
        return net

    def convolve(
        self,
        net: Any,
        scope: str,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        rate: int = 1,
        normalized: bool = True,
        relu: bool = True,
    ) -> Any:
        """A convolution; the end point is what it gives after all that belongs to it.

        In strides, it has as much padding on either side, whatever the size of the image. `same`
        would have less at the start than at the end of an even side.

        Args:
          net: float [batch, height, width, channels].
          scope: below the network's.
          filters: channels of the output.
          kernel_size: height and width of the window, odd, in pixels.
          stride: of the window.
          rate: of dilation, 1 in strides.
          normalized: whether batch normalisation follows, instead of a bias.
          relu: whether it ends in a ReLU.
        """
        if stride > 1:
            padding = keras.layers.ZeroPadding2D(
                kernel_size // 2, name=layer_name(f"{scope}/padding")
            )
            net = padding(net)
        convolution = layers.Conv2D(
            filters,
            kernel_size,
            stride,
            "same" if stride == 1 else "valid",
            dilation_rate=rate,
            use_bias=not normalized,
            kernel_initializer=keras.initializers.HeNormal(),
            name=layer_name(scope),
        )
        net = convolution(net)
        if normalized:
            net = self.normalize(net, f"{scope}/BatchNorm")
        if relu:
            net = self.relu(net, scope)
        return self.mark(scope, net)

    def normalize(self, net: Any, scope: str) -> Any:
        """Batch normalisation."""
        return BatchNormalization(momentum=0.997, epsilon=1e-5, name=layer_name(scope))(net)

    def relu(self, net: Any, scope: str) -> Any:
        """A ReLU, its layer below `scope`."""
        return Activation("relu", name=layer_name(f"{scope}/relu"))(net)

    def add(self, shortcut: Any, residual: Any, scope: str) -> Any:
        """The sum of a unit's two paths, its layer below `scope`."""
        return keras.layers.Add(name=layer_name(f"{scope}/add"))([shortcut, residual])

    def subsample(self, net: Any, scope: str, stride: int) -> Any:
        """One position of `stride` x `stride`, without weights."""
        if stride == 1:
            return net
        return keras.layers.MaxPooling2D(1, stride, name=layer_name(scope))(net)

    def pool(self, net: Any) -> Any:
        """`pool1`, which halves the map after the first convolution."""
        return keras.layers.MaxPooling2D(3, 2, "same", name="pool1")(net)

    def stack(self, net: Any, block: Block, unit: Unit, stride_in_unit: bool = True) -> Any:
        """The units of a block; the end point `block1` is what the last one gives.

        Args:
          net: float [batch, height, width, channels].
          block: a row of `blocks`.
          unit: the function that makes one.
          stride_in_unit: False subsamples after the end point, so that it and those of the last
            unit are as large as the block's inputs.
        """
        for number in range(1, block.units + 1):
            is_last = number == block.units
            stride = block.stride if is_last and stride_in_unit else 1
            scope = f"{block.scope}/unit_{number}"
            net = unit(self, net, scope, block.base_depth, stride, block.rate)
        self.mark(block.scope, net)
        return net if stride_in_unit else self.subsample(net, block.scope, block.stride)

    def classify(
        self, net: Any, num_classes: int | None, global_pool: bool, spatial_squeeze: bool
    ) -> Any:
        """What follows the last map: its mean, logits, probabilities; returns logits.

        Without classes, returns the mean, or the map if `global_pool` is False.
        """
        if global_pool:
            net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(net)
            self.end_points["global_pool"] = net  # without the network's scope
        if num_classes is None:
            return net
        net = self.convolve(net, "logits", num_classes, 1, normalized=False, relu=False)
        if spatial_squeeze:
            squeeze = layers.SpatialSqueeze(name="spatial_squeeze")
            net = self.mark("spatial_squeeze", squeeze(net))
        self.end_points["predictions"] = keras.layers.Softmax(name="predictions")(net)
        return net


# `unit(network, net, scope, base_depth, stride, rate)` gives the unit's output.
Unit = Callable[[ResidualNetwork, Any, str, int, int, int], Any]
