"""TF-Slim's OverFeat.

Sources: Sermanet and others, "OverFeat: Integrated Recognition, Localization and Detection using
Convolutional Networks" (https://arxiv.org/abs/1312.6229), table 1, the fast model; TF-Slim,
`nets/overfeat.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.stacking import Stack, add_logits, convolution


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=231,
    minimum_image_size=231,
    preprocessing="vgg",
)
def overfeat(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """OverFeat's fast model as TF-Slim has it: 145,704,424 parameters for 1,000 classes.

    Fully connected layers are convolutions. End points are TF-Slim's in name, order and value.

    Args:
      images: float [batch, height, width, 3], mean subtracted, 231 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 231 to 262 pixels a side.
      global_pool: averages over positions before fc8, for any size.

    Returns:
      Logits and end points `overfeat/conv1` ... `overfeat/fc8`.
    """
    xavier = keras.initializers.GlorotUniform
    fc_normal = functools.partial(keras.initializers.TruncatedNormal, stddev=0.005)
    pool = functools.partial(keras.layers.MaxPooling2D, 2, 2)
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("overfeat", images)

    #                            filters kernel stride pad  groups  weights   bias
    stack.add(convolution("conv1", 64, 11, 4, "valid", 1, xavier(), 0))
    stack.add(pool(name="pool1"))
    stack.add(convolution("conv2", 256, 5, 1, "valid", 1, xavier(), 0))
    stack.add(pool(name="pool2"))
    stack.add(convolution("conv3", 512, 3, 1, "same", 1, xavier(), 0))
    stack.add(convolution("conv4", 1024, 3, 1, "same", 1, xavier(), 0))
    stack.add(convolution("conv5", 1024, 3, 1, "same", 1, xavier(), 0))
    stack.add(pool(name="pool5"))
    stack.add(convolution("fc6", 3072, 6, 1, "valid", 1, fc_normal(), 0.1))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, fc_normal(), 0.1))
    add_logits(
        stack, num_classes, dropout(name="dropout7"), fc_normal(), 0, spatial_squeeze, global_pool
    )
    return stack.net, stack.end_points
