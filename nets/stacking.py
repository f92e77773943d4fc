"""What every network's table is written with: rows, and the outputs that they leave behind."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from nets import layers
from nets.registry import EndPoints
from nets.scopes import joined, layer_name, scope_of


class Stack:
    """Applies layers one after another and keeps their outputs as end points.

    Attributes:
      net: the output of the last layer, a Keras symbolic tensor.
      end_points: outputs by TF-Slim's names (`alexnet_v2/conv1`), in order.

    Args:
      scope: the network's name.
      images: a Keras symbolic tensor.
      without: names of layers that are left out, for ablations.
    """

    def __init__(self, scope: str, images: Any, without: Collection[str] = ()):
        self.net = images
        self.end_points: EndPoints = {}
        self._scope = scope
        self._without = without

    def add(self, layer: keras.layers.Layer) -> None:
        """Applies `layer` and makes its output the end point `<scope>/<scope of the layer>`."""
        self.apply(layer)
        if layer.name not in self._without:
            self.end_points[joined(self._scope, scope_of(layer))] = self.net

    def apply(self, layer: keras.layers.Layer) -> None:
        """Applies `layer` without making its output an end point."""
        if layer.name not in self._without:
            self.net = layer(self.net)

    def add_global_pool(self) -> None:
        """Averages over positions; TF-Slim gives this end point no scope."""
        self.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
        self.end_points["global_pool"] = self.net

    def add_logits(self, name: str, spatial_squeeze: bool) -> None:
        """Makes the last output the end point `<scope>/<name>`, [batch, classes] if squeezed."""
        if spatial_squeeze:
            self.apply(layers.SpatialSqueeze(name="squeeze"))
        self.end_points[joined(self._scope, name)] = self.net

    def add_predictions(self) -> None:
        """Makes the last output the end point `Logits`, and their softmax `Predictions`."""
        self.end_points["Logits"] = self.net
        self.end_points["Predictions"] = keras.layers.Softmax(name="Predictions")(self.net)


def convolution(
    name: str,
    filters: int,
    kernel_size: int,
    stride: int,
    padding: str,
    groups: int,
    weights: keras.initializers.Initializer,
    bias: float | keras.initializers.Initializer,
    activation: str | None = "relu",
) -> layers.Conv2D:
    """A convolution, its arguments in the order of the columns in a paper's table.

    The name may be a scope of any depth, `conv1/conv1_1`.

    Raises:
      ValueError: if Keras has no such activation.
    """
    try:
        keras.activations.get(activation)
    except ValueError as error:
        raise ValueError(
            f"activation is {activation!r}; it takes a name of keras.activations, such as relu or "
            "tanh."
        ) from error
    if not isinstance(bias, keras.initializers.Initializer):
        bias = keras.initializers.Constant(bias)
    return layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding,
        groups=groups,
        activation=activation,
        kernel_initializer=weights,
        bias_initializer=bias,
        name=layer_name(name),
    )


def add_logits(
    stack: Stack,
    num_classes: int | None,
    dropout: keras.layers.Layer | None,
    weights: keras.initializers.Initializer,
    bias: float | keras.initializers.Initializer,
    spatial_squeeze: bool,
    global_pool: bool,
    name: str = "fc8",
) -> None:
    """What follows the last layer of features, with TF-Slim's options and end points."""
    if global_pool:
        stack.add_global_pool()
    if num_classes is None:
        return
    if dropout is not None:
        stack.apply(dropout)
    stack.apply(convolution(name, num_classes, 1, 1, "valid", 1, weights, bias, activation=None))
    stack.add_logits(name, spatial_squeeze)


def normal(stddev: float) -> keras.initializers.Initializer:
    """Gaussian weights of zero mean."""
    return keras.initializers.RandomNormal(stddev=stddev)
