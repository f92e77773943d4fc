"""What a network costs, counted from the network itself: operations, bytes, parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from nets.nets_factory import NetworkFn


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer, for one image.

    Attributes:
      name: of the layer.
      multiply_adds: of the forward pass; zero for a layer without a kernel.
      parameters: its weights and biases.
      inputs: how many numbers it reads.
      outputs: how many numbers it writes.
    """

    name: str
    multiply_adds: int
    parameters: int
    inputs: int
    outputs: int


@dataclasses.dataclass(frozen=True)
class NetworkCosts:
    """The layers of a network in order, for one image of its usual size."""

    layers: tuple[LayerCost, ...]

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def forward_operations(self) -> int:
        """A multiply-add is two operations."""
        return 2 * self.multiply_adds

    @property
    def training_operations(self) -> int:
        """Of a step: forward, the gradient of the weights, and that of the inputs.

        Each needs the same products; the first layer's inputs need no gradient.
        """
        first = next(layer.multiply_adds for layer in self.layers if layer.multiply_adds)
        return 2 * (3 * self.multiply_adds - first)

    @property
    def forward_activations(self) -> int:
        """Numbers moved in the forward pass: each layer reads its inputs and writes its outputs."""
        return sum(layer.inputs + layer.outputs for layer in self.layers)

    @property
    def training_activations(self) -> int:
        """Numbers moved in a step.

        Backward, a layer reads its inputs and the gradient of its outputs and writes the gradient
        of its inputs; with a kernel it reads the gradient twice, as the gradients of weights and
        inputs are two products. Nothing is fused, and nothing is read twice for want of cache.
        """
        backward = 0
        for position, layer in enumerate(self.layers):
            backward += layer.inputs + layer.outputs * (2 if layer.multiply_adds else 1)
            if position:
                backward += layer.inputs
        return self.forward_activations + backward


def count_costs(network_fn: NetworkFn) -> NetworkCosts:
    """Counts what one image of the network's default size costs."""
    size = network_fn.default_image_size
    layers = [
        layer
        for layer in network_fn.model.layers
        if not isinstance(layer, keras.layers.InputLayer) and "squeeze" not in layer.name
    ]
    watched = keras.Model(
        network_fn.model.inputs,
        [(tf.nest.flatten(layer.input), layer.output) for layer in layers],
    )
    # Traced and not run: shapes are all that is wanted.
    traced = tf.function(lambda images: watched(images, training=False)).get_concrete_function(
        tf.TensorSpec([1, size, size, network_fn.channels])
    )
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, traced.structured_outputs)
    return NetworkCosts(
        tuple(
            _cost(layer, inputs, outputs)
            for layer, (inputs, outputs) in zip(layers, shapes, strict=True)
        )
    )


def _cost(
    layer: keras.Layer, inputs: Sequence[tf.TensorShape], outputs: tf.TensorShape
) -> LayerCost:
    # Each weight is used once at every position; a group's kernel has its group's inputs only.
    multiply_adds = sum(
        int(np.prod(getattr(layer, kernel).shape)) * int(np.prod(outputs[1:-1]))
        for kernel in ("kernel", "depthwise_kernel", "pointwise_kernel")
        if hasattr(layer, kernel)
    )
    return LayerCost(
        layer.name,
        multiply_adds,
        sum(int(np.prod(weight.shape)) for weight in layer.weights),
        sum(shape.num_elements() for shape in inputs),
        outputs.num_elements(),
    )
