"""AlexNet of 2012 as its paper describes it, and TF-Slim's `alexnet_v2`.

Sources: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012 (https://papers.nips.cc/paper/4824); Krizhevsky, "One weird trick for
parallelizing convolutional neural networks" (https://arxiv.org/abs/1404.5997); TF-Slim,
`nets/alexnet.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras

from nets import layers
from nets.alexnet_parts import left_out, max_pool, pooling
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization
from nets.stacking import Stack, add_logits, convolution, normal
from slimzoo_registry import unknown_name_message


class Initialization(NamedTuple):
    """Standard deviations of the weights, and the bias of the layers where the paper has 1."""

    conv1_2: float
    conv3_5: float
    fc6_7: float
    fc8: float
    bias: float


INITIALIZATIONS = {
    # Section 5 of the paper, to the letter.
    "paper": Initialization(0.01, 0.01, 0.01, 0.01, bias=1.0),
    # layers-145.cfg of the source that the Computer History Museum released.
    "released": Initialization(0.01, 0.03, 0.01, 0.01, bias=1.0),
    # Caffe's bvlc_alexnet, whose authors found that a bias of 1 "gave flat loss".
    "caffe": Initialization(0.01, 0.01, 0.005, 0.01, bias=0.1),
}


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=224,
    preprocessing="alexnet",
)
def alexnet(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    initialization: str = "caffe",
    activation: str = "relu",
    response_normalization: bool = True,
    pool_size: int = 3,
    without_layer: str | None = None,
) -> tuple[Any, EndPoints]:
    """The network of the 2012 paper: 60,965,224 parameters for 1,000 classes.

    Two towers (groups of 2) in conv2, conv4 and conv5; ReLU, response normalisation, overlapping
    pooling, in this order; the paper's dropout, which multiplies by `dropout_keep_prob` at test
    time. At 224 pixels conv1 reads three zeros past the bottom and right edge, which gives the
    paper's 55x55 map; 227 needs none. The released source differs from the paper in several
    places, and is another network, `alexnet_2012`. The last four options are the paper's ablations;
    keeping every activation is `dropout_keep_prob=1`, and colour noise is the preprocessing's.

    Args:
      images: float [batch, height, width, 3], mean subtracted, 224 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 224 to 255 pixels a side.
      global_pool: averages over positions before fc8, for any size.
      initialization: `paper` (standard deviation .01, bias 1: to the letter; on photos of flowers
        it trained with warmup, and without stayed at the majority class), `released` (.03 in
        conv3 to conv5, bias 1: learned those photos first) or `caffe` (.005 in fc6 and fc7, bias
        .1; docs/networks.md has the figures).
      activation: of all layers; the paper compares with `tanh` (section 3.1).
      response_normalization: False leaves both out (section 3.3).
      pool_size: of windows that move by 2; 2 does not overlap (section 3.4).
      without_layer: conv2, conv3, conv4, conv5, fc6 or fc7, left out (section 7).

    Returns:
      Logits and end points `alexnet/conv1` ... `alexnet/fc8`.

    Raises:
      ValueError: if `initialization` or `without_layer` is unknown.
    """
    if initialization not in INITIALIZATIONS:
        raise ValueError(unknown_name_message("initialization", initialization, INITIALIZATIONS))
    init = INITIALIZATIONS[initialization]
    one = init.bias
    conv = functools.partial(convolution, activation=activation)
    pool = pooling(pool_size)
    dropout = functools.partial(layers.Dropout, dropout_keep_prob, rescale_in_training=False)
    fc7_size = 6 if without_layer == "fc6" else 1
    stack = Stack("alexnet", images, without=left_out(without_layer, response_normalization))

    #                     filters kernel stride pad  groups  std           bias
    stack.apply(layers.PadToWholeStrides(11, 4, name="pad1"))
    stack.add(conv("conv1", 96, 11, 4, "valid", 1, normal(init.conv1_2), 0))
    stack.add(LocalResponseNormalization(name="norm1"))
    stack.add(pool(name="pool1"))
    stack.add(conv("conv2", 256, 5, 1, "same", 2, normal(init.conv1_2), one))
    stack.add(LocalResponseNormalization(name="norm2"))
    stack.add(pool(name="pool2"))
    stack.add(conv("conv3", 384, 3, 1, "same", 1, normal(init.conv3_5), 0))
    stack.add(conv("conv4", 384, 3, 1, "same", 2, normal(init.conv3_5), one))
    stack.add(conv("conv5", 256, 3, 1, "same", 2, normal(init.conv3_5), one))
    stack.add(pool(name="pool5"))
    stack.add(conv("fc6", 4096, 6, 1, "valid", 1, normal(init.fc6_7), one))
    stack.apply(dropout(name="dropout6"))
    stack.add(conv("fc7", 4096, fc7_size, 1, "valid", 1, normal(init.fc6_7), one))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, normal(init.fc8), 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=195,
    preprocessing="alexnet",
)
def alexnet_v2(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """TF-Slim's `alexnet_v2`: 50,303,912 parameters for 1,000 classes.

    The one-GPU network of "One weird trick" without response normalisation, 384 filters in conv4,
    conv1 unpadded (54x54 at 224 pixels), fully connected layers as convolutions, Xavier and
    truncated normal weights, biases of .1. End points are TF-Slim's in name, order and value.

    Args:
      images: float [batch, height, width, 3], 195 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7.
      spatial_squeeze: gives [batch, num_classes]; possible from 195 to 226 pixels a side.
      global_pool: averages over positions before fc8, for any size.

    Returns:
      Logits and end points `alexnet_v2/conv1` ... `alexnet_v2/fc8`.
    """
    xavier = keras.initializers.GlorotUniform
    fc_normal = functools.partial(keras.initializers.TruncatedNormal, stddev=0.005)
    stack = Stack("alexnet_v2", images)

    #                            filters kernel stride pad  groups  weights   bias
    stack.add(convolution("conv1", 64, 11, 4, "valid", 1, xavier(), 0.1))
    stack.add(max_pool(name="pool1"))
    stack.add(convolution("conv2", 192, 5, 1, "same", 1, xavier(), 0.1))
    stack.add(max_pool(name="pool2"))
    stack.add(convolution("conv3", 384, 3, 1, "same", 1, xavier(), 0.1))
    stack.add(convolution("conv4", 384, 3, 1, "same", 1, xavier(), 0.1))
    stack.add(convolution("conv5", 256, 3, 1, "same", 1, xavier(), 0.1))
    stack.add(max_pool(name="pool5"))
    dropout = functools.partial(layers.Dropout, dropout_keep_prob)
    stack.add(convolution("fc6", 4096, 5, 1, "valid", 1, fc_normal(), 0.1))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, fc_normal(), 0.1))
    add_logits(
        stack, num_classes, dropout(name="dropout7"), fc_normal(), 0, spatial_squeeze, global_pool
    )
    return stack.net, stack.end_points
