"""TF-Slim's VGG networks: `vgg_a`, `vgg_16` and `vgg_19`.

Sources: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
(https://arxiv.org/abs/1409.1556), table 1, configurations A, D and E; TF-Slim, `nets/vgg.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, on_symbolic_images, register_network
from nets.stacking import Stack, add_logits, convolution

# Convolutions in each of the five blocks, whose filters are 64 to 512.
CONFIGURATIONS = {
    "vgg_a": (1, 1, 2, 2, 2),  # 132,863,336 parameters for 1,000 classes
    "vgg_16": (2, 2, 3, 3, 3),  # 138,357,544
    "vgg_19": (2, 2, 4, 4, 4),  # 143,667,240
}
_FILTERS = (64, 128, 256, 512, 512)


@on_symbolic_images
def vgg(
    name: str,
    depths: Sequence[int],
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    fc_conv_padding: str = "valid",
) -> tuple[Any, EndPoints]:
    """VGG as TF-Slim has it: very deep, of 3x3 convolutions alone.

    Fully connected layers are convolutions; Xavier weights, biases of 0. End points are TF-Slim's
    in name, order and value.

    Args:
      name: of the network; its scope.
      depths: convolutions in each of the five blocks.
      images: float [batch, height, width, 3], mean subtracted, 224 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 224 to 255 pixels a side.
      global_pool: averages over positions before fc8, for any size.
      fc_conv_padding: of fc6, `valid` or `same`; `same` keeps a map of the size of pool5's.

    Returns:
      Logits and end points `vgg_16/conv1/conv1_1` ... `vgg_16/fc8`.
    """
    stack = Stack(name, images)
    for block, (depth, filters) in enumerate(zip(depths, _FILTERS, strict=True), start=1):
        for number in range(1, depth + 1):
            stack.add(_convolution(f"conv{block}/conv{block}_{number}", filters, 3, "same"))
        stack.add(keras.layers.MaxPooling2D(2, 2, name=f"pool{block}"))
    stack.add(_convolution("fc6", 4096, 7, fc_conv_padding.lower()))
    stack.apply(layers.Dropout(dropout_keep_prob, name="dropout6"))
    stack.add(_convolution("fc7", 4096, 1, "same"))
    dropout7 = layers.Dropout(dropout_keep_prob, name="dropout7")
    xavier = keras.initializers.GlorotUniform()
    add_logits(stack, num_classes, dropout7, xavier, 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


def _convolution(name: str, filters: int, kernel_size: int, padding: str) -> keras.layers.Layer:
    xavier = keras.initializers.GlorotUniform()
    return convolution(name, filters, kernel_size, 1, padding, 1, xavier, 0)


for _name, _depths in CONFIGURATIONS.items():
    register_network(
        name=_name,
        first_layer="conv1/conv1_1",
        head="fc8",
        convolutions_end="pool5",
        default_image_size=224,
        minimum_image_size=224,
        preprocessing="vgg",
    )(functools.partial(vgg, _name, _depths))
