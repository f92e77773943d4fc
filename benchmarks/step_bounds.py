"""How long a training step takes at least on a GPU, by what it has to compute and to move."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from device_traffic import divided, hybrid_traffic
from gpus import Gpu
from network_costs import LayerCost, NetworkCosts

_FLOAT32_BYTES = 4

# Momentum reads the weight, its velocity and its gradient, and writes the first two.
_OPTIMIZER_PASSES = 5

# A pixel as the input pipeline hands it over: three bytes.
_PIXEL_BYTES = 3


@dataclasses.dataclass(frozen=True)
class StepBounds:
    """A step of one of several GPUs that share a batch and add their gradients up.

    Attributes:
      operations: of the step.
      activation_bytes: read and written.
      weight_bytes: read in the forward and the backward pass, and gradients written.
      optimizer_bytes: read and written by the update.
      sent_bytes: through a link if nothing overlaps: by each GPU to the others, by a ring where
        gradients are added up, while it receives as many. Where GPUs take turns, by all of them,
        because the links of the others wait.
      least_sent_bytes: the same if all overlaps that can.
      host_bytes: of the images, from the host.
      gpu: whose rates count.
      precision: of the activations.
      batch_size: images of this GPU.
    """

    operations: float
    activation_bytes: float
    weight_bytes: float
    optimizer_bytes: float
    sent_bytes: float
    least_sent_bytes: float
    host_bytes: float
    gpu: Gpu
    precision: str
    batch_size: int

    @property
    def seconds(self) -> dict[str, float]:
        """What each needs at least, if nothing else were to be done."""
        return {
            "operations": self.operations / self.gpu.operations(self.precision),
            "activations": self.activation_bytes / self.gpu.memory,
            "weights": self.weight_bytes / self.gpu.memory,
            "optimizer": self.optimizer_bytes / self.gpu.memory,
            "sending": self.sent_bytes / self.gpu.link,
            "images from the host": self.host_bytes / self.gpu.host,
        }

    @property
    def overlapped_seconds(self) -> float:
        """If arithmetic, memory, links and the host's transfers all overlap: the ceiling."""
        seconds = self.seconds
        memory = seconds["activations"] + seconds["weights"] + seconds["optimizer"]
        return max(
            seconds["operations"],
            memory,
            self.least_sent_bytes / self.gpu.link,
            seconds["images from the host"],
        )

    @property
    def serial_seconds(self) -> float:
        """If nothing overlaps: what a program without any cleverness could reach."""
        return sum(self.seconds.values())


def weight_traffic(parameters: int, precision: str) -> tuple[float, float]:
    """Bytes a step reads and writes for the weights, whatever the batch.

    Args:
      parameters: of the network.
      precision: of activations; weights, gradients and the optimizer's state are float32, and cast
        for the products.

    Returns:
      Those of the forward and the backward pass, gradients included, and those of the update.
    """
    width = _width(precision)
    # Each pass reads the weights once; a narrower copy is made of them first.
    passes = 2 * width + (0 if precision == "float32" else _FLOAT32_BYTES + width)
    return (
        parameters * (passes + _FLOAT32_BYTES),
        parameters * _FLOAT32_BYTES * _OPTIMIZER_PASSES,
    )


def _width(precision: str) -> int:
    return 4 if precision == "float32" else 2


def step_bounds(
    costs: NetworkCosts,
    gpu: Gpu,
    *,
    precision: str,
    batch_size: int,
    num_gpus: int,
    image_size: int,
) -> StepBounds:
    """Counts what a step has to do.

    Args:
      costs: of the network, for one image.
      gpu: the rates.
      precision: float32, bfloat16 or float16; of activations. Weights, gradients and the
        optimizer's state are float32, and cast for the products.
      batch_size: images of each GPU.
      num_gpus: that add their gradients up.
      image_size: height and width, in pixels.
    """
    weight_bytes, optimizer_bytes = weight_traffic(costs.parameters, precision)
    sent = 2 * (num_gpus - 1) / num_gpus * costs.parameters * _FLOAT32_BYTES
    return StepBounds(
        operations=batch_size * costs.training_operations,
        activation_bytes=batch_size * costs.training_activations * _width(precision),
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes,
        sent_bytes=sent,
        least_sent_bytes=sent,
        host_bytes=batch_size * image_size**2 * _PIXEL_BYTES,
        gpu=gpu,
        precision=precision,
        batch_size=batch_size,
    )


def hybrid_bounds(
    costs: NetworkCosts,
    gpu: Gpu,
    convolutions_end: str,
    scheme: str,
    *,
    precision: str,
    batch_size: int,
    num_gpus: int,
    image_size: int,
) -> StepBounds:
    """Counts what a step has to do if the fully connected layers are divided among the GPUs.

    Args:
      costs: of the network, for one image.
      gpu: the rates.
      convolutions_end: the last layer that every GPU has the whole of.
      scheme: of the fully connected layers, which read their weights once in a, and as often as
        there are GPUs in b and c. In b one GPU at a time sends its activities.
      precision: as in `step_bounds`.
      batch_size: images of each GPU.
      num_gpus: K, that share the work.
      image_size: height and width, in pixels.
    """
    stage, rest = divided(costs, convolutions_end)
    # K times the images, and of a layer with weights a Kth of the outputs.
    shares = [
        dataclasses.replace(
            layer,
            inputs=layer.inputs * num_gpus,
            outputs=layer.outputs * (1 if layer.parameters else num_gpus),
        )
        for layer in rest
    ]
    alone = step_bounds(
        NetworkCosts((*stage, *shares)),
        gpu,
        precision=precision,
        batch_size=batch_size,
        num_gpus=1,
        image_size=image_size,
    )
    of_stage = weight_traffic(_parameters(stage), precision)
    of_share = weight_traffic(_parameters(rest) // num_gpus, precision)
    traffic = hybrid_traffic(
        costs, convolutions_end, num_gpus, num_gpus * batch_size, _width(precision)
    )
    return dataclasses.replace(
        alone,
        weight_bytes=of_stage[0] + of_share[0] * (1 if scheme == "a" else num_gpus),
        optimizer_bytes=of_stage[1] + of_share[1],
        sent_bytes=traffic.sent_in_turns if scheme == "b" else traffic.sent_by_each,
        least_sent_bytes=traffic.least_in_turns if scheme == "b" else traffic.sent_by_each,
    )


def _parameters(layers: Sequence[LayerCost]) -> int:
    return sum(layer.parameters for layer in layers)
