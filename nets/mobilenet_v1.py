"""TF-Slim's MobileNet v1, and its three narrower ones.

Sources: Howard and others, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications" (https://arxiv.org/abs/1704.04861), table 1; TF-Slim, `nets/mobilenet_v1.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras

from nets.mobilenet_parts import HYPERPARAMETERS, NormalizedStack, add_logits
from nets.pooling import WindowOrMapPooling2D
from nets.registry import EndPoints, on_symbolic_images, register_network

MULTIPLIERS = {
    "mobilenet_v1": 1.0,  # 4,233,001 parameters for 1,001 classes
    "mobilenet_v1_075": 0.75,
    "mobilenet_v1_050": 0.5,
    "mobilenet_v1_025": 0.25,
}


class Separable(NamedTuple):
    """A depthwise 3x3 convolution, then a 1x1 one: filters at full width, and the stride."""

    filters: int
    stride: int


# After Conv2d_0, 3x3 with 32 filters in strides of 2.
SEPARABLE = [
    Separable(64, 1),
    Separable(128, 2),
    Separable(128, 1),
    Separable(256, 2),
    Separable(256, 1),
    Separable(512, 2),
    *[Separable(512, 1)] * 5,
    Separable(1024, 2),
    Separable(1024, 1),
]


@on_symbolic_images
def mobilenet_v1(
    images: Any,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    dropout_keep_prob: float = 0.999,
    min_depth: int = 8,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """MobileNet v1 as TF-Slim has it: depthwise separable convolutions with ReLU6.

    Batch normalisation with a decay of .9997, truncated normal weights of .09, no weight decay on
    depthwise weights. End points are TF-Slim's in name, order and value.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns AvgPool_1a, [batch, 1, 1, channels]. The published checkpoints have
        1,001, the first of which is the background.
      depth_multiplier: of the filters of all layers; the networks' own is in their names.
      dropout_keep_prob: before the logits.
      min_depth: the least number of filters.
      spatial_squeeze: gives [batch, num_classes].
      global_pool: averages over all positions; otherwise over 7x7, or as many as a smaller image
        has.

    Returns:
      Logits and end points `Conv2d_0` ... `Conv2d_13_pointwise`, `AvgPool_1a`, `Logits`,
      `Predictions`.
    """

    def depth(filters: int) -> int:
        return max(int(filters * depth_multiplier), min_depth)

    stack = NormalizedStack(images, momentum=0.9997)
    stack.convolve("Conv2d_0", depth(32), 3, stride=2)
    stack.mark("Conv2d_0")
    for number, (filters, stride) in enumerate(SEPARABLE, start=1):
        stack.convolve_depthwise(f"Conv2d_{number}_depthwise", 3, stride)
        stack.mark(f"Conv2d_{number}_depthwise")
        stack.convolve(f"Conv2d_{number}_pointwise", depth(filters), 1)
        stack.mark(f"Conv2d_{number}_pointwise")
    if global_pool:
        stack.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
        stack.mark("global_pool")
    else:
        stack.apply(WindowOrMapPooling2D(7, name="AvgPool_1a"))
        stack.mark("AvgPool_1a")
    add_logits(stack, num_classes, dropout_keep_prob, spatial_squeeze)
    return stack.net, stack.end_points


for _name, _multiplier in MULTIPLIERS.items():
    register_network(
        name=_name,
        scope="MobilenetV1",
        first_layer="Conv2d_0",
        head="Logits/Conv2d_1c_1x1",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="inception",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(mobilenet_v1, depth_multiplier=_multiplier))
