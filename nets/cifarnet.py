"""TF-Slim's network for CIFAR-10, which is none of cuda-convnet's in `nets/cuda_convnet.py`.

Source: TF-Slim, `nets/cifarnet.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.response_normalization import LocalResponseNormalization
from nets.stacking import Stack, convolution


@register_network(
    scope="CifarNet",
    first_layer="conv1",
    head="logits",
    convolutions_end="pool2",
    default_image_size=32,
    minimum_image_size=32,
    takes_one_size=True,
    preprocessing="cifarnet",
    hyperparameters={"weight_decay": 0.004},
    without_decay=("conv1", "conv2", "logits"),
)
def cifarnet(
    images: Any, num_classes: int | None = 10, dropout_keep_prob: float = 0.5
) -> tuple[Any, EndPoints]:
    """TF-Slim's network for CIFAR-10: 1,756,426 parameters for 10 classes.

    Two 5x5 convolutions, response normalisation across 9 channels after pool1 and before pool2,
    and two fully connected layers, which alone have weight decay. End points are TF-Slim's in
    name, order and value.

    Args:
      images: float [batch, 32, 32, 3].
      num_classes: None returns fc4, [batch, 192].
      dropout_keep_prob: after fc3.

    Returns:
      Logits [batch, num_classes] and end points `conv1` ... `fc4`, `Logits`, `Predictions`.
    """
    norm = functools.partial(LocalResponseNormalization, 4, 1.0, 0.001 / 9, 0.75)
    stack = Stack("", images)
    #                     filters kernel stride pad  groups weights   bias
    stack.add(convolution("conv1", 64, 5, 1, "same", 1, _normal(0.05), 0))
    stack.add(keras.layers.MaxPooling2D(2, 2, name="pool1"))
    stack.apply(norm(name="norm1"))
    stack.add(convolution("conv2", 64, 5, 1, "same", 1, _normal(0.05), 0))
    stack.apply(norm(name="norm2"))
    stack.add(keras.layers.MaxPooling2D(2, 2, name="pool2"))
    stack.add(keras.layers.Flatten(name="Flatten"))
    stack.add(_fully_connected("fc3", 384))
    stack.apply(layers.Dropout(dropout_keep_prob, name="dropout3"))
    stack.add(_fully_connected("fc4", 192))
    if num_classes is not None:
        weights = _normal(1 / 192)
        stack.apply(keras.layers.Dense(num_classes, kernel_initializer=weights, name="logits"))
        stack.add_predictions()
    return stack.net, stack.end_points


def _fully_connected(name: str, units: int) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        "relu",
        kernel_initializer=_normal(0.04),
        bias_initializer=keras.initializers.Constant(0.1),
        name=name,
    )


def _normal(stddev: float) -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=stddev)
