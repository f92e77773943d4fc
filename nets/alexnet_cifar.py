"""AlexNet's layers on the 32x32 images of CIFAR."""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.alexnet_parts import left_out
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization
from nets.stacking import Stack, add_logits, convolution


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=32,
    minimum_image_size=31,
    preprocessing="cifar",
)
def alexnet_cifar(
    images: Any,
    num_classes: int | None = 10,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    response_normalization: bool = True,
) -> tuple[Any, EndPoints]:
    """AlexNet for CIFAR-10 and CIFAR-100: 25,336,970 parameters for 10 classes.

    Filters of the 2012 network, 96, 256, 384, 384 and 256, with a first layer of 7x7 in strides
    of 2 and a second of 7x7. As one often sees it written, with VALID padding and pools of 2x2, the
    second layer has no room: its window is 7x7 and its input 6x6. Here all convolutions are padded
    (maps of 16, 8, 4 and 2); pools do not overlap, as a window of 3 would be most of such maps; and
    there is one tower. Initial values are Glorot's, as pixels are standardised.

    Args:
      images: float [batch, height, width, 3], standardised, 31 pixels or more a side.
      num_classes: 10 or 100 for CIFAR; None returns fc7 (or its mean over positions).
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 31 to 46 pixels a side.
      global_pool: averages over positions before fc8, for any size.
      response_normalization: False leaves both out.

    Returns:
      Logits and end points `alexnet_cifar/conv1` ... `alexnet_cifar/fc8`.
    """
    xavier = keras.initializers.GlorotUniform
    pool = functools.partial(keras.layers.MaxPooling2D, 2, 2)
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("alexnet_cifar", images, without=left_out(None, response_normalization))

    #                            filters kernel stride pad  groups weights  bias
    stack.add(convolution("conv1", 96, 7, 2, "same", 1, xavier(), 0))
    stack.add(LocalResponseNormalization(name="norm1"))
    stack.add(pool(name="pool1"))
    stack.add(convolution("conv2", 256, 7, 1, "same", 1, xavier(), 0))
    stack.add(LocalResponseNormalization(name="norm2"))
    stack.add(pool(name="pool2"))
    stack.add(convolution("conv3", 384, 3, 1, "same", 1, xavier(), 0))
    stack.add(convolution("conv4", 384, 3, 1, "same", 1, xavier(), 0))
    stack.add(convolution("conv5", 256, 3, 1, "same", 1, xavier(), 0))
    stack.add(pool(name="pool5"))
    stack.add(convolution("fc6", 4096, 2, 1, "valid", 1, xavier(), 0))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, xavier(), 0))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, xavier(), 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points
