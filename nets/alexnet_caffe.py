"""Caffe's two AlexNets, whose weights came to be the most used.

Sources: Caffe, `models/bvlc_alexnet` and `models/bvlc_reference_caffenet` (train_val.prototxt,
solver.prototxt, readme.md).
"""

from __future__ import annotations

import functools
from typing import Any

from nets import layers
from nets.alexnet_parts import max_pool
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization
from nets.stacking import Stack, add_logits, convolution, normal

# Caffe divides its alpha of .0001 by 5, the number of channels; its k is 1 where the paper has 2.
_norm = functools.partial(LocalResponseNormalization, 2, 1.0, 2e-5, 0.75)
_HYPERPARAMETERS = {"learning_rate_factors": ["*/biases=2"]}


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=227,
    minimum_image_size=227,
    preprocessing="caffe",
    hyperparameters=_HYPERPARAMETERS,
)
def bvlc_alexnet(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Caffe's replication of the 2012 paper: 60,965,224 parameters for 1,000 classes.

    `alexnet` with other constants: 227 pixels instead of three zeros at the edge, a response
    normalisation of k 1 and alpha 2e-5, biases of .1 where the paper has 1 ("gave flat loss"),
    standard deviations of .005 in fc6 and fc7, and today's dropout. It expects channels in the
    order B, G, R. Its weights reach 57.1% top-1 and 80.2% top-5 of the validation images' centres.

    Args:
      images: float [batch, height, width, 3], BGR, mean subtracted, 227 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 227 to 258 pixels a side.
      global_pool: averages over positions before fc8, for any size.

    Returns:
      Logits and end points `bvlc_alexnet/conv1` ... `bvlc_alexnet/fc8`.
    """
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("bvlc_alexnet", images)

    #                            filters kernel stride pad  groups std       bias
    stack.add(convolution("conv1", 96, 11, 4, "valid", 1, normal(0.01), 0))
    stack.add(_norm(name="norm1"))
    stack.add(max_pool(name="pool1"))
    stack.add(convolution("conv2", 256, 5, 1, "same", 2, normal(0.01), 0.1))
    stack.add(_norm(name="norm2"))
    stack.add(max_pool(name="pool2"))
    stack.add(convolution("conv3", 384, 3, 1, "same", 1, normal(0.01), 0))
    stack.add(convolution("conv4", 384, 3, 1, "same", 2, normal(0.01), 0.1))
    stack.add(convolution("conv5", 256, 3, 1, "same", 2, normal(0.01), 0.1))
    stack.add(max_pool(name="pool5"))
    stack.add(convolution("fc6", 4096, 6, 1, "valid", 1, normal(0.005), 0.1))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, normal(0.005), 0.1))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, normal(0.01), 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=227,
    minimum_image_size=227,
    preprocessing="caffe",
    hyperparameters=_HYPERPARAMETERS,
)
def caffenet(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Caffe's reference network ("CaffeNet"): 60,965,224 parameters for 1,000 classes.

    `bvlc_alexnet` with pooling before response normalisation, which halves the work of the latter,
    and biases of 1. Its weights reach 57.4% top-1 and 80.4% top-5 of the validation images'
    centres.

    Args:
      images: float [batch, height, width, 3], BGR, mean subtracted, 227 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 227 to 258 pixels a side.
      global_pool: averages over positions before fc8, for any size.

    Returns:
      Logits and end points `caffenet/conv1` ... `caffenet/fc8`.
    """
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack = Stack("caffenet", images)

    #                            filters kernel stride pad  groups std       bias
    stack.add(convolution("conv1", 96, 11, 4, "valid", 1, normal(0.01), 0))
    stack.add(max_pool(name="pool1"))
    stack.add(_norm(name="norm1"))
    stack.add(convolution("conv2", 256, 5, 1, "same", 2, normal(0.01), 1))
    stack.add(max_pool(name="pool2"))
    stack.add(_norm(name="norm2"))
    stack.add(convolution("conv3", 384, 3, 1, "same", 1, normal(0.01), 0))
    stack.add(convolution("conv4", 384, 3, 1, "same", 2, normal(0.01), 1))
    stack.add(convolution("conv5", 256, 3, 1, "same", 2, normal(0.01), 1))
    stack.add(max_pool(name="pool5"))
    stack.add(convolution("fc6", 4096, 6, 1, "valid", 1, normal(0.005), 1))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, normal(0.005), 1))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, normal(0.01), 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points
