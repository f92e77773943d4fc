"""TF-Slim's MobileNet v2, a wider and a narrower one.

Sources: Sandler and others, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"
(https://arxiv.org/abs/1801.04381), table 2; TF-Slim, `nets/mobilenet/mobilenet_v2.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from nets.inverted_residuals import InvertedResidualStack
from nets.mobilenet_parts import HYPERPARAMETERS, divisible
from nets.registry import EndPoints, on_symbolic_images, register_network

OPTIONS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {},  # 3,506,153 parameters for 1,001 classes
    "mobilenet_v2_140": {"depth_multiplier": 1.4},
    "mobilenet_v2_035": {"depth_multiplier": 0.35, "finegrain_classification_mode": True},
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


@on_symbolic_images
def mobilenet_v2(
    images: Any,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    finegrain_classification_mode: bool = False,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 8,
    spatial_squeeze: bool = True,
    output_stride: int | None = None,
) -> tuple[Any, EndPoints]:
    """MobileNet v2 as TF-Slim has it: inverted residuals with linear bottlenecks.

    Batch normalisation with a decay of .997, truncated normal weights of .09, no weight decay on
    depthwise weights. End points are TF-Slim's in name, order and value.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns the mean over positions, [batch, 1, 1, channels]. The published
        checkpoints have 1,001, the first of which is the background.
      depth_multiplier: of the filters of all layers, which are multiples of 8.
      finegrain_classification_mode: keeps the 1280 filters of a narrower network's last
        convolution, as all published checkpoints have it.
      dropout_keep_prob: before the logits.
      min_depth: the least number of filters.
      spatial_squeeze: gives [batch, num_classes].
      output_stride: 16 or less for larger last maps; dilations take the place of strides.

    Returns:
      Logits and end points `layer_1` ... `layer_19`, `layer_2/depthwise_output` ...
      `layer_18/output`, `global_pool`, `Logits`, `Predictions`.
    """

    def depth(filters: int) -> int:
        return divisible(filters * depth_multiplier, least=min_depth)

    stack = InvertedResidualStack(images, output_stride)
    stack.add_convolution(depth(32), 3, 2)
    for expansion, filters, repetitions, first_stride in BOTTLENECKS:
        for repetition in range(repetitions):
            stride = first_stride if repetition == 0 else 1
            stack.add_inverted_residual(expansion, depth(filters), 3, stride)
    keeps_last = finegrain_classification_mode and depth_multiplier < 1
    stack.add_convolution(1280 if keeps_last else depth(1280), 1)
    stack.add_logits(num_classes, dropout_keep_prob, spatial_squeeze)
    return stack.net, stack.end_points


for _name, _options in OPTIONS.items():
    register_network(
        name=_name,
        scope="MobilenetV2",
        first_layer="Conv",
        head="Logits/Conv2d_1c_1x1",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="inception",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(mobilenet_v2, **_options))
