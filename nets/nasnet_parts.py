"""What NASNet and PNASNet have in common: cells, what feeds them, and the last layers.

Sources: Zoph and others, "Learning Transferable Architectures for Scalable Image Recognition"
(https://arxiv.org/abs/1707.07012); TF-Slim, `nets/nasnet/nasnet_utils.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from nets import layers
from nets.activations import Activation
from nets.batch_normalization import BatchNormalization
from nets.drop_path import DropPath
from nets.registry import EndPoints
from nets.scopes import layer_name
from nets.separable import SeparableConv2D

# What a cell may do with one of its states. A separable convolution is applied twice, each time
# after a ReLU and before batch normalisation.
SEPARABLE = {"separable 3x3": 3, "separable 5x5": 5, "separable 7x7": 7}
POOLS = {
    "average 3x3": keras.layers.AveragePooling2D,
    "maximum 3x3": keras.layers.MaxPooling2D,
}
IDENTITY = "identity"


class Combination(NamedTuple):
    """The sum of what two operations make of two states, which is a state itself."""

    left: str
    left_state: int
    right: str
    right_state: int


class Cell(NamedTuple):
    """Combinations, and the states whose channels are put side by side in the end.

    State 0 is the output of the cell before, state 1 that of the one before it, both as 1x1
    convolutions of as many filters as all others; combinations count from 2.
    """

    combinations: tuple[Combination, ...]
    outputs: tuple[int, ...]


class Features(NamedTuple):
    """A Keras symbolic tensor, and how often height and width were halved on the way to it."""

    net: Any
    halvings: int


class CellStack:
    """Applies cells one after another, each to the outputs of the two before it.

    Attributes:
      outputs: of all cells, behind that of the first convolution.
      end_points: outputs by TF-Slim's names, in order.

    Args:
      momentum: by which moving statistics keep what they were.
      epsilon: added to variances.
      drop_path_keep_prob: of the last cell's paths at the end of training; of those before it,
        linearly more.
      num_cells: in all, for that.
      total_training_steps: see `drop_path.DropPath`.

    Raises:
      ValueError: if `drop_path_keep_prob` is not in (0, 1].
    """

    def __init__(
        self,
        *,
        momentum: float,
        epsilon: float,
        drop_path_keep_prob: float,
        num_cells: int,
        total_training_steps: int,
    ):
        if not 0 < drop_path_keep_prob <= 1:
            raise ValueError(f"drop_path_keep_prob is {drop_path_keep_prob}; it must be in (0, 1].")
        self.outputs: list[Features] = []
        self.end_points: EndPoints = {}
        self._momentum = momentum
        self._epsilon = epsilon
        self._drop_path_keep_prob = drop_path_keep_prob
        self._num_cells = num_cells
        self._total_training_steps = total_training_steps
        # A state is often an input of several operations, which begin with the same layer.
        self._known: dict[tuple[str, int], Any] = {}

    def mark(self, end_point: str) -> None:
        """Makes the last output an end point."""
        self.end_points[end_point] = self.outputs[-1].net

    def add_first(
        self, images: Any, filters: int, scope: str, norm: str, stride: int, padding: str
    ) -> None:
        """Applies a 3x3 convolution and batch normalisation."""
        net = _convolution(scope, filters, 3, stride, padding)(images)
        self.outputs.append(Features(self.normalize(net, norm), int(stride > 1)))

    def add_cell(
        self, cell: Cell, scope: str, filters: int, stride: int = 1, before: int = -2
    ) -> None:
        """Applies a cell to the last output and to another before it.

        Args:
          cell: which.
          scope: its name.
          filters: of each of its states.
          stride: of the operations on its two inputs.
          before: which other output, counted from the end; the last where there is none yet.
        """
        share = len(self.outputs) / self._num_cells  # of the cells, this one included
        keep_prob = 1 - share * (1 - self._drop_path_keep_prob)
        last = self.outputs[-1]
        other = self.outputs[before] if len(self.outputs) > 1 else last
        states = [
            self._convolve(last, filters, f"{scope}/1x1", f"{scope}/beginning_bn"),
            last if other is last else self._fit(other, last.halvings, filters, scope),
        ]
        for number, (left, left_state, right, right_state) in enumerate(cell.combinations):
            halves = [
                self._operate(
                    operation,
                    states[state],
                    filters,
                    stride if state < 2 else 1,
                    keep_prob,
                    f"{scope}/comb_iter_{number}/{side}",
                )
                for side, operation, state in (
                    ("left", left, left_state),
                    ("right", right, right_state),
                )
            ]
            add = keras.layers.Add(name=layer_name(f"{scope}/comb_iter_{number}/combine"))
            states.append(Features(add([half.net for half in halves]), halves[0].halvings))
        combined = []
        for state in cell.outputs:
            net = states[state].net
            if net.shape[-1] != filters:  # the images' first convolution, where it is an output
                below = f"{scope}/cell_output/reduction_{state}"
                net = _convolution(f"{below}/path_conv", filters)(net)
                net = self.normalize(net, f"{below}/path_bn")
            combined.append(net)
        concatenate = keras.layers.Concatenate(name=layer_name(f"{scope}/cell_output"))
        self.outputs.append(Features(concatenate(combined), states[-1].halvings))

    def relu(self, net: Any, scope: str) -> Any:
        """ReLU, called after the first of those that ask for it."""
        make_relu = functools.partial(Activation, "relu", name=layer_name(f"{scope}/relu"))
        return self._once("relu", net, make_relu)

    def normalize(self, net: Any, scope: str) -> Any:
        """Batch normalisation."""
        return BatchNormalization(
            momentum=self._momentum, epsilon=self._epsilon, name=layer_name(scope)
        )(net)

    def _once(self, what: str, net: Any, make_layer: Callable[[], keras.layers.Layer]) -> Any:
        """Applies a layer, or gives what came of one before."""
        key = (what, id(net))  # the graph keeps `net`, and so its id
        if key not in self._known:
            self._known[key] = make_layer()(net)
        return self._known[key]

    def _fit(self, before: Features, halvings: int, filters: int, scope: str) -> Features:
        """Brings an earlier output to the size of the last, and to as many channels as filters."""
        if before.halvings != halvings:
            # Two convolutions in strides of 2, the second of them a pixel further down and right.
            net = self.relu(before.net, f"{scope}/prev")
            first = _convolution(f"{scope}/path1_conv", filters // 2, stride=2)
            second = _convolution(f"{scope}/path2_conv", filters - filters // 2, stride=2)
            name = layer_name(f"{scope}/path2")
            shifted = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}.pad")(net)
            shifted = keras.layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}.crop")(shifted)
            concatenate = keras.layers.Concatenate(name=layer_name(f"{scope}/final_path"))
            net = concatenate([first(net), second(shifted)])
            return Features(self.normalize(net, f"{scope}/final_path_bn"), halvings)
        if before.net.shape[-1] != filters:
            return self._convolve(before, filters, f"{scope}/prev_1x1", f"{scope}/prev_bn")
        return before

    def _convolve(
        self, state: Features, filters: int, scope: str, norm: str, stride: int = 1
    ) -> Features:
        """ReLU, a 1x1 convolution and batch normalisation."""
        net = _convolution(scope, filters, stride=stride)(self.relu(state.net, scope))
        return Features(self.normalize(net, norm), state.halvings + (stride > 1))

    def _operate(
        self,
        operation: str,
        state: Features,
        filters: int,
        stride: int,
        keep_prob: float,
        scope: str,
    ) -> Features:
        """Applies an operation, and drops its outputs at random, but for the identity."""
        net, halvings = state.net, state.halvings + (stride > 1)
        channels = net.shape[-1]
        if operation == IDENTITY:
            if stride == 1 and channels == filters:
                return state
            return self._convolve(state, filters, f"{scope}/1x1", f"{scope}/bn_1", stride)
        if operation in SEPARABLE:
            size = SEPARABLE[operation]
            for repetition in (1, 2):
                name = f"{size}x{size}_{repetition}"
                separable = SeparableConv2D(
                    filters,
                    size,
                    stride if repetition == 1 else 1,
                    "same",
                    use_bias=False,
                    depthwise_initializer=_weights(),
                    pointwise_initializer=_weights(),
                    name=layer_name(f"{scope}/separable_{name}"),
                )
                net = separable(self.relu(net, f"{scope}/separable_{name}"))
                net = self.normalize(net, f"{scope}/bn_sep_{name}")
        else:
            name = layer_name(f"{scope}/pool")
            make_pool = functools.partial(POOLS[operation], 3, stride, "same", name=name)
            net = self._once(f"{operation} {stride}", net, make_pool)
            if channels != filters:
                net = self.normalize(_convolution(f"{scope}/1x1", filters)(net), f"{scope}/bn_1")
        if keep_prob < 1:
            name = layer_name(f"{scope}/drop_path")
            net = DropPath(keep_prob, self._total_training_steps, name=name)(net)
        return Features(net, halvings)


def add_imagenet_stem(
    stack: CellStack, images: Any, cell: Cell, multiplier: float, filters: int
) -> None:
    """A convolution and two cells, each in strides of 2."""
    stack.add_first(images, int(32 * multiplier), "conv0", "conv0_bn", 2, "valid")
    for number, share in enumerate((1 / 4, 1 / 2)):
        stack.add_cell(cell, f"cell_stem_{number}", int(filters * share), stride=2)


def reductions(num_cells: int) -> tuple[int, int]:
    """The cells with which the second and the last third begin."""
    return num_cells // 3, 2 * num_cells // 3


def add_auxiliary_head(stack: CellStack, scope: str, num_classes: int, kernel_size: int) -> None:
    """Logits of the last output.

    Args:
      stack: whose end point they become.
      scope: of the head.
      num_classes: how many there are.
      kernel_size: as many positions as a pooled image of the default size has. TF-Slim takes what
        images have; here, those of a larger image are averaged.
    """
    scope = f"{scope}/aux_logits"
    net = stack.relu(stack.outputs[-1].net, scope)
    net = keras.layers.AveragePooling2D(5, 3, name=layer_name(f"{scope}/pool"))(net)
    net = _convolution(f"{scope}/proj", 128)(net)
    net = stack.relu(stack.normalize(net, f"{scope}/aux_bn0"), f"{scope}/aux_bn0")
    net = _convolution(f"{scope}/Conv", 768, kernel_size)(net)
    net = stack.relu(stack.normalize(net, f"{scope}/aux_bn1"), f"{scope}/aux_bn1")
    net = keras.layers.GlobalAveragePooling2D(name=layer_name(f"{scope}/mean"))(net)
    stack.end_points["AuxLogits"] = _fully_connected(f"{scope}/FC", num_classes)(net)


def add_last_layers(
    stack: CellStack, num_classes: int | None, dropout_keep_prob: float
) -> tuple[Any, EndPoints]:
    """ReLU, the mean over positions, and a fully connected layer after dropout."""
    net = stack.relu(stack.outputs[-1].net, "final_layer")
    net = keras.layers.GlobalAveragePooling2D(name="global_pool")(net)
    end_points = stack.end_points
    end_points["global_pool"] = net
    if num_classes is not None:
        net = layers.Dropout(dropout_keep_prob, name=layer_name("final_layer/dropout"))(net)
        net = _fully_connected("final_layer/FC", num_classes)(net)
        end_points["Logits"] = net
        end_points["Predictions"] = keras.layers.Softmax(name="Predictions")(net)
    return net, end_points


def _convolution(
    scope: str, filters: int, kernel_size: int = 1, stride: int = 1, padding: str = "valid"
) -> layers.Conv2D:
    return layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding,
        use_bias=False,
        kernel_initializer=_weights(),
        name=layer_name(scope),
    )


def _fully_connected(scope: str, units: int) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=_weights(), name=layer_name(scope))


def _weights() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
