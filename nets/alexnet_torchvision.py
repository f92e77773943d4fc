"""PyTorch's `torchvision.models.alexnet`.

Source: torchvision, `models/alexnet.py` and the transforms of its weights
`AlexNet_Weights.IMAGENET1K_V1`; PyTorch's reference script for the weight decay.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.alexnet_parts import max_pool
from nets.registry import EndPoints, register_network
from nets.stacking import Stack, add_logits, convolution


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=63,
    preprocessing="torchvision",
    hyperparameters={"weight_decay": 1e-4},  # references/classification/train.py
)
def alexnet_torchvision(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Torchvision's `alexnet`: 61,100,840 parameters for 1,000 classes.

    `alexnet_owt` without response normalisation, and with two rows and columns of zeros on every
    side of the image, a pool that gives 6x6 positions from images of any size, and dropout before
    fc6 and fc7 instead of after. Its weights reach 56.522% top-1 and 79.066% top-5 of the
    validation images' centres.

    Args:
      images: float [batch, height, width, 3], scaled to 0 to 1, less the mean, over the deviation;
        63 pixels or more a side.
      num_classes: None returns fc7, [batch, 1, 1, 4096].
      dropout_keep_prob: before fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible for any size.
      global_pool: changes nothing but end points: there is one position.

    Returns:
      Logits and end points `alexnet_torchvision/conv1` ... `alexnet_torchvision/fc8`.
    """
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("alexnet_torchvision", images)

    def conv(
        name: str, filters: int, kernel_size: int, stride: int, padding: str, inputs: int
    ) -> layers.Conv2D:
        weights = _uniform(inputs * kernel_size**2)
        bias = _uniform(inputs * kernel_size**2)
        return convolution(name, filters, kernel_size, stride, padding, 1, weights, bias)

    #              filters kernel stride pad  inputs
    stack.apply(keras.layers.ZeroPadding2D(2, name="pad1"))
    stack.add(conv("conv1", 64, 11, 4, "valid", 3))
    stack.add(max_pool(name="pool1"))
    stack.add(conv("conv2", 192, 5, 1, "same", 64))
    stack.add(max_pool(name="pool2"))
    stack.add(conv("conv3", 384, 3, 1, "same", 192))
    stack.add(conv("conv4", 256, 3, 1, "same", 384))
    stack.add(conv("conv5", 256, 3, 1, "same", 256))
    stack.add(max_pool(name="pool5"))
    stack.add(layers.AdaptiveAveragePooling2D(6, name="avgpool"))
    stack.apply(dropout(name="dropout5"))
    stack.add(conv("fc6", 4096, 6, 1, "valid", 256))
    stack.apply(dropout(name="dropout6"))
    stack.add(conv("fc7", 4096, 1, 1, "valid", 4096))
    fc8 = _uniform(4096)
    add_logits(stack, num_classes, None, fc8, _uniform(4096), spatial_squeeze, global_pool)
    return stack.net, stack.end_points


def _uniform(inputs: int) -> keras.initializers.Initializer:
    """PyTorch's default for weights and biases: uniform within 1 / sqrt(inputs of a unit)."""
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5)
