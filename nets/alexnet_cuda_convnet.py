"""The AlexNets that their author's own programs trained: the network of 2012, and that of 2014.

Sources: the code that the Computer History Museum released (`layers/layers-145.cfg`,
`layers-145-half.cfg` and their `layer-params`, `layer.py`, `convdata_jpeg.py`), whose logs hold the
2012 paper's results digit for digit; cuda-convnet2, `layers/layers-imagenet-1gpu.cfg` and
`layer-params-imagenet-1gpu.cfg`.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.alexnet_parts import left_out, max_pool, pooling
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization, SpatialResponseNormalization
from nets.stacking import Stack, add_logits, convolution, normal

# cuda-convnet's scale is .0001 for the sum of 5 channels, and for that of 5x5 positions .001.
_cross_channel_norm = functools.partial(LocalResponseNormalization, 2, 2.0, 2e-5, 0.75)
_spatial_norm = functools.partial(SpatialResponseNormalization, window=5, alpha=4e-5)


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=224,
    preprocessing="alexnet_2012",
    hyperparameters={"learning_rate_factors": ["*/biases=2"]},
)
def alexnet_2012(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    towers: int = 2,
    activation: str = "relu",
    response_normalization: bool = True,
    pool_size: int = 3,
    without_layer: str | None = None,
) -> tuple[Any, EndPoints]:
    """The network of 2012 as it was trained: 60,965,224 parameters for 1,000 classes.

    It differs from what the paper says, which is `alexnet`: conv1 is linear, and its response
    normalisation and pooling come before the ReLU; response normalisation is within each tower,
    with an alpha of 2e-5; after conv2's comes another over 5x5 positions of one channel; standard
    deviations of .03 in conv3 to conv5. Biases were trained at twice the rate. Its schedule is
    recipes/alexnet_2012_imagenet2012.flags.

    Args:
      images: float [batch, height, width, 3], mean subtracted, 224 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7; multiplies there at test time.
      spatial_squeeze: gives [batch, num_classes]; possible from 224 to 255 pixels a side.
      global_pool: averages over positions before fc8, for any size.
      towers: 2, or 1 for the half network that fits one GPU (59,798,312 parameters).
      activation: of all layers but conv1, which it follows after the pool; `tanh` to compare.
      response_normalization: False leaves out all three.
      pool_size: of windows that move by 2; 2 does not overlap.
      without_layer: conv2, conv3, conv4, conv5, fc6 or fc7, left out.

    Returns:
      Logits and end points `alexnet_2012/conv1` ... `alexnet_2012/fc8`; conv1 is before its ReLU,
      which is `alexnet_2012/relu1`.

    Raises:
      ValueError: if `towers` is not 1 or 2, or `without_layer` is unknown.
    """
    if towers not in (1, 2):
        raise ValueError(f"towers is {towers}; the network has 2, or 1 in its half.")
    conv = functools.partial(convolution, activation=activation)
    linear = functools.partial(convolution, activation=None)
    pool = pooling(pool_size)
    norm = functools.partial(_cross_channel_norm, groups=towers)
    dropout = functools.partial(layers.Dropout, dropout_keep_prob, rescale_in_training=False)
    fc7_size = 6 if without_layer == "fc6" else 1
    stack = Stack("alexnet_2012", images, without=left_out(without_layer, response_normalization))

    #                       filters      kernel stride pad  groups   std          bias
    stack.apply(layers.PadToWholeStrides(11, 4, name="pad1"))
    stack.add(linear("conv1", 48 * towers, 11, 4, "valid", 1, normal(0.01), 0))
    stack.add(norm(name="norm1"))
    stack.add(pool(name="pool1"))
    stack.add(keras.layers.Activation(activation, name="relu1"))
    stack.add(conv("conv2", 128 * towers, 5, 1, "same", towers, normal(0.01), 1))
    stack.add(norm(name="norm2"))
    stack.add(_spatial_norm(name="spatial_norm2"))
    stack.add(pool(name="pool2"))
    stack.add(conv("conv3", 192 * towers, 3, 1, "same", 1, normal(0.03), 0))
    stack.add(conv("conv4", 192 * towers, 3, 1, "same", towers, normal(0.03), 1))
    stack.add(conv("conv5", 256, 3, 1, "same", towers, normal(0.03), 1))
    stack.add(pool(name="pool5"))
    stack.add(conv("fc6", 4096, 6, 1, "valid", 1, normal(0.01), 1))
    stack.apply(dropout(name="dropout6"))
    stack.add(conv("fc7", 4096, fc7_size, 1, "valid", 1, normal(0.01), 1))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, normal(0.01), 0, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


@register_network(
    first_layer="conv1",
    head="fc8",
    convolutions_end="pool5",
    default_image_size=224,
    minimum_image_size=224,
    preprocessing="alexnet_2012",
    hyperparameters={"learning_rate_factors": ["*/biases=2"]},
)
def alexnet_owt(
    images: Any,
    num_classes: int | None = 1000,
    dropout_keep_prob: float = 0.5,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """The network of "One weird trick" for one GPU: 61,100,840 parameters for 1,000 classes.

    cuda-convnet2's: no towers, 64 to 384 filters, 256 in conv4 (TF-Slim's `alexnet_v2` has 384),
    conv1 linear and normalised before its ReLU, fc8's biases at -7. It has the widths of
    torchvision's `alexnet`, which has no response normalisation. Its schedule is
    recipes/alexnet_owt_imagenet2012.flags.

    Args:
      images: float [batch, height, width, 3], mean subtracted, 224 pixels or more a side.
      num_classes: None returns fc7 (or its mean over positions), [batch, 1, 1, 4096].
      dropout_keep_prob: after fc6 and fc7; multiplies there at test time.
      spatial_squeeze: gives [batch, num_classes]; possible from 224 to 255 pixels a side.
      global_pool: averages over positions before fc8, for any size.

    Returns:
      Logits and end points `alexnet_owt/conv1` ... `alexnet_owt/fc8`; conv1 is before its ReLU,
      which is `alexnet_owt/relu1`.
    """
    dropout = functools.partial(layers.Dropout, dropout_keep_prob, rescale_in_training=False)
    stack = Stack("alexnet_owt", images)

    #                            filters kernel stride pad  groups std      bias
    stack.apply(layers.PadToWholeStrides(11, 4, name="pad1"))
    stack.add(convolution("conv1", 64, 11, 4, "valid", 1, normal(0.01), 0, activation=None))
    stack.add(_cross_channel_norm(name="norm1"))
    stack.add(max_pool(name="pool1"))
    stack.add(keras.layers.Activation("relu", name="relu1"))
    stack.add(convolution("conv2", 192, 5, 1, "same", 1, normal(0.01), 1))
    stack.add(_cross_channel_norm(name="norm2"))
    stack.add(max_pool(name="pool2"))
    stack.add(convolution("conv3", 384, 3, 1, "same", 1, normal(0.03), 0))
    stack.add(convolution("conv4", 256, 3, 1, "same", 1, normal(0.03), 1))
    stack.add(convolution("conv5", 256, 3, 1, "same", 1, normal(0.03), 1))
    stack.add(max_pool(name="pool5"))
    stack.add(convolution("fc6", 4096, 6, 1, "valid", 1, normal(0.01), 1))
    stack.apply(dropout(name="dropout6"))
    stack.add(convolution("fc7", 4096, 1, 1, "valid", 1, normal(0.01), 1))
    dropout7 = dropout(name="dropout7")
    add_logits(stack, num_classes, dropout7, normal(0.01), -7, spatial_squeeze, global_pool)
    return stack.net, stack.end_points
