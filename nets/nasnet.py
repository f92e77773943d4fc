"""TF-Slim's NASNet-A networks: for CIFAR-10, for phones, and the large one.

Sources: Zoph and others, "Learning Transferable Architectures for Scalable Image Recognition"
(https://arxiv.org/abs/1707.07012), figure 4 and appendix A; TF-Slim, `nets/nasnet/nasnet.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

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

NORMAL = Cell(
    combinations=(
        Combination("separable 5x5", 0, "separable 3x3", 1),
        Combination("separable 5x5", 1, "separable 3x3", 1),
        Combination("average 3x3", 0, IDENTITY, 1),
        Combination("average 3x3", 1, "average 3x3", 1),
        Combination("separable 3x3", 0, IDENTITY, 0),
    ),
    outputs=(1, 2, 3, 4, 5, 6),
)
REDUCTION = Cell(
    combinations=(
        Combination("separable 5x5", 0, "separable 7x7", 1),
        Combination("maximum 3x3", 0, "separable 7x7", 1),
        Combination("average 3x3", 0, "separable 5x5", 1),
        Combination(IDENTITY, 3, "average 3x3", 2),
        Combination("separable 3x3", 2, "maximum 3x3", 0),
    ),
    outputs=(3, 4, 5, 6),
)


class Stem(NamedTuple):
    """What sees the images, and what follows from it.

    Attributes:
      is_of_imagenet: whether a stem of strides reads large images; CIFAR-10's has none.
      multiplier: of the first convolution's filters.
      skips_reductions: whether a cell after a reduction takes, beside the reduction's output, the
        one before the reduction's input; otherwise it takes that input.
      auxiliary_kernel: of the auxiliary head: the positions of a pooled image of default size.
      momentum: by which moving statistics keep what they were.
      epsilon: added to variances.
    """

    is_of_imagenet: bool
    multiplier: float
    skips_reductions: bool
    auxiliary_kernel: int
    momentum: float
    epsilon: float


CIFAR = Stem(False, 3.0, False, 4, 0.9, 1e-5)
MOBILE = Stem(True, 1.0, False, 4, 0.9997, 0.001)
LARGE = Stem(True, 3.0, True, 6, 0.9997, 0.001)


@on_symbolic_images
def nasnet(
    stem: Stem,
    images: Any,
    num_classes: int | None = 1001,
    dropout_keep_prob: float = 0.5,
    drop_path_keep_prob: float = 1.0,
    total_training_steps: int = 250_000,
    num_cells: int = 12,
    num_conv_filters: int = 44,
    use_aux_head: bool = True,
    is_training: bool = False,
) -> tuple[Any, EndPoints]:
    """NASNet-A as TF-Slim has it: normal cells in thirds, a reduction cell before two of them.

    Weights are scaled by their outputs (variance scaling). End points are TF-Slim's in name, order
    and value.

    Args:
      stem: what sees the images.
      images: float [batch, height, width, 3], from -1 to 1; 4 pixels or more a side for CIFAR-10's,
        32 for ImageNet's. With an auxiliary head, they are as large as the default or larger.
      num_classes: None returns the mean over positions, [batch, channels]. ImageNet's published
        checkpoints have 1,001, the first of which is the background.
      dropout_keep_prob: before the logits.
      drop_path_keep_prob: of paths of the last cell at the end of training.
      total_training_steps: after how many steps as many are dropped; they need to be known, see
        `drop_path.training_step`.
      num_cells: normal ones.
      num_conv_filters: of each state in the first third; twice as many in the next, and again.
      use_aux_head: whether a network that is built for training has auxiliary logits.
      is_training: whether it is.

    Returns:
      Logits and end points `Stem`, `Cell_0` ..., `Reduction_Cell_0` ..., `global_pool`, `Logits`,
      `Predictions`, and `AuxLogits` before the second reduction.
    """
    stack = CellStack(
        momentum=stem.momentum,
        epsilon=stem.epsilon,
        drop_path_keep_prob=drop_path_keep_prob,
        num_cells=num_cells + (4 if stem.is_of_imagenet else 2),
        total_training_steps=total_training_steps,
    )
    if stem.is_of_imagenet:
        add_imagenet_stem(stack, images, REDUCTION, stem.multiplier, num_conv_filters)
    else:
        first = int(num_conv_filters * stem.multiplier)
        stack.add_first(images, first, "l1_stem_3x3", "l1_stem_bn", 1, "same")
    stack.mark("Stem")
    reduced = reductions(num_cells)
    filters = num_conv_filters
    for number in range(num_cells):
        before = -2
        if number in reduced:
            filters *= 2
            reduction = reduced.index(number)
            stack.add_cell(REDUCTION, f"reduction_cell_{reduction}", filters, stride=2)
            stack.mark(f"Reduction_Cell_{reduction}")
            if stem.skips_reductions:
                before = -3
        stack.add_cell(NORMAL, f"cell_{number}", filters, before=before)
        stack.mark(f"Cell_{number}")
        if number == reduced[1] - 1 and is_training and use_aux_head and num_classes is not None:
            add_auxiliary_head(stack, f"aux_{number}", num_classes, stem.auxiliary_kernel)
    return add_last_layers(stack, num_classes, dropout_keep_prob)


_register = functools.partial(
    register_network,
    scope="",
    head="final_layer/FC",
    auxiliary_head="aux_*/aux_logits/FC",
    preprocessing="inception",
)
_register(  # 3,346,538 parameters for 10 classes
    name="nasnet_cifar",
    first_layer="l1_stem_3x3",
    default_image_size=32,
    minimum_image_size=4,
    hyperparameters={"weight_decay": 5e-4},
)(
    functools.partial(
        nasnet,
        CIFAR,
        num_classes=10,
        dropout_keep_prob=1.0,
        drop_path_keep_prob=0.6,
        total_training_steps=937_500,  # 600 epochs in batches of 32
        num_cells=18,
        num_conv_filters=32,
    )
)
_register(  # 5,291,035 parameters for 1,001 classes
    name="nasnet_mobile",
    first_layer="conv0",
    default_image_size=224,
    minimum_image_size=32,
    hyperparameters={"weight_decay": 4e-5},
)(functools.partial(nasnet, MOBILE))
_register(  # 88,757,183
    name="nasnet_large",
    first_layer="conv0",
    default_image_size=331,
    minimum_image_size=32,
    hyperparameters={"weight_decay": 5e-5},
)(functools.partial(nasnet, LARGE, drop_path_keep_prob=0.7, num_cells=18, num_conv_filters=168))
