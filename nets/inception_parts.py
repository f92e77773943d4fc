"""What the Inceptions have in common: rows of their tables, branches side by side, last layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras

from nets import layers
from nets.activations import Activation
from nets.batch_normalization import BatchNormalization
from nets.pooling import AuxiliaryPooling2D, WindowOrMapPooling2D
from nets.registry import EndPoints
from nets.scopes import joined, layer_name

# Of TF-Slim's argument scopes.
HYPERPARAMETERS = {"weight_decay": 4e-5}

KernelSize = int | tuple[int, int]


class Convolution(NamedTuple):
    """A convolution with batch normalisation and ReLU.

    Its weights start as truncated normal ones of `stddev`, or as the others of the network do.
    """

    scope: str
    filters: int
    kernel_size: KernelSize
    stride: int = 1
    padding: str = "same"
    stddev: float | None = None


class Pool(NamedTuple):
    """A pool that averages if its scope begins with AvgPool, and otherwise takes the maximum."""

    scope: str
    size: int
    stride: int = 1
    padding: str = "same"


class Fork(NamedTuple):
    """Convolutions of the same inputs, their outputs one after another."""

    left: Convolution
    right: Convolution


Branch = Sequence[Convolution | Pool | Fork]


class Mixed(NamedTuple):
    """Branches of the same inputs, in scopes `Branch_0`, ..., their outputs one after another."""

    scope: str
    branches: Sequence[Branch]


Row = Convolution | Pool | Mixed


def variance_scaling() -> keras.initializers.Initializer:
    """Truncated normal weights of a variance of 2 / inputs, what TF-Slim calls so."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal")


class InceptionStack:
    """Applies rows one after another.

    Batch normalisation has a decay of .9997 and no factor (gamma).

    Attributes:
      net: the output of the last layer, a Keras symbolic tensor.
      end_points: outputs by TF-Slim's names, in order.

    Args:
      images: a Keras symbolic tensor.
      weights: makes the initial values of weights.
      depth_multiplier: of the filters of all convolutions but linear ones.
      min_depth: the least number of these filters.

    Raises:
      ValueError: if `depth_multiplier` is not positive.
    """

    def __init__(
        self,
        images: Any,
        weights: Callable[[], keras.initializers.Initializer] = variance_scaling,
        depth_multiplier: float = 1.0,
        min_depth: int = 1,
    ):
        if not depth_multiplier > 0:
            raise ValueError(f"depth_multiplier is {depth_multiplier}; it must be positive.")
        self.net = images
        self.end_points: EndPoints = {}
        self._weights = weights
        self._depth_multiplier = depth_multiplier
        self._min_depth = min_depth

    def depth(self, filters: int) -> int:
        """As many filters as a convolution of so many has in this network."""
        return max(int(filters * self._depth_multiplier), self._min_depth)

    def apply(self, layer: keras.layers.Layer) -> None:
        """Applies a layer."""
        self.net = layer(self.net)

    def mark(self, end_point: str) -> None:
        """Makes the last output an end point."""
        self.end_points[end_point] = self.net

    def extend(self, rows: Iterable[Row]) -> None:
        """Applies rows and makes the output of each an end point."""
        for row in rows:
            self.add(row)
            self.mark(row.scope)

    def add(self, row: Row | Fork, below: str = "") -> None:
        """Applies a row, its scope below that given."""
        if isinstance(row, Mixed):
            scope = joined(below, row.scope)
            branches = [(f"{scope}/Branch_{i}", rows) for i, rows in enumerate(row.branches)]
            self._concatenate(scope, branches)
        elif isinstance(row, Fork):
            self._concatenate(joined(below, row.left.scope), [(below, [one]) for one in row])
        elif isinstance(row, Pool):
            is_average = row.scope.startswith("AvgPool")
            kind = keras.layers.AveragePooling2D if is_average else keras.layers.MaxPooling2D
            name = layer_name(joined(below, row.scope))
            self.apply(kind(row.size, row.stride, row.padding, name=name))
        else:
            self._convolve(row, joined(below, row.scope))

    def add_linear(self, scope: str, filters: int, stddev: float | None = None) -> None:
        """A 1x1 convolution with biases, neither normalised nor followed by anything."""
        self.apply(
            layers.Conv2D(
                filters, 1, kernel_initializer=self._initializer(stddev), name=layer_name(scope)
            )
        )

    def _convolve(self, row: Convolution, scope: str) -> None:
        self.apply(
            layers.Conv2D(
                self.depth(row.filters),
                row.kernel_size,
                row.stride,
                row.padding,
                use_bias=False,
                kernel_initializer=self._initializer(row.stddev),
                name=layer_name(scope),
            )
        )
        normalization = layer_name(f"{scope}/BatchNorm")
        self.apply(
            BatchNormalization(momentum=0.9997, epsilon=0.001, scale=False, name=normalization)
        )
        self.apply(Activation("relu", name=layer_name(f"{scope}/relu")))

    def _concatenate(self, scope: str, branches: Iterable[tuple[str, Branch]]) -> None:
        inputs, outputs = self.net, []
        for branch, rows in branches:
            self.net = inputs
            for row in rows:
                self.add(row, branch)
            outputs.append(self.net)
        self.net = keras.layers.Concatenate(name=layer_name(f"{scope}/concat"))(outputs)

    def _initializer(self, stddev: float | None) -> keras.initializers.Initializer:
        # One a layer: Keras' give the same values again.
        return self._weights() if stddev is None else truncated_normal(stddev)


def truncated_normal(stddev: float) -> keras.initializers.Initializer:
    """Gaussian weights of zero mean, drawn anew where they are beyond two deviations."""
    return keras.initializers.TruncatedNormal(stddev=stddev)


def average_all(stack: InceptionStack) -> None:
    """Averages over all positions, as the end point `global_pool`."""
    stack.apply(keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_pool"))
    stack.mark("global_pool")


def average(
    stack: InceptionStack, scope: str, size: int, global_pool: bool, strides: int = 2
) -> None:
    """Averages over windows, or over all positions."""
    if global_pool:
        average_all(stack)
    else:
        stack.apply(WindowOrMapPooling2D(size, strides, name=layer_name(f"Logits/{scope}")))
        stack.mark(scope)


def add_logits(stack: InceptionStack, scope: str, num_classes: int, spatial_squeeze: bool) -> None:
    """Logits by a convolution of the scope, and two end points."""
    stack.net = layers.Conv2D(
        num_classes, 1, kernel_initializer=variance_scaling(), name=layer_name(scope)
    )(stack.net)
    if spatial_squeeze:
        stack.apply(layers.SpatialSqueeze(name="Logits.SpatialSqueeze"))
    _mark_logits(stack)


def add_flat_logits(
    stack: InceptionStack, num_classes: int | None, dropout_keep_prob: float
) -> None:
    """Averages over all positions, then dropout, and logits by a fully connected layer."""
    average_all(stack)
    if num_classes is None:
        return
    stack.apply(layers.Dropout(dropout_keep_prob, name="Logits.Dropout"))
    stack.apply(layers.SpatialSqueeze(name="Logits.SpatialSqueeze"))
    stack.mark("PreLogitsFlatten")
    stack.apply(fully_connected("Logits/Logits", num_classes))
    _mark_logits(stack)


def fully_connected(scope: str, units: int) -> keras.layers.Layer:
    """A linear layer of Xavier weights."""
    return keras.layers.Dense(units, name=layer_name(scope))


def add_flat_auxiliary_logits(
    stack: InceptionStack, source: str, convolution: str, linear: str, num_classes: int
) -> None:
    """`AuxLogits` from an end point, with a fully connected layer at last."""
    trunk = stack.net
    start_auxiliary_logits(stack, source, convolution)
    stack.apply(layers.SpatialSqueeze(name="AuxLogits.SpatialSqueeze"))
    stack.apply(fully_connected(f"AuxLogits/{linear}", num_classes))
    stack.mark("AuxLogits")
    stack.net = trunk


def start_auxiliary_logits(
    stack: InceptionStack, source: str, convolution: str, stddev: float | None = None
) -> None:
    """From an end point's map of 17x17 to one position, what auxiliary logits are made from."""
    stack.net = stack.end_points[source]
    stack.apply(AuxiliaryPooling2D(name="AuxLogits.AvgPool_1a_5x5"))
    stack.add(Convolution("Conv2d_1b_1x1", 128, 1), "AuxLogits")
    stack.add(Convolution(convolution, 768, 5, 1, "valid", stddev), "AuxLogits")


def _mark_logits(stack: InceptionStack) -> None:
    stack.mark("Logits")
    stack.end_points["Predictions"] = keras.layers.Softmax(name="Predictions")(stack.net)
