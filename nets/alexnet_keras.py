"""The AlexNet that is copied from one Keras tutorial to the next."""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.stacking import Stack, add_logits, convolution


@register_network(
    first_layer="conv1",
    head="fc9",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=215,
    preprocessing="alexnet",
)
def alexnet_keras(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.6,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """The widely copied `Sequential` version: 29,038,480 parameters for 1,000 classes.

    It is not the paper's network, though it often bears its name. Its second layer has windows of
    11x11 where the paper has 5x5; nothing is padded, so that maps shrink to one position before
    the fully connected layers, which see 256 inputs instead of 9,216; pools do not overlap; there
    are no towers and no response normalisation; dropout drops .4; and behind the paper's last
    layer, here with a ReLU and dropout, stands another one for the classes. Initial values are
    Keras' own.

    Args:
      images: float [batch, height, width, 3], mean subtracted, 215 pixels or more a side.
      num_classes: None returns fc8 (or its mean over positions), [batch, 1, 1, 1000].
      dropout_keep_prob: after fc6, fc7 and fc8.
      spatial_squeeze: gives [batch, num_classes]; possible from 215 to 246 pixels a side.
      global_pool: averages over positions before fc9, for any size.

    Returns:
      Logits and end points `alexnet_keras/conv1` ... `alexnet_keras/fc9`.
    """
    xavier = keras.initializers.GlorotUniform
    pool = functools.partial(keras.layers.MaxPooling2D, 2, 2)
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("alexnet_keras", images)

    #                            filters kernel stride pad  groups  weights  bias
    stack.add(convolution("conv1", 96, 11, 4, "valid", 1, xavier(), 0))
    stack.add(pool(name="pool1"))
    stack.add(convolution("conv2", 256, 11, 1, "valid", 1, xavier(), 0))
    stack.add(pool(name="pool2"))
    stack.add(convolution("conv3", 384, 3, 1, "valid", 1, xavier(), 0))
    stack.add(convolution("conv4", 384, 3, 1, "valid", 1, xavier(), 0))
    stack.add(convolution("conv5", 256, 3, 1, "valid", 1, xavier(), 0))
    stack.add(pool(name="pool5"))
    stack.add(convolution("fc6", 4096, 1, 1, "valid", 1, xavier(), 0))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, xavier(), 0))
    stack.apply(dropout(name="dropout7"))
    stack.add(convolution("fc8", 1000, 1, 1, "valid", 1, xavier(), 0))
    dropout8 = dropout(name="dropout8")
    add_logits(stack, num_classes, dropout8, xavier(), 0, spatial_squeeze, global_pool, "fc9")
    return stack.net, stack.end_points
