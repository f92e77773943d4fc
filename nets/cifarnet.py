"""The networks for 32x32 images that cuda-convnet trained on CIFAR-10.

Source: Krizhevsky, cuda-convnet, `example-layers/layers-18pct.cfg` and `layer-params-18pct.cfg`
(https://code.google.com/archive/p/cuda-convnet/).
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.stacking import Stack, convolution, normal

# cuda-convnet's pools round up and average what lies inside the image: TensorFlow's SAME does both,
# and from an even map it adds its one row and column at the bottom and right as well.
_max_pool = functools.partial(keras.layers.MaxPooling2D, 3, 2, "same")
_average_pool = functools.partial(keras.layers.AveragePooling2D, 3, 2, "same")


@register_network(default_image_size=32, minimum_image_size=25, preprocessing="cifar")
def cifarnet_18pct(
    images: Any,
    num_classes: int | None = 10,
    spatial_squeeze: bool = True,
    global_pool: bool = False,
) -> tuple[Any, EndPoints]:
    """Cuda-convnet's "18% error on CIFAR-10 in 20 minutes": 89,578 parameters for 10 classes.

    Three 5x5 convolutions, overlapping pools that round up (maps of 32, 16, 8 and 4), and response
    normalisation over 3x3 positions of the same channel, not across channels as in AlexNet. The
    source pools conv1 before its ReLU, which is the same function.

    Its 18% are from pixels 0 to 255 less the mean, unaugmented (the preprocessing's `augment=False`
    and `deviation_rgb=(1, 1, 1)`), batches of 128, momentum .9, rates of .001 for weights and .002
    for biases, 120 epochs and 10 at each of a tenth and a hundredth of that, and a weight decay
    of .004 in the convolutions and 1.0 in fc10.

    Args:
      images: float [batch, height, width, 3], 25 pixels or more a side.
      num_classes: None returns pool3, [batch, 4, 4, 64] at 32 pixels, or its mean over positions.
      spatial_squeeze: gives [batch, num_classes]; possible from 25 to 32 pixels a side.
      global_pool: averages the logits over positions, for any size.

    Returns:
      Logits and end points `cifarnet_18pct/conv1` ... `cifarnet_18pct/fc10`.
    """
    norm = functools.partial(layers.SpatialResponseNormalization, window=3, alpha=5e-5 / 9)
    stack = Stack("cifarnet_18pct", images)

    #                            filters kernel stride pad  groups  std      bias
    stack.add(convolution("conv1", 32, 5, 1, "same", 1, normal(0.0001), 0))
    stack.add(_max_pool(name="pool1"))
    stack.add(norm(name="norm1"))
    stack.add(convolution("conv2", 32, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(_average_pool(name="pool2"))
    stack.add(norm(name="norm2"))
    stack.add(convolution("conv3", 64, 5, 1, "same", 1, normal(0.01), 0))
    stack.add(_average_pool(name="pool3"))
    if num_classes is None:
        if global_pool:
            stack.add_global_pool()
        return stack.net, stack.end_points
    fc10 = convolution("fc10", num_classes, 4, 1, "valid", 1, normal(0.01), 0, activation=None)
    stack.apply(fc10)
    if global_pool:
        # Of logits, so no end point of its own: the one before the logits holds the features.
        stack.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
    stack.add_logits("fc10", spatial_squeeze)
    return stack.net, stack.end_points
