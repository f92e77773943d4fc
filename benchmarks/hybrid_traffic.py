"""Bytes that devices send each other in a step, under `mirrored` and under `hybrid`, a table.

    python benchmarks/hybrid_traffic.py                       # alexnet, 2, 4 and 8 devices
    python benchmarks/hybrid_traffic.py --model=vgg_16 --devices=2 --batch_size=64

Each number is computed from the sizes of layers, and counted in the step's graph, which is traced
for so many parts of the CPU and not run; if the two differ by more than 1 in 10,000, the program
ends with an error. Beside them stands what each device has of the first fully connected layer, and
how many images/s eight GPUs could train at most, by the data sheet of --gpu, if its links are
NVLink or PCIe.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from typing import Any

from absl import flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
import tensorflow as tf

from device_traffic import (
    counted_bytes,
    hybrid_traffic,
    mirrored_traffic,
    sent_before_the_first_product,
)
from gpus import GPUS
from nets import nets_factory
from network_costs import NetworkCosts, count_costs
from preprocessing.preprocessing_factory import get_preprocessing
from reports import finish, format_table, run
from step_bounds import hybrid_bounds, step_bounds
from training import devices
from training.hybrid.hybrid_network import HybridNetworkFn
from training.hybrid.hybrid_step import ACTIVITIES, make_train_step
from training.hybrid.schemes import SCHEMES, HybridSettings
from training.hybrid.sharded_variable import ShardedVariable
from training.optimizers import OptimizerSettings
from training.train_step import DTYPE_POLICIES
from training.training_state import TrainingState, make_training_state

_MODEL = flags.DEFINE_string("model", "alexnet", "The network.")
_DEVICES = flags.DEFINE_multi_integer(
    "devices", [2, 4, 8], "How many share a batch.", lower_bound=2
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images of each device.", lower_bound=1)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16", "float16"], "Of the activations."
)
_GPU = flags.DEFINE_enum("gpu", "h100", sorted(GPUS), "Whose data sheet counts for the ceilings.")
_TOLERANCE = 1e-4


def main(arguments: list[str]) -> None:
    """Counts and prints."""
    del arguments
    devices.make_strategy("hybrid", max(_DEVICES.value))  # the CPU is divided once
    network_fn = nets_factory.get_network_fn(_MODEL.value)
    costs = count_costs(network_fn)
    width = tf.as_dtype(_PRECISION.value).size
    end = network_fn.convolutions_end
    if end is None:
        raise ValueError(f"{_MODEL.value} has no fully connected layers that hybrid could divide.")
    rows, shares = [], []
    for num_devices in sorted(_DEVICES.value):
        batch_size = num_devices * _BATCH_SIZE.value
        for name in ("mirrored", *SCHEMES):
            state, graph = _traced(name, num_devices, batch_size)
            if name == "mirrored":
                computed = mirrored_traffic(costs, num_devices)
                before = 0.0
            else:
                computed = hybrid_traffic(costs, end, num_devices, batch_size, width)
                before = sent_before_the_first_product(
                    name, costs, end, num_devices, batch_size, width
                )
                _check(f"{name} on {num_devices} devices, at first", before, _busiest(graph))
            counted = sum(counted_bytes(graph).values())
            _check(f"{name} on {num_devices} devices", computed.total, counted)
            rows.append(
                {
                    "devices": num_devices,
                    "strategy": name,
                    **dataclasses.asdict(computed),
                    "computed": computed.total,
                    "counted": counted,
                    "before_the_first_product": before,
                }
            )
        shares += _shares_of_the_first_layer(state)
    content = {
        "model": _MODEL.value,
        "precision": _PRECISION.value,
        "batch_size_per_device": _BATCH_SIZE.value,
        "bytes": rows,
        "first_fully_connected_layer": shares,
        "gpu": _GPU.value,
        "images_per_second_at_most": _ceilings(costs, end, network_fn.default_image_size),
    }
    finish(content, _tables(content))


def _check(what: str, computed: float, counted: float) -> None:
    """Raises ValueError if bytes that are computed are not those that are counted."""
    if abs(counted - computed) > _TOLERANCE * computed:
        raise ValueError(f"{what}: {computed:,} bytes computed, {counted:,} counted.")


def _busiest(graph: tf.Graph) -> int:
    """Bytes that one device sends before the first pass, where most are sent."""
    sent: collections.Counter[str] = collections.Counter()
    for (source, _), num_bytes in counted_bytes(graph, ACTIVITIES).items():
        sent[source] += num_bytes
    return max(sent.values())


def _shares_of_the_first_layer(state: TrainingState) -> list[dict[str, Any]]:
    """Where the parts of its weights are, and those of what the optimizer keeps of them."""
    assert isinstance(state.network_fn, HybridNetworkFn)
    stage = state.network_fn.fully_connected
    weights = stage.variables[stage.layers[0].name][0]
    kept = [
        one
        for one in state.optimizer.variables
        if isinstance(one, ShardedVariable) and one.shape == weights.shape
    ]
    return [
        {
            "devices": len(variable.shards),
            "variable": variable.path,
            "shape": list(variable.shape),
            "bytes": 4 * math.prod(variable.shape),
            "shards": [
                {
                    "device": shard.value.device.rpartition("device:")[2],
                    "shape": list(shard.shape),
                    "bytes": 4 * math.prod(shard.shape),
                }
                for shard in variable.shards
            ],
        }
        for variable in (weights, *kept)
    ]


def _traced(name: str, num_devices: int, batch_size: int) -> tuple[TrainingState, tf.Graph]:
    """What trains over several parts of the CPU, and the graph of a step."""
    hybrid = None if name == "mirrored" else HybridSettings(hybrid_scheme=name)
    strategy = devices.make_strategy("hybrid" if hybrid else "mirrored", num_devices)
    state = make_training_state(
        lambda: nets_factory.get_network_fn(
            _MODEL.value, dtype_policy=DTYPE_POLICIES[_PRECISION.value]
        ),
        OptimizerSettings(),
        strategy,
        hybrid=hybrid,
    )
    network_fn = state.network_fn
    size = network_fn.default_image_size
    preprocessing = get_preprocessing(network_fn.preprocessing_name, is_training=False)
    step = make_train_step(state, preprocessing, strategy, hybrid, batch_size=batch_size)
    example = {
        "image": tf.zeros([size, size, network_fn.channels], tf.uint8),
        "label": tf.zeros([], tf.int64),
        "weight": tf.ones([]),
    }
    batches = tf.data.Dataset.from_tensors(example).repeat().batch(batch_size, drop_remainder=True)
    function = step.__call__.get_concrete_function(
        strategy.experimental_distribute_dataset(batches).element_spec,
        tf.TensorSpec([]),
        tf.TensorSpec([], tf.int32),
    )
    return state, function.graph


def _ceilings(costs: NetworkCosts, end: str, image_size: int) -> list[dict[str, Any]]:
    """Of eight GPUs whose links are NVLink, and of eight whose links are PCIe."""
    ceilings = []
    gpu = GPUS[_GPU.value]
    for link, rate in (("NVLink", gpu.link), ("PCIe", gpu.host)):
        for name in ("mirrored", *SCHEMES):
            count = functools.partial(
                step_bounds if name == "mirrored" else hybrid_bounds,
                costs,
                dataclasses.replace(gpu, link=rate),
                precision=_PRECISION.value,
                batch_size=_BATCH_SIZE.value,
                num_gpus=8,
                image_size=image_size,
            )
            bounds = count() if name == "mirrored" else count(convolutions_end=end, scheme=name)
            images = 8 * _BATCH_SIZE.value
            ceilings.append(
                {
                    "link": link,
                    "strategy": name,
                    "sending_seconds": bounds.seconds["sending"],
                    "least_sending_seconds": bounds.least_sent_bytes / rate,
                    "images_per_second": images / bounds.overlapped_seconds,
                    "images_per_second_if_nothing_overlaps": images / bounds.serial_seconds,
                }
            )
    return ceilings


def _of(variable: dict[str, Any]) -> str:
    return f"{variable['shape']}, {variable['bytes'] / 1e6:,.1f} MB"


def _tables(content: dict[str, Any]) -> list[str]:
    megabytes = [
        [
            row["devices"],
            row["strategy"],
            *(
                f"{row[key] / 1e6:,.1f}"
                for key in (
                    "activities",
                    "between_layers",
                    "gradients",
                    "computed",
                    "counted",
                    "before_the_first_product",
                )
            ),
        ]
        for row in content["bytes"]
    ]
    ceilings = [
        [
            row["link"],
            row["strategy"],
            f"{1000 * row['sending_seconds']:.3g}",
            f"{1000 * row['least_sending_seconds']:.3g}",
            f"{row['images_per_second']:,.0f}",
            f"{row['images_per_second_if_nothing_overlaps']:,.0f}",
        ]
        for row in content["images_per_second_at_most"]
    ]
    shares = [
        [
            one["variable"],
            _of(one),
            one["devices"],
            "; ".join(sorted({_of(shard) for shard in one["shards"]})),
        ]
        for one in content["first_fully_connected_layer"]
    ]
    return [
        f"{content['model']}, {content['precision']}, {content['batch_size_per_device']} images of "
        "each device: MB that all devices send in a step. The last column is what the busiest link "
        "carries before the fully connected layers can begin.",
        format_table(
            [
                "devices",
                "",
                "activities",
                "between",
                "gradients",
                "computed",
                "counted",
                "at first",
            ],
            megabytes,
        ),
        format_table(["", "whole", "devices", "each has"], shares),
        f"8 x {content['gpu']}, from its data sheet:",
        format_table(
            ["link", "", "ms sending", "at least", "images/s at most", "without overlap"], ceilings
        ),
    ]


if __name__ == "__main__":
    run(main)
