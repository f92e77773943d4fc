"""TF-Slim's Inception v1, GoogLeNet.

Sources: Szegedy and others, "Going deeper with convolutions" (https://arxiv.org/abs/1409.4842),
table 1; TF-Slim, `nets/inception_v1.py`.
"""

from __future__ import annotations

import functools
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


def _module(
    scope: str,
    one: int,
    three_reduce: int,
    three: int,
    five_reduce: int,
    five: int,
    pool_projection: int,
    five_scope: str = "Conv2d_0b_3x3",
) -> Mixed:
    """The columns #1x1 to `pool proj` of the paper's table; its 5x5 convolutions are 3x3 here."""
    return Mixed(
        scope,
        [
            [Convolution("Conv2d_0a_1x1", one, 1)],
            [Convolution("Conv2d_0a_1x1", three_reduce, 1), Convolution("Conv2d_0b_3x3", three, 3)],
            [Convolution("Conv2d_0a_1x1", five_reduce, 1), Convolution(five_scope, five, 3)],
            [Pool("MaxPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", pool_projection, 1)],
        ],
    )


ROWS: list[Row] = [
    Convolution("Conv2d_1a_7x7", 64, 7, 2),
    Pool("MaxPool_2a_3x3", 3, 2),
    Convolution("Conv2d_2b_1x1", 64, 1),
    Convolution("Conv2d_2c_3x3", 192, 3),
    Pool("MaxPool_3a_3x3", 3, 2),
    _module("Mixed_3b", 64, 96, 128, 16, 32, 32),
    _module("Mixed_3c", 128, 128, 192, 32, 96, 64),
    Pool("MaxPool_4a_3x3", 3, 2),
    _module("Mixed_4b", 192, 96, 208, 16, 48, 64),
    _module("Mixed_4c", 160, 112, 224, 24, 64, 64),
    _module("Mixed_4d", 128, 128, 256, 24, 64, 64),
    _module("Mixed_4e", 112, 144, 288, 32, 64, 64),
    _module("Mixed_4f", 256, 160, 320, 32, 128, 128),
    Pool("MaxPool_5a_2x2", 2, 2),
    # A slip of TF-Slim's that its checkpoints have.
    _module("Mixed_5b", 256, 160, 320, 32, 128, 128, five_scope="Conv2d_0a_3x3"),
    _module("Mixed_5c", 384, 192, 384, 48, 128, 128),
]


@register_network(
    scope="InceptionV1",
    first_layer="Conv2d_1a_7x7",
    head="Logits/Conv2d_0c_1x1",
    default_image_size=224,
    minimum_image_size=32,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
)
def inception_v1(
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """GoogLeNet as TF-Slim has it: batch normalisation for local response normalisation.

    It has no auxiliary logits, and 3x3 convolutions in place of 5x5 ones. Batch normalisation with
    a decay of .9997 and without gamma, truncated normal weights of .01 below the logits. End points
    are TF-Slim's in name, order and value. 6,618,649 parameters for 1,001 classes.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side.
      num_classes: None returns AvgPool_0a_7x7, [batch, 1, 1, 1024]. The published checkpoint has
        1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      spatial_squeeze: gives [batch, num_classes].
      global_pool: averages over all positions; otherwise over 7x7, or as many as a smaller image
        has, which TF-Slim refuses.

    Returns:
      Logits and end points `Conv2d_1a_7x7` ... `Mixed_5c`, `AvgPool_0a_7x7` or `global_pool`,
      `Logits`, `Predictions`.
    """
    stack = InceptionStack(images, weights=functools.partial(truncated_normal, 0.01))
    stack.extend(ROWS)
    average(stack, "AvgPool_0a_7x7", 7, global_pool, strides=1)
    if num_classes is not None:
        stack.apply(layers.Dropout(dropout_keep_prob, name="Logits.Dropout_0b"))
        add_logits(stack, "Logits/Conv2d_0c_1x1", num_classes, spatial_squeeze)
    return stack.net, stack.end_points
