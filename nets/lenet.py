"""TF-Slim's LeNet, for grey images of 28x28 pixels.

Sources: LeCun and others, "Gradient-Based Learning Applied to Document Recognition" (1998), whose
network is narrower, averages where this one takes maxima, and has tanh; TF-Slim, `nets/lenet.py`.
"""

from __future__ import annotations

from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints, register_network
from nets.stacking import Stack, convolution


@register_network(
    scope="LeNet",
    first_layer="conv1",
    head="fc4",
    convolutions_end="pool2",
    default_image_size=28,
    minimum_image_size=28,
    takes_one_size=True,
    channels=1,
    preprocessing="lenet",
    hyperparameters={"weight_decay": 0.0},
)
def lenet(
    images: Any, num_classes: int | None = 10, dropout_keep_prob: float = 0.5
) -> tuple[Any, EndPoints]:
    """TF-Slim's network for MNIST: 3,274,634 parameters for 10 classes.

    Truncated normal weights of .1, biases of 0, trained without weight decay. End points are
    TF-Slim's in name, order and value.

    Args:
      images: float [batch, 28, 28, 1].
      num_classes: None returns fc3, [batch, 1024].
      dropout_keep_prob: after fc3.

    Returns:
      Logits [batch, num_classes] and end points `conv1` ... `fc3`, `dropout3`, `Logits`,
      `Predictions`.
    """
    stack = Stack("", images)
    #                     filters kernel stride pad  groups weights  bias
    stack.add(convolution("conv1", 32, 5, 1, "same", 1, _weights(), 0))
    stack.add(keras.layers.MaxPooling2D(2, 2, name="pool1"))
    stack.add(convolution("conv2", 64, 5, 1, "same", 1, _weights(), 0))
    stack.add(keras.layers.MaxPooling2D(2, 2, name="pool2"))
    stack.add(keras.layers.Flatten(name="Flatten"))
    stack.add(keras.layers.Dense(1024, "relu", kernel_initializer=_weights(), name="fc3"))
    if num_classes is not None:
        stack.add(layers.Dropout(dropout_keep_prob, name="dropout3"))
        stack.apply(keras.layers.Dense(num_classes, kernel_initializer=_weights(), name="fc4"))
        stack.add_predictions()
    return stack.net, stack.end_points


def _weights() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.1)
