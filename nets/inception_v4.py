"""TF-Slim's Inception v4.

Sources: Szegedy and others, "Inception-v4, Inception-ResNet and the Impact of Residual Connections
on Learning" (https://arxiv.org/abs/1602.07261), figures 3 to 9; TF-Slim, `nets/inception_v4.py`.
"""

from __future__ import annotations

from typing import Any

from nets.inception_parts import (
    HYPERPARAMETERS,
    Branch,
    Convolution,
    Fork,
    InceptionStack,
    Mixed,
    Pool,
    Row,
    add_flat_auxiliary_logits,
    add_flat_logits,
)
from nets.registry import EndPoints, register_network

# Figure 3.
STEM: list[Row] = [
    Convolution("Conv2d_1a_3x3", 32, 3, 2, "valid"),
    Convolution("Conv2d_2a_3x3", 32, 3, 1, "valid"),
    Convolution("Conv2d_2b_3x3", 64, 3),
    Mixed(
        "Mixed_3a",
        [
            [Pool("MaxPool_0a_3x3", 3, 2, "valid")],
            [Convolution("Conv2d_0a_3x3", 96, 3, 2, "valid")],
        ],
    ),
    Mixed(
        "Mixed_4a",
        [
            [
                Convolution("Conv2d_0a_1x1", 64, 1),
                Convolution("Conv2d_1a_3x3", 96, 3, 1, "valid"),
            ],
            [
                Convolution("Conv2d_0a_1x1", 64, 1),
                Convolution("Conv2d_0b_1x7", 64, (1, 7)),
                Convolution("Conv2d_0c_7x1", 64, (7, 1)),
                Convolution("Conv2d_1a_3x3", 96, 3, 1, "valid"),
            ],
        ],
    ),
    Mixed(
        "Mixed_5a",
        [
            [Convolution("Conv2d_1a_3x3", 192, 3, 2, "valid")],
            [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
        ],
    ),
]

# Figure 4, at 35x35 positions.
INCEPTION_A: list[Branch] = [
    [Convolution("Conv2d_0a_1x1", 96, 1)],
    [Convolution("Conv2d_0a_1x1", 64, 1), Convolution("Conv2d_0b_3x3", 96, 3)],
    [
        Convolution("Conv2d_0a_1x1", 64, 1),
        Convolution("Conv2d_0b_3x3", 96, 3),
        Convolution("Conv2d_0c_3x3", 96, 3),
    ],
    [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 96, 1)],
]

# Figure 7, with k = 192, l = 224, m = 256, n = 384.
REDUCTION_A: list[Branch] = [
    [Convolution("Conv2d_1a_3x3", 384, 3, 2, "valid")],
    [
        Convolution("Conv2d_0a_1x1", 192, 1),
        Convolution("Conv2d_0b_3x3", 224, 3),
        Convolution("Conv2d_1a_3x3", 256, 3, 2, "valid"),
    ],
    [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
]

# Figure 5, at 17x17 positions.
INCEPTION_B: list[Branch] = [
    [Convolution("Conv2d_0a_1x1", 384, 1)],
    [
        Convolution("Conv2d_0a_1x1", 192, 1),
        Convolution("Conv2d_0b_1x7", 224, (1, 7)),
        Convolution("Conv2d_0c_7x1", 256, (7, 1)),
    ],
    [
        Convolution("Conv2d_0a_1x1", 192, 1),
        Convolution("Conv2d_0b_7x1", 192, (7, 1)),
        Convolution("Conv2d_0c_1x7", 224, (1, 7)),
        Convolution("Conv2d_0d_7x1", 224, (7, 1)),
        Convolution("Conv2d_0e_1x7", 256, (1, 7)),
    ],
    [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 128, 1)],
]

# Figure 8.
REDUCTION_B: list[Branch] = [
    [
        Convolution("Conv2d_0a_1x1", 192, 1),
        Convolution("Conv2d_1a_3x3", 192, 3, 2, "valid"),
    ],
    [
        Convolution("Conv2d_0a_1x1", 256, 1),
        Convolution("Conv2d_0b_1x7", 256, (1, 7)),
        Convolution("Conv2d_0c_7x1", 320, (7, 1)),
        Convolution("Conv2d_1a_3x3", 320, 3, 2, "valid"),
    ],
    [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
]

# Figure 6, at 8x8 positions.
INCEPTION_C: list[Branch] = [
    [Convolution("Conv2d_0a_1x1", 256, 1)],
    [
        Convolution("Conv2d_0a_1x1", 384, 1),
        Fork(
            Convolution("Conv2d_0b_1x3", 256, (1, 3)),
            Convolution("Conv2d_0c_3x1", 256, (3, 1)),
        ),
    ],
    [
        Convolution("Conv2d_0a_1x1", 384, 1),
        Convolution("Conv2d_0b_3x1", 448, (3, 1)),
        Convolution("Conv2d_0c_1x3", 512, (1, 3)),
        Fork(
            Convolution("Conv2d_0d_1x3", 256, (1, 3)),
            Convolution("Conv2d_0e_3x1", 256, (3, 1)),
        ),
    ],
    [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 256, 1)],
]

# Figure 9.
ROWS: list[Row] = [
    *STEM,
    *[Mixed(f"Mixed_5{letter}", INCEPTION_A) for letter in "bcde"],
    Mixed("Mixed_6a", REDUCTION_A),
    *[Mixed(f"Mixed_6{letter}", INCEPTION_B) for letter in "bcdefgh"],
    Mixed("Mixed_7a", REDUCTION_B),
    *[Mixed(f"Mixed_7{letter}", INCEPTION_C) for letter in "bcd"],
]


@register_network(
    scope="InceptionV4",
    first_layer="Conv2d_1a_3x3",
    head=("Logits/Logits", "AuxLogits/Aux_logits"),
    default_image_size=299,
    minimum_image_size=75,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
)
def inception_v4(
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    create_aux_logits: bool = True,
) -> tuple[Any, EndPoints]:
    """Inception v4 as TF-Slim has it: deeper than v3, and its modules alike.

    Batch normalisation with a decay of .9997 and without gamma, weights of variance scaling, Xavier
    in the fully connected layers. End points are TF-Slim's in name, order and value. 46,009,106
    parameters for 1,001 classes.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 299 to 346 pixels a side; without
        auxiliary logits 75 or more.
      num_classes: None returns the mean over positions, [batch, 1, 1, 1536]. The published
        checkpoint has 1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      create_aux_logits: gives `AuxLogits` of Mixed_6h, in evaluation too.

    Returns:
      Logits and end points `Conv2d_1a_3x3` ... `Mixed_7d`, `AuxLogits`, `global_pool`,
      `PreLogitsFlatten`, `Logits`, `Predictions`.
    """
    stack = InceptionStack(images)
    stack.extend(ROWS)
    if create_aux_logits and num_classes is not None:
        add_flat_auxiliary_logits(stack, "Mixed_6h", "Conv2d_2a", "Aux_logits", num_classes)
    add_flat_logits(stack, num_classes, dropout_keep_prob)
    return stack.net, stack.end_points
