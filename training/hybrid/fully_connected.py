"""The fully connected layers of a network, their units divided among devices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from training.hybrid.exchange import all_gather, reduce_scatter
from training.hybrid.sharded_variable import ShardedVariable

# What layers call the number of their units.
_UNITS = ("filters", "units")
# Activations of which each output depends on all units.
_OVER_ALL_UNITS = ("softmax", "log_softmax", "sparsemax", "glu")


class StageGradients(NamedTuple):
    """What a pass of some images, forward and back, gives on each device.

    Attributes:
      logits: of all images, the same on each device.
      of_inputs: gradients of the inputs, whose sum over devices is the whole.
      of_weights: gradients of a device's shards of the variables that were asked for, in order.
    """

    logits: list[tf.Tensor]
    of_inputs: list[tf.Tensor]
    of_weights: list[list[tf.Tensor]]


# Of a device's shares of the layers, the values of their weights that passes compute with.
ShareWeights = list[list[tf.Tensor]]


class _Block(NamedTuple):
    """A device's share of a layer, and the layers without weights that come before it."""

    before: list[keras.layers.Layer]
    share: keras.layers.Layer

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs: tf.Tensor = self.share(_through(self.before, inputs))
        return outputs

    def recorded(self, inputs: tf.Tensor, weights: Sequence[tf.Tensor]) -> _Record:
        """A pass in training, with these values in place of the variables of the share."""
        with tf.GradientTape() as tape:
            tape.watch([inputs, *weights])
            outputs = _through(self.before, inputs, training=True)
            with keras.StatelessScope() as scope:
                for variable, value in zip(self.share.weights, weights, strict=True):
                    # Not by the scope's constructor, which casts to the dtype of the variable.
                    scope.add_update((variable, value))
                outputs = self.share(outputs, training=True)
        return _Record(tape, inputs, outputs, weights)


class _Record(NamedTuple):
    """A pass through a device's share of a layer, and the way back."""

    tape: tf.GradientTape
    inputs: tf.Tensor
    outputs: tf.Tensor
    weights: Sequence[tf.Tensor]


class FullyConnectedStage:
    """What follows the convolutional stage of a network, over several devices.

    A layer that has weights gives each device some of its units. All devices then get the outputs
    of all units. What has no weights (dropout, squeezing) is done on each, to the same result.

    Args:
      layers: in order, built; they are copied.
      devices: that share their units.

    Attributes:
      devices: as given.
      layers: those with weights, as the first device has them.
      variables: of each of them, by its name.

    Raises:
      ValueError: if a layer cannot be divided among so many devices.
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], devices: Sequence[str]):
        self.devices = list(devices)
        self.layers: list[keras.layers.Layer] = []
        self.variables: dict[str, list[ShardedVariable]] = {}
        # By layer, one for each device.
        self._blocks: list[list[_Block]] = []
        before: list[keras.layers.Layer] = []
        with_weights = [layer for layer in layers if layer.weights]
        _check_units(with_weights, len(self.devices))
        for layer in layers:
            if not layer.weights:
                # A copy, because a layer knows those before it, with all of their weights.
                before.append(type(layer).from_config(layer.get_config()))
                continue
            shares = _divided(layer, self.devices)
            self._blocks.append([_Block(before, share) for share in shares])
            self.layers.append(shares[0])
            self.variables[layer.name] = [
                ShardedVariable([share.weights[i] for share in shares], weight.path)
                for i, weight in enumerate(layer.weights)
            ]
            before = []
        self._after = before

    def check_shape(self, inputs: tuple[int | None, ...]) -> None:
        """Raises ValueError if the layers cannot take inputs of a shape."""
        for (block, *_), layer in zip(self._blocks, self.layers, strict=True):
            for one in (*block.before, block.share):
                inputs = one.compute_output_shape(inputs)
            inputs = (*inputs[:-1], self.variables[layer.name][0].shape[-1])
        for one in self._after:
            inputs = one.compute_output_shape(inputs)

    def num_parameters(self) -> tuple[int, int]:
        """Of all devices, and the most that one has."""
        variables = [variable for of_layer in self.variables.values() for variable in of_layer]
        of_devices = zip(*(variable.shards for variable in variables), strict=True)
        counts = [sum(int(np.prod(shard.shape)) for shard in shards) for shards in of_devices]
        return sum(counts), max(counts)

    def logits(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """What the stage gives in evaluation, on each device.

        Args:
          inputs: of all images, the same on each device.
        """
        for blocks in self._blocks:
            outputs = self._on_each_device(lambda block, value: block(value), blocks, inputs)
            inputs = all_gather(outputs, self.devices, axis=-1)
        return self._on_each_device(functools.partial(_through, self._after), inputs)

    def weights_now(self) -> list[ShareWeights]:
        """What each device computes with until its next update, cast once for all passes."""
        return self._on_each_device(
            lambda *blocks: [_computed_with(block.share) for block in blocks], *self._blocks
        )

    def gradients(
        self,
        inputs: Sequence[tf.Tensor],
        losses: Sequence[Callable[[tf.Tensor], tf.Tensor]],
        weights: Sequence[ShareWeights],
        variables: Sequence[ShardedVariable],
    ) -> StageGradients:
        """Passes images forward and back, in training.

        Args:
          inputs: of all images, the same on each device.
          losses: for each device the loss of the logits, the same on all.
          weights: of `weights_now`.
          variables: whose gradients are asked for: some of the stage's, all trainable.
        """
        passes = []
        for blocks, *own in zip(self._blocks, *weights, strict=True):
            records = self._on_each_device(_Block.recorded, blocks, inputs, own)
            passes.append(records)
            inputs = all_gather([record.outputs for record in records], self.devices, axis=-1)

        def end(
            value: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(value)
                logits = _through(self._after, value, training=True)
                total = loss(logits)
            return logits, tape.gradient(total, value)

        # Each device has all logits, and so finds the gradient of its own without the others.
        logits, whole = zip(*self._on_each_device(end, inputs, losses), strict=True)
        sizes = _sizes(passes[-1])
        upstream = [
            parts[device]
            for device, parts in enumerate(
                self._on_each_device(lambda value: tf.split(value, sizes, axis=-1), whole)
            )
        ]
        # By the number of the variable.
        of_weights: list[dict[int, tf.Tensor]] = [{} for _ in self.devices]
        for number, records in reversed(list(enumerate(passes))):
            of_layer = self.variables[self.layers[number].name]
            wanted = {i: of_layer.index(one) for i, one in enumerate(variables) if one in of_layer}
            backward = functools.partial(_gradients, wanted.values())
            found = self._on_each_device(backward, records, upstream)
            for of_device, (_, gradients) in zip(of_weights, found, strict=True):
                of_device |= zip(wanted, gradients, strict=True)
            of_inputs = [one for one, _ in found]
            if number:
                sizes = _sizes(passes[number - 1])
                upstream = reduce_scatter(of_inputs, self.devices, sizes, self.devices, axis=-1)
        in_order = self._on_each_device(
            lambda found: [tf.cast(found[i], one.dtype) for i, one in enumerate(variables)],
            of_weights,
        )
        return StageGradients(list(logits), of_inputs, in_order)

    def _on_each_device(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        results = []
        for device, *own in zip(self.devices, *arguments, strict=True):
            with tf.device(device):
                results.append(function(*own))
        return results


def _check_units(layers: Sequence[keras.layers.Layer], num_devices: int) -> None:
    """Raises ValueError if devices cannot share units: all evenly, but those of the last layer."""
    units = {layer.name: layer.get_config()[_units_key(layer)] for layer in layers}
    *hidden, last = units

    def obstacle(count: int) -> str | None:
        return next(
            (name for name in hidden if units[name] % count), last if units[last] < count else None
        )

    if name := obstacle(num_devices):
        fitting = [str(count) for count in range(2, units[last] + 1) if not obstacle(count)]
        others = f"another --num_replicas ({', '.join(fitting)}), or " if fitting else ""
        raise ValueError(
            f"{name} has {units[name]:,} units, which {num_devices} devices cannot share. Give "
            f"{others}--distribution_strategy=mirrored."
        )


def _units_key(layer: keras.layers.Layer) -> str:
    """What a layer's configuration calls its units; ValueError if it has none."""
    config = layer.get_config()
    for key in _UNITS:
        if key in config:
            return key
    raise _not_divisible(layer)


def _divided(layer: keras.layers.Layer, devices: Sequence[str]) -> list[keras.layers.Layer]:
    """Copies of a layer, each on its device and with a part of the units."""
    config = layer.get_config()
    key = _units_key(layer)
    if config.get("groups", 1) != 1:
        raise _not_divisible(layer, " of several groups")
    if (activation := config.get("activation")) in _OVER_ALL_UNITS:
        raise _not_divisible(layer, f" with a {activation} over all units")
    for weight in layer.weights:
        if weight.constraint is not None:
            raise ValueError(
                f"The layer {layer.name} has the constraint {type(weight.constraint).__name__} on "
                f"its {weight.name}, which --distribution_strategy=hybrid does not apply: a device "
                "has the weights of some units. Build the network without it, or take "
                "--distribution_strategy=mirrored."
            )
    sizes = [len(part) for part in np.array_split(np.arange(config[key]), len(devices))]
    values = [np.split(weight, np.cumsum(sizes)[:-1], axis=-1) for weight in layer.get_weights()]
    shares = []
    for device, size, weights in zip(devices, sizes, zip(*values, strict=True), strict=True):
        with tf.device(device):
            share = type(layer).from_config({**config, key: size})
            share.build(layer.input.shape)
            # Weights that are not by unit along their last axis: those of a separable convolution.
            if [own.shape for own in share.weights] != [part.shape for part in weights]:
                raise _not_divisible(layer)
            share.set_weights(weights)
        shares.append(share)
    return shares


def _not_divisible(layer: keras.layers.Layer, how: str = "") -> ValueError:
    return ValueError(
        f"The layer {layer.name} is a {type(layer).__name__}{how}, whose units cannot be divided; "
        "--distribution_strategy=hybrid takes dense layers, and convolutions of one group, after "
        "a network's convolutional stage. mirrored is for every network."
    )


def _through(
    layers: Sequence[keras.layers.Layer], value: tf.Tensor, training: bool = False
) -> tf.Tensor:
    for layer in layers:
        value = layer(value, training=training)
    return value


def _computed_with(share: keras.layers.Layer) -> list[tf.Tensor]:
    """The values of its weights, in the dtype of its activations where Keras would cast them."""
    values = [tf.convert_to_tensor(weight.value) for weight in share.weights]
    return [
        tf.cast(value, share.compute_dtype) if share.autocast and value.dtype.is_floating else value
        for value in values
    ]


def _gradients(
    numbers: Iterable[int], record: _Record, upstream: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Of the inputs, and of some of the weights by their numbers."""
    weights = [record.weights[number] for number in numbers]
    of_inputs, *of_weights = record.tape.gradient(
        record.outputs, [record.inputs, *weights], output_gradients=upstream
    )
    return of_inputs, of_weights


def _sizes(records: Sequence[_Record]) -> list[int]:
    """How many units each device has of the layer that was passed."""
    return [record.outputs.shape[-1] for record in records]
