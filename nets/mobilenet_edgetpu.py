"""TF-Slim's MobileNet for the Edge TPU, and a narrower one.

Sources: Xiong and others, "MobileDets: Searching for Object Detection Architectures for Mobile
Accelerators" (https://arxiv.org/abs/2004.14525), on its fused residuals; TF-Slim,
`nets/mobilenet/mobilenet_v3.py`. There is no paper of the network itself.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from nets.inverted_residuals import InvertedResidualStack
from nets.mobilenet_parts import HYPERPARAMETERS, divisible
from nets.registry import EndPoints, register_network


class Fused(NamedTuple):
    """Residuals that widen by a whole convolution: their number, and the stride of the first."""

    expansion: int
    filters: int
    kernel_size: int
    stride: int
    repetitions: int = 1


class Bottleneck(NamedTuple):
    """Residuals with a depthwise convolution; `residual` is whether inputs are added at all."""

    expansion: int
    filters: int
    kernel_size: int
    stride: int
    repetitions: int = 1
    residual: bool = True


# After a 3x3 convolution with 32 filters in strides of 2, and before one of 1x1 with 1280.
RESIDUALS: list[Fused | Bottleneck] = [
    Fused(1, 16, 3, 1),
    Fused(8, 32, 3, 2),
    Fused(4, 32, 3, 1, repetitions=3),
    Fused(8, 48, 3, 2),
    Fused(4, 48, 3, 1, repetitions=3),
    Bottleneck(8, 96, 3, 2),
    Bottleneck(4, 96, 3, 1, repetitions=3),
    Bottleneck(8, 96, 3, 1, residual=False),
    Bottleneck(4, 96, 3, 1, repetitions=3),
    Bottleneck(8, 160, 5, 2),
    Bottleneck(4, 160, 5, 1, repetitions=3),
    Bottleneck(8, 192, 3, 1),
]


_register = functools.partial(
    register_network,
    scope="MobilenetEdgeTPU",
    first_layer="Conv",
    head="Logits/Conv2d_1c_1x1",
    default_image_size=224,
    minimum_image_size=32,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
)


@_register()
def mobilenet_edgetpu(
    images: Any,
    num_classes: int | None = 1001,
    depth_multiplier: float = 1.0,
    finegrain_classification_mode: bool = False,
    dropout_keep_prob: float = 0.8,
    spatial_squeeze: bool = True,
    output_stride: int | None = None,
) -> tuple[Any, EndPoints]:
    """MobileNet-EdgeTPU as TF-Slim has it: 4,092,713 parameters for 1,001 classes.

    Its first residuals have whole convolutions in place of depthwise ones, which that hardware
    does faster, and all activations are ReLU. Batch normalisation with a decay of .997, truncated
    normal weights of .09, no weight decay on depthwise weights. End points are TF-Slim's in name,
    order and value.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns the mean over positions, [batch, 1, 1, 1280]. The published
        checkpoints have 1,001, the first of which is the background.
      depth_multiplier: of the filters of all layers, which are multiples of 8.
      finegrain_classification_mode: keeps the 1280 filters of the last convolution.
      dropout_keep_prob: before the logits.
      spatial_squeeze: gives [batch, num_classes].
      output_stride: 8 or 16 for larger last maps; dilations take the place of strides.

    Returns:
      Logits and end points `layer_1` ... `layer_24`, `layer_2/output` ... `layer_23/output`,
      `global_pool`, `Logits`, `Predictions`.
    """

    def depth(filters: int) -> int:
        return divisible(filters * depth_multiplier)

    stack = InvertedResidualStack(images, output_stride)
    stack.add_convolution(depth(32), 3, 2, "relu")
    for row in RESIDUALS:
        for repetition in range(row.repetitions):
            stride = row.stride if repetition == 0 else 1
            arguments = (row.expansion, depth(row.filters), row.kernel_size, stride, "relu")
            if isinstance(row, Fused):
                stack.add_fused_residual(*arguments)
            else:
                stack.add_inverted_residual(*arguments, residual=row.residual)
    last = 1280 if finegrain_classification_mode else depth(1280)
    stack.add_convolution(last, 1, 1, "relu")
    stack.add_logits(num_classes, dropout_keep_prob, spatial_squeeze)
    return stack.net, stack.end_points


_register(name="mobilenet_edgetpu_075")(  # 2,989,441 parameters
    functools.partial(mobilenet_edgetpu, depth_multiplier=0.75, finegrain_classification_mode=True)
)
