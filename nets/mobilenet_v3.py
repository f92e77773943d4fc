"""TF-Slim's MobileNet v3: large, small, and both without what is slow on some hardware.

Sources: Howard and others, "Searching for MobileNetV3" (https://arxiv.org/abs/1905.02244), tables 1
and 2; TF-Slim, `nets/mobilenet/mobilenet_v3.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from nets.inverted_residuals import InvertedResidualStack
from nets.mobilenet_parts import HYPERPARAMETERS, divisible
from nets.registry import EndPoints, on_symbolic_images, register_network


class Bottleneck(NamedTuple):
    """A row of the paper's tables, at full width."""

    kernel_size: int
    expanded: int  # filters inside
    filters: int
    squeezes: bool
    activation: str
    stride: int


class Configuration(NamedTuple):
    """The rows, and the two 1x1 convolutions after them, of which the second is not normalised."""

    bottlenecks: Sequence[Bottleneck]
    filters_before_pool: int
    filters_after_pool: int
    activation: str


# After a 3x3 convolution with 16 filters in strides of 2.
LARGE = Configuration(
    [
        Bottleneck(3, 16, 16, False, "relu", 1),
        Bottleneck(3, 64, 24, False, "relu", 2),
        Bottleneck(3, 72, 24, False, "relu", 1),
        Bottleneck(5, 72, 40, True, "relu", 2),
        Bottleneck(5, 120, 40, True, "relu", 1),
        Bottleneck(5, 120, 40, True, "relu", 1),
        Bottleneck(3, 240, 80, False, "hard_swish", 2),
        Bottleneck(3, 200, 80, False, "hard_swish", 1),
        Bottleneck(3, 184, 80, False, "hard_swish", 1),
        Bottleneck(3, 184, 80, False, "hard_swish", 1),
        Bottleneck(3, 480, 112, True, "hard_swish", 1),
        Bottleneck(3, 672, 112, True, "hard_swish", 1),
        Bottleneck(5, 672, 160, True, "hard_swish", 2),
        Bottleneck(5, 960, 160, True, "hard_swish", 1),
        Bottleneck(5, 960, 160, True, "hard_swish", 1),
    ],
    960,
    1280,
    "hard_swish",
)
SMALL = Configuration(
    [
        Bottleneck(3, 16, 16, True, "relu", 2),
        Bottleneck(3, 72, 24, False, "relu", 2),
        Bottleneck(3, 88, 24, False, "relu", 1),
        Bottleneck(5, 96, 40, True, "hard_swish", 2),
        Bottleneck(5, 240, 40, True, "hard_swish", 1),
        Bottleneck(5, 240, 40, True, "hard_swish", 1),
        Bottleneck(5, 120, 48, True, "hard_swish", 1),
        Bottleneck(5, 144, 48, True, "hard_swish", 1),
        Bottleneck(5, 288, 96, True, "hard_swish", 2),
        Bottleneck(5, 576, 96, True, "hard_swish", 1),
        Bottleneck(5, 576, 96, True, "hard_swish", 1),
    ],
    576,
    1024,
    "hard_swish",
)


def minimalistic(configuration: Configuration) -> Configuration:
    """The same with 3x3 kernels and ReLU everywhere, and without squeeze-and-excite."""
    bottlenecks = [
        row._replace(kernel_size=3, squeezes=False, activation="relu")
        for row in configuration.bottlenecks
    ]
    return configuration._replace(bottlenecks=bottlenecks, activation="relu")


CONFIGURATIONS = {
    "mobilenet_v3_large": LARGE,  # 5,484,313 parameters for 1,001 classes
    "mobilenet_v3_small": SMALL,  # 2,543,881
    "mobilenet_v3_large_minimalistic": minimalistic(LARGE),  # 3,925,569
    "mobilenet_v3_small_minimalistic": minimalistic(SMALL),  # 2,045,761
}


@on_symbolic_images
def mobilenet_v3(
    configuration: Configuration,
    images: Any,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    finegrain_classification_mode: bool = False,
    dropout_keep_prob: float = 0.8,
    spatial_squeeze: bool = True,
    output_stride: int | None = None,
) -> tuple[Any, EndPoints]:
    """MobileNet v3 as TF-Slim has it: inverted residuals with squeeze-and-excite and hard swish.

    Batch normalisation with a decay of .997, truncated normal weights of .09, no weight decay on
    depthwise weights. End points are TF-Slim's in name, order and value, those of square images:
    others have their mean taken over all positions too, not over windows of 7x7.

    Args:
      configuration: its table.
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns the last convolution, [batch, 1, 1, channels]. The published
        checkpoints have 1,001, the first of which is the background.
      depth_multiplier: of the filters of all layers, which are multiples of 8.
      finegrain_classification_mode: keeps the last convolution's filters as they are.
      dropout_keep_prob: before the logits.
      spatial_squeeze: gives [batch, num_classes].
      output_stride: 16 or less for larger last maps; dilations take the place of strides.

    Returns:
      Logits and end points `layer_1` ... `layer_19` (large; the last two after the pool),
      `layer_2/depthwise_output` ... `layer_16/output`, `global_pool`, `Logits`, `Predictions`.
    """

    def depth(filters: int) -> int:
        return divisible(filters * depth_multiplier)

    bottlenecks, filters_before_pool, filters_after_pool, activation = configuration
    if not finegrain_classification_mode:
        filters_after_pool = depth(filters_after_pool)
    stack = InvertedResidualStack(images, output_stride)
    stack.add_convolution(depth(16), 3, 2, activation)
    full_depth = 16
    for row in bottlenecks:
        stack.add_inverted_residual(
            row.expanded / full_depth,
            depth(row.filters),
            row.kernel_size,
            row.stride,
            row.activation,
            squeezes=row.squeezes,
        )
        full_depth = row.filters
    stack.add_convolution(depth(filters_before_pool), 1, 1, activation)
    stack.add_pool()
    stack.add_convolution(filters_after_pool, 1, 1, activation, normalized=False)
    stack.add_logits(num_classes, dropout_keep_prob, spatial_squeeze)
    return stack.net, stack.end_points


for _name, _configuration in CONFIGURATIONS.items():
    register_network(
        name=_name,
        scope="MobilenetV3",
        first_layer="Conv",
        head="Logits/Conv2d_1c_1x1",
        default_image_size=224,
        minimum_image_size=32,
        preprocessing="inception",
        hyperparameters=HYPERPARAMETERS,
    )(functools.partial(mobilenet_v3, _configuration))
