"""What the devices of a host send each other in a training step: computed, and counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import tensorflow as tf

from network_costs import LayerCost, NetworkCosts

_FLOAT32_BYTES = 4
# Each image has a label in int64, and a weight in float32.
_LABEL_BYTES = 8 + _FLOAT32_BYTES


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes that all devices together send in a step.

    Attributes:
      activities: of the convolutional stage, and their gradients.
      between_layers: outputs of fully connected layers, and their gradients.
      labels: of images, and their weights.
      gradients: of the weights that every device has. A ring sends as many as one device that adds
        all up and sends the sums.
      devices: K, that share a batch.
    """

    activities: int
    between_layers: int
    labels: int
    gradients: int
    devices: int

    @property
    def total(self) -> int:
        """Of all devices."""
        return self.activities + self.between_layers + self.labels + self.gradients

    @property
    def sent_by_each(self) -> float:
        """The mean of the devices."""
        return self.total / self.devices

    @property
    def sent_in_turns(self) -> float:
        """What links carry one after another if devices take turns with their activities.

        The copies of a device's activities leave by its link alone, and their gradients arrive by
        it, while the links of the others wait. All else all send at once.
        """
        at_once = self.between_layers + self.gradients
        return self.activities + self.labels + at_once / self.devices

    @property
    def least_in_turns(self) -> float:
        """The same if all goes on at once but the turns of those that send activities.

        Gradients then arrive by a link's other direction while the next device sends.
        """
        return max(self.activities / 2 + self.labels, self.sent_by_each)


def mirrored_traffic(costs: NetworkCosts, num_devices: int) -> Traffic:
    """Every gradient goes to where it is added up, and every sum comes back."""
    return Traffic(0, 0, 0, _all_reduced(costs.layers, num_devices), num_devices)


def hybrid_traffic(
    costs: NetworkCosts, convolutions_end: str, num_devices: int, batch_size: int, width: int
) -> Traffic:
    """The same in each of the schemes, which differ in what is sent at a time.

    Args:
      costs: of the network, for one image.
      convolutions_end: the last layer of the convolutional stage.
      num_devices: K.
      batch_size: images of all devices.
      width: bytes of an activation.
    """
    stage, rest = divided(costs, convolutions_end)
    with_weights = [layer for layer in rest if layer.parameters]
    # Each number that a device has goes to all others, and each gradient comes back from them. But
    # a device that has all logits finds their gradients by itself.
    copies = (num_devices - 1) * batch_size
    *hidden, logits = [layer.outputs for layer in with_weights]
    return Traffic(
        activities=copies * 2 * stage[-1].outputs * width,
        between_layers=copies * (2 * sum(hidden) + logits) * width,
        labels=copies * _LABEL_BYTES,
        gradients=_all_reduced(stage, num_devices),
        devices=num_devices,
    )


def sent_before_the_first_product(
    scheme: str,
    costs: NetworkCosts,
    convolutions_end: str,
    num_devices: int,
    batch: int,
    width: int,
) -> float:
    """Bytes through the busiest link before the fully connected layers can begin.

    In a and c devices receive as many as they send. In b each receives the activities of one
    device, but their copies for all others leave by that device's link. What comes later can hide
    behind computing: the passes of the schemes b and c but the first.

    Args:
      scheme: a, b or c.
      costs: of the network, for one image.
      convolutions_end: the last layer of the convolutional stage.
      num_devices: K.
      batch: images of all devices.
      width: bytes of an activation.
    """
    stage, _ = divided(costs, convolutions_end)
    copies = (num_devices - 1) * batch / num_devices * stage[-1].outputs * width
    return copies / num_devices if scheme == "c" else copies


def divided(
    costs: NetworkCosts, convolutions_end: str
) -> tuple[Sequence[LayerCost], Sequence[LayerCost]]:
    """The layers of the convolutional stage, and those after it."""
    end = [layer.name for layer in costs.layers].index(convolutions_end) + 1
    return costs.layers[:end], costs.layers[end:]


def _all_reduced(layers: Sequence[LayerCost], num_devices: int) -> int:
    parameters = sum(layer.parameters for layer in layers)
    return 2 * (num_devices - 1) * parameters * _FLOAT32_BYTES


def counted_bytes(graph: tf.Graph, scope: str = "") -> dict[tuple[str, str], int]:
    """Counts what a traced step sends: each tensor once to each device that reads it elsewhere.

    Args:
      graph: of the step. Operations that are not placed read variables, whose device is theirs, or
        have scalars.
      scope: what operations in this scope read is counted alone; empty counts all.

    Returns:
      Bytes, by the device that sends and the one that gets them.

    Raises:
      ValueError: if the size of a tensor that is sent is not known.
    """
    placed = {inner.op.name: source.device for source, inner in getattr(graph, "captures", ())}
    sent: dict[tuple[str, str], int] = {}
    for tensor, device in _read_elsewhere(graph, placed, scope):
        num_elements = tensor.shape.num_elements()
        if num_elements is None:
            raise ValueError(f"{tensor.name} of shape {tensor.shape} goes to {device}.")
        pair = (_device_of(tensor.op, placed), device)
        sent[pair] = sent.get(pair, 0) + num_elements * tensor.dtype.size
    return sent


def _read_elsewhere(
    graph: tf.Graph, placed: dict[str, str], scope: str
) -> Iterator[tuple[tf.Tensor, str]]:
    seen = set()
    for operation in graph.get_operations():
        if scope and not operation.name.startswith(f"{scope}/"):
            continue
        device = _device_of(operation, placed)
        for tensor in operation.inputs:
            source = _device_of(tensor.op, placed)
            elsewhere = source and device and source != device
            if elsewhere and tensor.dtype != tf.resource and (tensor.name, device) not in seen:
                seen.add((tensor.name, device))
                yield tensor, device


def _device_of(operation: tf.Operation, placed: dict[str, str]) -> str:
    """Where it is, for example `CPU:1`; empty if nothing says so."""
    name = operation.device or placed.get(operation.name, "")
    if not name and operation.type == "ReadVariableOp":
        name = placed.get(operation.inputs[0].op.name, "")
    found = tf.DeviceSpec.from_string(name)
    return f"{found.device_type}:{found.device_index}" if found.device_type else ""
