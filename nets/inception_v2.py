"""TF-Slim's Inception v2, BN-Inception.

Sources: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift" (https://arxiv.org/abs/1502.03167), figure 5; TF-Slim,
`nets/inception_v2.py`.
"""

from __future__ import annotations

from typing import Any

from nets import layers
from nets.inception_parts import (
    HYPERPARAMETERS,
    Convolution,
    InceptionStack,
    Mixed,
    Pool,
    Row,
    add_logits,
    average,
    truncated_normal,
)
from nets.registry import EndPoints, register_network
from nets.separable import SeparableConv2D


def _reduce(filters: int) -> Convolution:
    return Convolution("Conv2d_0a_1x1", filters, 1, stddev=0.09)


def _module(
    scope: str,
    one: int,
    three_reduce: int,
    three: int,
    double_reduce: int,
    double: int,
    pool_projection: int,
    pool: str = "AvgPool_0a_3x3",
) -> Mixed:
    """The columns #1x1 to `pool + proj` of the paper's table."""
    return Mixed(
        scope,
        [
            [Convolution("Conv2d_0a_1x1", one, 1)],
            [_reduce(three_reduce), Convolution("Conv2d_0b_3x3", three, 3)],
            [
                _reduce(double_reduce),
                Convolution("Conv2d_0b_3x3", double, 3),
                Convolution("Conv2d_0c_3x3", double, 3),
            ],
            [Pool(pool, 3), Convolution("Conv2d_0b_1x1", pool_projection, 1, stddev=0.1)],
        ],
    )


def _reduction(scope: str, three_reduce: int, three: int, double_reduce: int, double: int) -> Mixed:
    """The table's rows in strides of 2, which pass their inputs through a pool."""
    return Mixed(
        scope,
        [
            [_reduce(three_reduce), Convolution("Conv2d_1a_3x3", three, 3, 2)],
            [
                _reduce(double_reduce),
                Convolution("Conv2d_0b_3x3", double, 3),
                Convolution("Conv2d_1a_3x3", double, 3, 2),
            ],
            [Pool("MaxPool_1a_3x3", 3, 2)],
        ],
    )


# After Conv2d_1a_7x7, which gives 64 channels in strides of 2.
ROWS: list[Row] = [
    Pool("MaxPool_2a_3x3", 3, 2),
    Convolution("Conv2d_2b_1x1", 64, 1, stddev=0.1),
    Convolution("Conv2d_2c_3x3", 192, 3),
    Pool("MaxPool_3a_3x3", 3, 2),
    _module("Mixed_3b", 64, 64, 64, 64, 96, 32),
    _module("Mixed_3c", 64, 64, 96, 64, 96, 64),
    _reduction("Mixed_4a", 128, 160, 64, 96),
    _module("Mixed_4b", 224, 64, 96, 96, 128, 128),
    _module("Mixed_4c", 192, 96, 128, 96, 128, 128),
    _module("Mixed_4d", 160, 128, 160, 128, 160, 96),
    _module("Mixed_4e", 96, 128, 192, 160, 192, 96),
    _reduction("Mixed_5a", 128, 192, 192, 256),
    _module("Mixed_5b", 352, 192, 320, 160, 224, 128),
    _module("Mixed_5c", 352, 192, 320, 192, 224, 128, pool="MaxPool_0a_3x3"),
]


@register_network(
    scope="InceptionV2",
    first_layer="Conv2d_1a_7x7",
    head="Logits/Conv2d_1c_1x1",
    default_image_size=224,
    minimum_image_size=32,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
)
def inception_v2(
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    use_separable_conv: bool = True,
) -> tuple[Any, EndPoints]:
    """BN-Inception as TF-Slim has it: two 3x3 convolutions where GoogLeNet has one of 5x5.

    The first convolution is separable, with biases in place of batch normalisation, and its weights
    do not decay. Batch normalisation with a decay of .9997 and without gamma elsewhere. Weights are
    truncated normal: of 1.0 in the first convolution, of .09 where a branch narrows, of .1 after
    its pools, of variance scaling in the others. End points are TF-Slim's in name, order and
    value. 11,179,361 parameters for 1,001 classes.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns AvgPool_1a, [batch, 1, 1, channels]. The published checkpoint has
        1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      min_depth: the least number of filters.
      depth_multiplier: of the filters of all layers.
      spatial_squeeze: gives [batch, num_classes].
      global_pool: averages over all positions; otherwise over 7x7, or as many as a smaller image
        has.
      use_separable_conv: False makes the first convolution like the others.

    Returns:
      Logits and end points `Conv2d_1a_7x7` ... `Mixed_5c`, `AvgPool_1a` or `global_pool`,
      `PreLogits`, `Logits`, `Predictions`.

    Raises:
      ValueError: if `depth_multiplier` is not positive.
    """
    stack = InceptionStack(images, depth_multiplier=depth_multiplier, min_depth=min_depth)
    if use_separable_conv:
        filters = stack.depth(64)
        stack.apply(
            SeparableConv2D(
                filters,
                7,
                2,
                "same",
                # Not more channels between than there are at last.
                depth_multiplier=min(filters // 3, 8),
                activation="relu",
                depthwise_initializer=truncated_normal(1.0),
                pointwise_initializer=truncated_normal(1.0),
                decays=False,  # out of reach of TF-Slim's argument scope
                name="Conv2d_1a_7x7",
            )
        )
        stack.mark("Conv2d_1a_7x7")
    else:
        stack.extend([Convolution("Conv2d_1a_7x7", 64, 7, 2, stddev=1.0)])
    stack.extend(ROWS)
    average(stack, "AvgPool_1a", 7, global_pool)
    if num_classes is not None:
        stack.apply(layers.Dropout(dropout_keep_prob, name="Logits.Dropout_1b"))
        stack.mark("PreLogits")
        add_logits(stack, "Logits/Conv2d_1c_1x1", num_classes, spatial_squeeze)
    return stack.net, stack.end_points
