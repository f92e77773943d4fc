"""TF-Slim's Inception-ResNet v2.

Sources: Szegedy and others, "Inception-v4, Inception-ResNet and the Impact of Residual Connections
on Learning" (https://arxiv.org/abs/1602.07261), figures 15 to 19; TF-Slim,
`nets/inception_resnet_v2.py`, whose stem is Inception v3's and whose widths are its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from nets.activations import Activation
from nets.inception_parts import (
    HYPERPARAMETERS,
    Branch,
    Convolution,
    InceptionStack,
    Mixed,
    Pool,
    Row,
    add_flat_auxiliary_logits,
    add_flat_logits,
)
from nets.registry import EndPoints, register_network
from nets.scopes import layer_name

# To 35x35 positions.
STEM: list[Row] = [
    Convolution("Conv2d_1a_3x3", 32, 3, 2, "valid"),
    Convolution("Conv2d_2a_3x3", 32, 3, 1, "valid"),
    Convolution("Conv2d_2b_3x3", 64, 3),
    Pool("MaxPool_3a_3x3", 3, 2, "valid"),
    Convolution("Conv2d_3b_1x1", 80, 1),
    Convolution("Conv2d_4a_3x3", 192, 3, 1, "valid"),
    Pool("MaxPool_5a_3x3", 3, 2, "valid"),
    Mixed(
        "Mixed_5b",
        [
            [Convolution("Conv2d_1x1", 96, 1)],
            [Convolution("Conv2d_0a_1x1", 48, 1), Convolution("Conv2d_0b_5x5", 64, 5)],
            [
                Convolution("Conv2d_0a_1x1", 64, 1),
                Convolution("Conv2d_0b_3x3", 96, 3),
                Convolution("Conv2d_0c_3x3", 96, 3),
            ],
            [Pool("AvgPool_0a_3x3", 3), Convolution("Conv2d_0b_1x1", 64, 1)],
        ],
    ),
]

# Figure 16.
BLOCK_35: list[Branch] = [
    [Convolution("Conv2d_1x1", 32, 1)],
    [Convolution("Conv2d_0a_1x1", 32, 1), Convolution("Conv2d_0b_3x3", 32, 3)],
    [
        Convolution("Conv2d_0a_1x1", 32, 1),
        Convolution("Conv2d_0b_3x3", 48, 3),
        Convolution("Conv2d_0c_3x3", 64, 3),
    ],
]

# Figure 7, with k = l = 256, m = n = 384: from 35x35 to 17x17 positions.
REDUCTION_35 = Mixed(
    "Mixed_6a",
    [
        [Convolution("Conv2d_1a_3x3", 384, 3, 2, "valid")],
        [
            Convolution("Conv2d_0a_1x1", 256, 1),
            Convolution("Conv2d_0b_3x3", 256, 3),
            Convolution("Conv2d_1a_3x3", 384, 3, 2, "valid"),
        ],
        [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
    ],
)

# Figure 17.
BLOCK_17: list[Branch] = [
    [Convolution("Conv2d_1x1", 192, 1)],
    [
        Convolution("Conv2d_0a_1x1", 128, 1),
        Convolution("Conv2d_0b_1x7", 160, (1, 7)),
        Convolution("Conv2d_0c_7x1", 192, (7, 1)),
    ],
]

# Figure 18: from 17x17 to 8x8 positions.
REDUCTION_17 = Mixed(
    "Mixed_7a",
    [
        [
            Convolution("Conv2d_0a_1x1", 256, 1),
            Convolution("Conv2d_1a_3x3", 384, 3, 2, "valid"),
        ],
        [
            Convolution("Conv2d_0a_1x1", 256, 1),
            Convolution("Conv2d_1a_3x3", 288, 3, 2, "valid"),
        ],
        [
            Convolution("Conv2d_0a_1x1", 256, 1),
            Convolution("Conv2d_0b_3x3", 288, 3),
            Convolution("Conv2d_1a_3x3", 320, 3, 2, "valid"),
        ],
        [Pool("MaxPool_1a_3x3", 3, 2, "valid")],
    ],
)

# Figure 19.
BLOCK_8: list[Branch] = [
    [Convolution("Conv2d_1x1", 192, 1)],
    [
        Convolution("Conv2d_0a_1x1", 192, 1),
        Convolution("Conv2d_0b_1x3", 224, (1, 3)),
        Convolution("Conv2d_0c_3x1", 256, (3, 1)),
    ],
]


class Residuals(NamedTuple):
    """Blocks of one kind: their scope without the number, how many, and what scales them."""

    scope: str
    branches: list[Branch]
    repetitions: int
    scale: float


# Section 3.3 of the paper on the scale; figure 15.
BLOCKS_35 = Residuals("Repeat/block35", BLOCK_35, 10, 0.17)
BLOCKS_17 = Residuals("Repeat_1/block17", BLOCK_17, 20, 0.10)
BLOCKS_8 = Residuals("Repeat_2/block8", BLOCK_8, 9, 0.20)


@register_network(
    scope="InceptionResnetV2",
    first_layer="Conv2d_1a_3x3",
    head=("Logits/Logits", "AuxLogits/Logits"),
    default_image_size=299,
    minimum_image_size=75,
    preprocessing="inception",
    hyperparameters=HYPERPARAMETERS,
    decays_biases=True,
)
def inception_resnet_v2(
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.8,
    create_aux_logits: bool = True,
) -> tuple[Any, EndPoints]:
    """Inception-ResNet v2 as TF-Slim has it: Inception modules as residuals.

    Batch normalisation with a decay of .9997 and without gamma, Xavier weights; weight decay is on
    biases too. End points are TF-Slim's in name, order and value. 59,182,258 parameters for 1,001
    classes.

    Args:
      images: float [batch, height, width, 3], from -1 to 1, 299 to 346 pixels a side; without
        auxiliary logits 75 or more.
      num_classes: None returns the mean over positions, [batch, 1, 1, 1536]. The published
        checkpoint has 1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      create_aux_logits: gives `AuxLogits` of the last 17x17 map, in evaluation too.

    Returns:
      Logits and end points `Conv2d_1a_3x3` ... `Mixed_5b`, `Mixed_6a`, `PreAuxLogits`, `Mixed_7a`,
      `Conv2d_7b_1x1`, `AuxLogits`, `global_pool`, `PreLogitsFlatten`, `Logits`, `Predictions`.
    """
    stack = InceptionStack(images, weights=keras.initializers.GlorotUniform)
    stack.extend(STEM)
    _add_residuals(stack, BLOCKS_35)
    stack.extend([REDUCTION_35])
    _add_residuals(stack, BLOCKS_17)
    stack.mark("PreAuxLogits")
    stack.extend([REDUCTION_17])
    _add_residuals(stack, BLOCKS_8)
    _add_residual(stack, Mixed("Block8", BLOCK_8), scale=1.0)
    stack.extend([Convolution("Conv2d_7b_1x1", 1536, 1)])
    if create_aux_logits and num_classes is not None:
        add_flat_auxiliary_logits(stack, "PreAuxLogits", "Conv2d_2a_5x5", "Logits", num_classes)
    add_flat_logits(stack, num_classes, dropout_keep_prob)
    return stack.net, stack.end_points


def _add_residuals(stack: InceptionStack, blocks: Residuals) -> None:
    for number in range(1, blocks.repetitions + 1):
        block = Mixed(f"{blocks.scope}_{number}", blocks.branches)
        _add_residual(stack, block, blocks.scale)
        stack.apply(Activation("relu", name=layer_name(f"{block.scope}/relu")))


def _add_residual(stack: InceptionStack, block: Mixed, scale: float) -> None:
    """Adds what the branches and a linear convolution give, scaled down, to the inputs."""
    inputs = stack.net
    stack.add(block)
    stack.add_linear(f"{block.scope}/Conv2d_1x1", inputs.shape[-1])
    stack.apply(keras.layers.Rescaling(scale, name=layer_name(f"{block.scope}/scale")))
    stack.net = keras.layers.Add(name=layer_name(f"{block.scope}/add"))([inputs, stack.net])
