"""TF-Slim's MobileNet v2, a wider and a narrower one.

Sources: Sandler and others, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"
(https://arxiv.org/abs/1801.04381), table 2; TF-Slim, `nets/mobilenet/mobilenet_v2.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras

from nets.mobilenet_parts import HYPERPARAMETERS, NormalizedStack, add_logits, divisible
from nets.registry import EndPoints, register_network
from nets.scopes import layer_name

MULTIPLIERS = {
    "mobilenet_v2": 1.0,  # 3,506,153 parameters for 1,001 classes
    "mobilenet_v2_140": 1.4,
    "mobilenet_v2_035": 0.35,
}


class Bottleneck(NamedTuple):
    """A row of the paper's table 2: expansion, filters, repetitions, stride of the first."""

    expansion: int
    filters: int
    repetitions: int
    stride: int


# After a 3x3 convolution with 32 filters in strides of 2, and before one of 1x1 with 1280.
BOTTLENECKS = [
    Bottleneck(1, 16, 1, 1),
    Bottleneck(6, 24, 2, 2),
    Bottleneck(6, 32, 3, 2),
    Bottleneck(6, 64, 4, 2),
    Bottleneck(6, 96, 3, 1),
    Bottleneck(6, 160, 3, 2),
    Bottleneck(6, 320, 1, 1),
]


def mobilenet_v2(
    depth_multiplier: float,
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 8,
    spatial_squeeze: bool = True,
) -> tuple[Any, EndPoints]:
    """MobileNet v2 as TF-Slim has it: inverted residuals with linear bottlenecks.

    Batch normalisation with a decay of .997, truncated normal weights of .09, no weight decay on
    depthwise weights. Filters are multiples of 8; of a narrower network the last 1x1 convolution
    keeps its 1280. End points are TF-Slim's in name, order and value.

    Args:
      depth_multiplier: of the filters of all layers.
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns the mean over positions, [batch, 1, 1, channels]. The published
        checkpoints have 1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      min_depth: the least number of filters.
      spatial_squeeze: gives [batch, num_classes].

    Returns:
      Logits and end points `layer_1` ... `layer_19`, `layer_2/depthwise_output` ...
      `layer_18/output`, `global_pool`, `Logits`, `Predictions`.
    """

    def depth(filters: int) -> int:
        return divisible(filters * depth_multiplier, least=min_depth)

    stack = NormalizedStack(images, momentum=0.997)
    inner: EndPoints = {}
    stack.convolve("Conv", depth(32), 3, stride=2)
    stack.mark("layer_1")
    number = 0
    for expansion, filters, repetitions, first_stride in BOTTLENECKS:
        for repetition in range(repetitions):
            scope = f"expanded_conv_{number}" if number else "expanded_conv"
            layer = f"layer_{number + 2}"
            stride = first_stride if repetition == 0 else 1
            inner |= _inverted_residual(stack, scope, layer, expansion, depth(filters), stride)
            stack.mark(layer)
            number += 1
    stack.convolve("Conv_1", max(depth(1280), 1280), 1)
    stack.mark(f"layer_{number + 2}")
    stack.end_points |= inner
    stack.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
    stack.mark("global_pool")
    add_logits(stack, num_classes, dropout_keep_prob, spatial_squeeze)
    return stack.net, stack.end_points


def _inverted_residual(
    stack: NormalizedStack, scope: str, layer: str, expansion: int, filters: int, stride: int
) -> EndPoints:
    """Widens, convolves each channel, narrows, and adds where the shape stays; its end points."""
    inputs, end_points = stack.net, {}
    if expansion > 1:
        stack.convolve(f"{scope}/expand", divisible(stack.depth * expansion), 1)
        end_points[f"{layer}/expansion_output"] = stack.net
    stack.convolve_depthwise(f"{scope}/depthwise", 3, stride)
    end_points[f"{layer}/depthwise_output"] = stack.net
    stack.convolve(f"{scope}/project", filters, 1, linear=True)
    if stride == 1 and inputs.shape[-1] == filters:
        stack.net = keras.layers.Add(name=layer_name(f"{scope}/add"))([inputs, stack.net])
    end_points[f"{layer}/output"] = stack.net
    return end_points


for _name, _multiplier in MULTIPLIERS.items():
    register_network(
        name=_name,
        scope="MobilenetV2",
        first_layer="Conv",
        head="Logits/Conv2d_1c_1x1",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="inception",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(mobilenet_v2, _multiplier))
