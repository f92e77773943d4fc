"""The networks for small images that cuda-convnet trained on CIFAR-10.

Source: Krizhevsky, cuda-convnet, `example-layers/layers-18pct.cfg`, `layers-conv-local-13pct.cfg`,
`layers-conv-local-11pct.cfg` and their `layer-params`
(https://code.google.com/archive/p/cuda-convnet/).
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization, SpatialResponseNormalization
from nets.stacking import Stack, convolution, normal

# cuda-convnet's pools round up and average what lies inside the image: TensorFlow's SAME does both,
# and from an even map it adds its one row and column at the bottom and right as well.
_max_pool = functools.partial(keras.layers.MaxPooling2D, 3, 2, "same")
_average_pool = functools.partial(keras.layers.AveragePooling2D, 3, 2, "same")

_HYPERPARAMETERS = {
    "learning_rate": 0.001,
    "weight_decay": 0.004,
    "learning_rate_factors": ["*/biases=2"],
}
_register = functools.partial(
    register_network, first_layer="conv1", head="fc10", preprocessing="cuda_convnet"
)


@_register(
    default_image_size=32,
    minimum_image_size=25,
    hyperparameters={**_HYPERPARAMETERS, "weight_decay_factors": ["*/fc10/*=250"]},
)
def cifarnet_18pct(
    images: Any,
    num_classes: int | None = 10,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    activation: str = "relu",
    response_normalization: bool = True,
) -> tuple[Any, EndPoints]:
    """Cuda-convnet's "18% error on CIFAR-10 in 20 minutes": 89,578 parameters for 10 classes.

    Three 5x5 convolutions, overlapping pools that round up (maps of 32, 16, 8 and 4), and response
    normalisation over 3x3 positions of the same channel, not across channels as in AlexNet. The
    source pools conv1 before its ReLU, which is the same function.

    Its 18% are from pixels 0 to 255 less the mean, unaugmented, batches of 128, momentum .9, rates
    of .001 for weights and .002 for biases, 120 epochs and 10 at each of a tenth and a hundredth
    of that, and a weight decay of .004 in the convolutions and 1.0 in fc10.

    Args:
      images: float [batch, height, width, 3], 25 pixels or more a side.
      num_classes: None returns pool3, [batch, 4, 4, 64] at 32 pixels, or its mean over positions.
      spatial_squeeze: gives [batch, num_classes]; possible from 25 to 32 pixels a side.
      global_pool: averages the logits over positions, for any size.
      activation: of the convolutions; `tanh` to compare, as figure 1 of the 2012 paper does.
      response_normalization: False leaves both out.

    Returns:
      Logits and end points `cifarnet_18pct/conv1` ... `cifarnet_18pct/fc10`.
    """
    conv = functools.partial(convolution, activation=activation)
    norm = functools.partial(SpatialResponseNormalization, window=3, alpha=5e-5 / 9)
    without = [] if response_normalization else ["norm1", "norm2"]
    stack = Stack("cifarnet_18pct", images, without)

    #                     filters kernel stride pad  groups  std      bias
    stack.add(conv("conv1", 32, 5, 1, "same", 1, normal(0.0001), 0))
    stack.add(_max_pool(name="pool1"))
    stack.add(norm(name="norm1"))
    stack.add(conv("conv2", 32, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(_average_pool(name="pool2"))
    stack.add(norm(name="norm2"))
    stack.add(conv("conv3", 64, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(_average_pool(name="pool3"))
    _add_logits(stack, num_classes, 4, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


@_register(
    default_image_size=24,
    minimum_image_size=24,
    hyperparameters={**_HYPERPARAMETERS, "weight_decay_factors": ["*/conv1/*=0", "*/conv2/*=0"]},
    takes_one_size=True,
)
def cifarnet_13pct(
    images: Any,
    num_classes: int | None = 10,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Cuda-convnet's "13% error on CIFAR-10 in 25 minutes": 1,116,490 parameters for 10 classes.

    Two 5x5 convolutions of 64 filters with pools that round up (maps of 24, 12 and 6), and two
    3x3 layers that share no weights between positions. Its error of 12.6% to 13% is from crops of
    24x24 and their mirror images, about 100 epochs on four fifths of the training images, 40 on
    all and 10 at each of a tenth and a hundredth of the rate, and the mean over ten crops.

    Args:
      images: float [batch, 24, 24, 3].
      num_classes: None returns local4, [batch, 6, 6, 32], or its mean over positions.
      spatial_squeeze: gives [batch, num_classes].
      global_pool: of local4 if `num_classes` is None; the logits have one position anyway.

    Returns:
      Logits and end points `cifarnet_13pct/conv1` ... `cifarnet_13pct/fc10`.
    """
    stack = Stack("cifarnet_13pct", images)

    #                            filters kernel stride pad  groups  std      bias
    stack.add(convolution("conv1", 64, 5, 1, "same", 1, normal(0.0001), 0))
    stack.add(_max_pool(name="pool1"))
    stack.add(convolution("conv2", 64, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(_max_pool(name="pool2"))
    stack.add(_local("local3", 32))
    stack.add(_local("local4", 32))
    _add_logits(stack, num_classes, 6, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


@_register(
    default_image_size=24,
    minimum_image_size=24,
    hyperparameters={
        **_HYPERPARAMETERS,
        "weight_decay_factors": ["*/conv1/*=0", "*/conv2/*=0", "*/fc10/*=2.5"],
    },
    takes_one_size=True,
)
def cifarnet_11pct(
    images: Any,
    num_classes: int | None = 10,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
    response_normalization: bool = True,
) -> tuple[Any, EndPoints]:
    """Cuda-convnet's "11% error on CIFAR-10 in 75 minutes": 2,112,970 parameters for 10 classes.

    `cifarnet_13pct` with response normalisation across 9 channels after pool1 and before pool2,
    64 filters in local3 and more decay in fc10; trained for 350 epochs on four fifths of the
    training images, 150 on all and 10 at each of a tenth and a hundredth of the rate. So its 11%
    do not say what response normalisation alone is worth.

    Args:
      images: float [batch, 24, 24, 3].
      num_classes: None returns local4, [batch, 6, 6, 32], or its mean over positions.
      spatial_squeeze: gives [batch, num_classes].
      global_pool: of local4 if `num_classes` is None; the logits have one position anyway.
      response_normalization: False leaves both out.

    Returns:
      Logits and end points `cifarnet_11pct/conv1` ... `cifarnet_11pct/fc10`.
    """
    norm = functools.partial(LocalResponseNormalization, 4, 1.0, 0.001 / 9, 0.75)
    without = [] if response_normalization else ["norm1", "norm2"]
    stack = Stack("cifarnet_11pct", images, without)

    #                            filters kernel stride pad  groups  std      bias
    stack.add(convolution("conv1", 64, 5, 1, "same", 1, normal(0.0001), 0))
    stack.add(_max_pool(name="pool1"))
    stack.add(norm(name="norm1"))
    stack.add(convolution("conv2", 64, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(norm(name="norm2"))
    stack.add(_max_pool(name="pool2"))
    stack.add(_local("local3", 64))
    stack.add(_local("local4", 32))
    _add_logits(stack, num_classes, 6, spatial_squeeze, global_pool)
    return stack.net, stack.end_points


def _local(name: str, filters: int) -> layers.LocallyConnected2D:
    return layers.LocallyConnected2D(filters, 3, "relu", kernel_initializer=normal(0.04), name=name)


def _add_logits(
    stack: Stack, num_classes: int | None, size: int, spatial_squeeze: bool, global_pool: bool
) -> None:
    """Ends in fc10, which looks at size x size positions, or in the features before it."""
    if num_classes is None:
        if global_pool:
            stack.add_global_pool()
        return
    stack.apply(
        convolution("fc10", num_classes, size, 1, "valid", 1, normal(0.01), 0, activation=None)
    )
    if global_pool:
        # Of logits, so no end point of its own: the one before the logits holds the features.
        stack.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
    stack.add_logits("fc10", spatial_squeeze)
