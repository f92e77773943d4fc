"""TF-Slim's Inception v3.

Sources: Szegedy and others, "Rethinking the Inception Architecture for Computer Vision"
(https://arxiv.org/abs/1512.00567), table 1 and figures 5 to 7 and 10; TF-Slim,
`nets/inception_v3.py`.
"""

from __future__ import annotations

from typing import Any

from nets import layers
from nets.inception_parts import (
    HYPERPARAMETERS,
    Convolution,
    Fork,
    InceptionStack,
    Mixed,
    Pool,
    Row,
    add_logits,
    average,
    start_auxiliary_logits,
)
from nets.registry import EndPoints, register_network


def _module_35(
    scope: str,
    pool_projection: int,
    five: tuple[str, str] = ("Conv2d_0a_1x1", "Conv2d_0b_5x5"),
) -> Mixed:
    """Figure 5, of which one branch keeps its 5x5 convolution."""
    return Mixed(
        scope,
        [
            [Convolution("Conv2d_0a_1x1", 64, 1)],
            [Convolution(five[0], 48, 1), Convolution(five[1], 64, 5)],
            [
                Convolution("Conv2d_0a_1x1", 64, 1),
                Convolution("Conv2d_0b_3x3", 96, 3),
                Convolution("Conv2d_0c_3x3", 96, 3),
            ],
            [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", pool_projection, 1)],
        ],
    )


def _module_17(scope: str, narrow: int) -> Mixed:
    """Figure 6 with n = 7, `narrow` channels inside its branches."""
    return Mixed(
        scope,
        [
            [Convolution("Conv2d_0a_1x1", 192, 1)],
            [
                Convolution("Conv2d_0a_1x1", narrow, 1),
                Convolution("Conv2d_0b_1x7", narrow, (1, 7)),
                Convolution("Conv2d_0c_7x1", 192, (7, 1)),
            ],
            [
                Convolution("Conv2d_0a_1x1", narrow, 1),
                Convolution("Conv2d_0b_7x1", narrow, (7, 1)),
                Convolution("Conv2d_0c_1x7", narrow, (1, 7)),
                Convolution("Conv2d_0d_7x1", narrow, (7, 1)),
                Convolution("Conv2d_0e_1x7", 192, (1, 7)),
            ],
            [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 192, 1)],
        ],
    )


def _module_8(scope: str, right: str) -> Mixed:
    """Figure 7, whose branches fork at their ends."""
    return Mixed(
        scope,
        [
            [Convolution("Conv2d_0a_1x1", 320, 1)],
            [
                Convolution("Conv2d_0a_1x1", 384, 1),
                Fork(
                    Convolution("Conv2d_0b_1x3", 384, (1, 3)),
                    Convolution(right, 384, (3, 1)),
                ),
            ],
            [
                Convolution("Conv2d_0a_1x1", 448, 1),
                Convolution("Conv2d_0b_3x3", 384, 3),
                Fork(
                    Convolution("Conv2d_0c_1x3", 384, (1, 3)),
                    Convolution("Conv2d_0d_3x1", 384, (3, 1)),
                ),
            ],
            [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 192, 1)],
        ],
    )


# Figure 10, from 35x35 to 17x17 positions; 3x3 convolutions are called 1x1 by TF-Slim.
REDUCTION_35 = Mixed(
    "Mixed_6a",
    [
        [Convolution("Conv2d_1a_1x1", 384, 3, 2, "valid")],
        [
            Convolution("Conv2d_0a_1x1", 64, 1),
            Convolution("Conv2d_0b_3x3", 96, 3),
            Convolution("Conv2d_1a_1x1", 96, 3, 2, "valid"),
        ],
        [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
    ],
)

# From 17x17 to 8x8 positions.
REDUCTION_17 = Mixed(
    "Mixed_7a",
    [
        [
            Convolution("Conv2d_0a_1x1", 192, 1),
            Convolution("Conv2d_1a_3x3", 320, 3, 2, "valid"),
        ],
        [
            Convolution("Conv2d_0a_1x1", 192, 1),
            Convolution("Conv2d_0b_1x7", 192, (1, 7)),
            Convolution("Conv2d_0c_7x1", 192, (7, 1)),
            Convolution("Conv2d_1a_3x3", 192, 3, 2, "valid"),
        ],
        [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
    ],
)

ROWS: list[Row] = [
    Convolution("Conv2d_1a_3x3", 32, 3, 2, "valid"),
    Convolution("Conv2d_2a_3x3", 32, 3, 1, "valid"),
    Convolution("Conv2d_2b_3x3", 64, 3),
    Pool("MaxPool_3a_3x3", 3, 2, "valid"),
    Convolution("Conv2d_3b_1x1", 80, 1),
    Convolution("Conv2d_4a_3x3", 192, 3, 1, "valid"),
    Pool("MaxPool_5a_3x3", 3, 2, "valid"),
    _module_35("Mixed_5b", 32),
    # Slips of TF-Slim's names are in its checkpoints.
    _module_35("Mixed_5c", 64, five=("Conv2d_0b_1x1", "Conv_1_0c_5x5")),
    _module_35("Mixed_5d", 64),
    REDUCTION_35,
    _module_17("Mixed_6b", 128),
    _module_17("Mixed_6c", 160),
    _module_17("Mixed_6d", 160),
    _module_17("Mixed_6e", 192),
    REDUCTION_17,
    _module_8("Mixed_7b", right="Conv2d_0b_3x1"),
    _module_8("Mixed_7c", right="Conv2d_0c_3x1"),
]


@register_network(
    scope="InceptionV3",
    first_layer="Conv2d_1a_3x3",
    head=("Logits/Conv2d_1c_1x1", "AuxLogits/Conv2d_2b_1x1"),
    default_image_size=299,
    minimum_image_size=75,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
)
def inception_v3(
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    min_depth: int = 16,
    depth_multiplier: float = 1.0,
    spatial_squeeze: bool = True,
    create_aux_logits: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Inception v3 as TF-Slim has it: 7x7 convolutions in two, of 1x7 and 7x1.

    Batch normalisation with a decay of .9997 and without gamma, weights of variance scaling, at the
    end of the auxiliary logits truncated normal ones of .01 and .001. End points are TF-Slim's in
    name, order and value. 27,145,970 parameters for 1,001 classes.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 299 to 346 pixels a side; without
        auxiliary logits 75 or more.
      num_classes: None returns AvgPool_1a, [batch, 1, 1, channels]. The published checkpoint has
        1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      min_depth: the least number of filters.
      depth_multiplier: of the filters of all layers.
      spatial_squeeze: gives [batch, num_classes].
      create_aux_logits: gives `AuxLogits` of Mixed_6e, in evaluation too.
      global_pool: averages over all positions; otherwise over 8x8, or as many as a smaller image
        has.

    Returns:
      Logits and end points `Conv2d_1a_3x3` ... `Mixed_7c`, `AuxLogits`, `AvgPool_1a` or
      `global_pool`, `PreLogits`, `Logits`, `Predictions`.

    Raises:
      ValueError: if `depth_multiplier` is not positive.
    """
    stack = InceptionStack(images, depth_multiplier=depth_multiplier, min_depth=min_depth)
    stack.extend(ROWS)
    if create_aux_logits and num_classes is not None:
        trunk = stack.net
        start_auxiliary_logits(stack, "Mixed_6e", "Conv2d_2a_5x5", stddev=0.01)
        stack.add_linear("AuxLogits/Conv2d_2b_1x1", num_classes, stddev=0.001)
        if spatial_squeeze:
            stack.apply(layers.SpatialSqueeze(name="AuxLogits.SpatialSqueeze"))
        stack.mark("AuxLogits")
        stack.net = trunk
    average(stack, "AvgPool_1a", 8, global_pool)
    if num_classes is not None:
        stack.apply(layers.Dropout(dropout_keep_prob, name="Logits.Dropout_1b"))
        stack.mark("PreLogits")
        add_logits(stack, "Logits/Conv2d_1c_1x1", num_classes, spatial_squeeze)
    return stack.net, stack.end_points
