"""TF-Slim's PNASNet-5 networks: for phones, and the large one.

Sources: Liu and others, "Progressive Neural Architecture Search"
(https://arxiv.org/abs/1712.00559), figure 1; TF-Slim, `nets/nasnet/pnasnet.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from nets.nasnet_parts import (
    IDENTITY,
    Cell,
    CellStack,
    Combination,
    add_auxiliary_head,
    add_imagenet_stem,
    add_last_layers,
    reductions,
)
from nets.registry import EndPoints, on_symbolic_images, register_network

# The one kind of cell; in strides of 2, it reduces.
CELL = Cell(
    combinations=(
        Combination("separable 5x5", 1, "maximum 3x3", 1),
        Combination("separable 7x7", 0, "maximum 3x3", 0),
        Combination("separable 5x5", 0, "separable 3x3", 0),
        Combination("separable 3x3", 4, "maximum 3x3", 0),
        Combination("separable 3x3", 1, IDENTITY, 0),
    ),
    outputs=(2, 3, 4, 5, 6),
)


@on_symbolic_images
def pnasnet(
    stem_multiplier: float,
    auxiliary_kernel: int,
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.5,
    drop_path_keep_prob: float = 1.0,
    total_training_steps: int = 250_000,
    num_cells: int = 9,
    num_conv_filters: int = 54,
    use_aux_head: bool = True,
    is_training: bool = False,
) -> tuple[Any, EndPoints]:
    """PNASNet-5 as TF-Slim has it: one kind of cell, which reduces where a third begins.

    Weights are scaled by their outputs (variance scaling), batch normalisation has a decay of
    .9997. End points are TF-Slim's in name, order and value.

    Args:
      stem_multiplier: of the first convolution's filters.
      auxiliary_kernel: of the auxiliary head: the positions of a pooled image of default size.
      images: float [batch, height, width, 3], from -1 to 1, 32 pixels or more a side. With an
        auxiliary head, they are as large as the default or larger.
      num_classes: None returns the mean over positions, [batch, channels]. The published
        checkpoints have 1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      drop_path_keep_prob: of paths of the last cell at the end of training.
      total_training_steps: after how many steps as many are dropped; they need to be known, see
        `drop_path.training_step`.
      num_cells: without the two of the stem.
      num_conv_filters: of each state in the first third; twice as many in the next, and again.
      use_aux_head: whether a network that is built for training has auxiliary logits.
      is_training: whether it is.

    Returns:
      Logits and end points `Stem`, `Cell_0` ..., `global_pool`, `Logits`, `Predictions`, and
      `AuxLogits` before the last third.
    """
    stack = CellStack(
        momentum=0.9997,
        epsilon=0.001,
        drop_path_keep_prob=drop_path_keep_prob,
        num_cells=num_cells + 2,
        total_training_steps=total_training_steps,
    )
    add_imagenet_stem(stack, images, CELL, stem_multiplier, num_conv_filters)
    stack.mark("Stem")
    reduced = reductions(num_cells)
    filters = num_conv_filters
    for number in range(num_cells):
        reduces = number in reduced
        filters *= 2 if reduces else 1
        stack.add_cell(CELL, f"cell_{number}", filters, stride=2 if reduces else 1)
        stack.mark(f"Cell_{number}")
        if number == reduced[1] - 1 and is_training and use_aux_head and num_classes is not None:
            add_auxiliary_head(stack, f"aux_{number}", num_classes, auxiliary_kernel)
    return add_last_layers(stack, num_classes, dropout_keep_prob)


_register = functools.partial(
    register_network,
    scope="",
    first_layer="conv0",
    head="final_layer/FC",
    auxiliary_head="aux_*/aux_logits/FC",
    minimum_image_size=32,
    preprocessing="inception",
    hyperparameters={"weight_decay": 4e-5},
)
# 5,065,568 parameters for 1,001 classes
_register(name="pnasnet_mobile", default_image_size=224)(functools.partial(pnasnet, 1.0, 4))
_register(name="pnasnet_large", default_image_size=331)(  # 86,061,989
    functools.partial(pnasnet, 3.0, 6, drop_path_keep_prob=0.6, num_cells=12, num_conv_filters=216)
)
