"""Where a network's ceiling lies on a GPU that need not be there: a plan on paper.

    python benchmarks/gpu_ceiling.py --gpu=h100 --num_gpus=8 --batch_size=128
    python benchmarks/gpu_ceiling.py --tflops=400 --bandwidth_gbps=2000 --link_gbps=100

Prints operations, bytes of activations, weights, optimizer and those sent to other GPUs, how long
each takes at least, the images/s that follow, and what the host then has to read and decode. The
counts are the network's own; the GPU's rates are its data sheet's, of which programs reach a part:
give --efficiency for the share that they reach.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from absl import flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
from gpus import GPUS, Gpu
from nets import nets_factory
from network_costs import count_costs
from reports import finish, format_table, run
from step_bounds import StepBounds, step_bounds

_GPU = flags.DEFINE_enum("gpu", "h100", sorted(GPUS), "Whose data sheet counts.")
_TFLOPS = flags.DEFINE_float(
    "tflops", None, "10^12 operations/s in --precision, in place of the data sheet's.", 0.001
)
_BANDWIDTH = flags.DEFINE_float(
    "bandwidth_gbps", None, "10^9 bytes/s of the memory, in place of the data sheet's.", 0.001
)
_LINK = flags.DEFINE_float(
    "link_gbps",
    None,
    "10^9 bytes/s to the other GPUs in one direction, in place of the data sheet's; across hosts, "
    "the network's share of each GPU.",
    0.001,
)
_MODEL = flags.DEFINE_string("model", "alexnet", "The network.")
_PRECISION = flags.DEFINE_enum(
    "precision", "bfloat16", ["float32", "bfloat16", "float16"], "Of the activations."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images of each GPU.", lower_bound=1)
_NUM_GPUS = flags.DEFINE_integer("num_gpus", 1, "GPUs that train together.", lower_bound=1)
_EFFICIENCY = flags.DEFINE_float(
    "efficiency", 1.0, "Share of the rates that is reached.", lower_bound=0.01, upper_bound=1.0
)
_DECODE_RATE = flags.DEFINE_float(
    "decode_rate_per_core",
    None,
    "Images/s that a core of the host prepares, as input_throughput.py measures them: "
    "prints how many cores are needed.",
    0.001,
)
_JPEG_BYTES = flags.DEFINE_integer(
    "jpeg_bytes", 110_000, "Bytes of an encoded image; ImageNet's mean is 110,000.", lower_bound=1
)


def main(arguments: list[str]) -> None:
    """Counts and prints."""
    del arguments
    network_fn = nets_factory.get_network_fn(_MODEL.value)
    costs = count_costs(network_fn)
    bounds = step_bounds(
        costs,
        _chosen_gpu(),
        precision=_PRECISION.value,
        batch_size=_BATCH_SIZE.value,
        num_gpus=_NUM_GPUS.value,
        image_size=network_fn.default_image_size,
    )
    overlapped = _BATCH_SIZE.value / bounds.overlapped_seconds * _NUM_GPUS.value
    content: dict[str, Any] = {
        "model": _MODEL.value,
        "precision": _PRECISION.value,
        "gpu": _GPU.value,
        "rates": dataclasses.asdict(bounds.gpu),
        "num_gpus": _NUM_GPUS.value,
        "batch_size_per_gpu": _BATCH_SIZE.value,
        "network": {
            "multiply_adds_per_image": costs.multiply_adds,
            "parameters": costs.parameters,
            "training_operations_per_image": costs.training_operations,
            "training_activations_per_image": costs.training_activations,
        },
        "step": {
            field.name: getattr(bounds, field.name)
            for field in dataclasses.fields(StepBounds)
            if field.name.endswith("bytes") or field.name == "operations"
        },
        "seconds": bounds.seconds,
        "images_per_second": overlapped,
        "images_per_second_if_nothing_overlaps": _BATCH_SIZE.value
        / bounds.serial_seconds
        * _NUM_GPUS.value,
        "host": {
            "images_per_second": overlapped,
            "bytes_to_gpus_per_second": overlapped / _BATCH_SIZE.value * bounds.host_bytes,
            "jpeg_bytes_per_second": overlapped * _JPEG_BYTES.value,
        },
    }
    if _DECODE_RATE.value:
        content["host"]["cores"] = math.ceil(overlapped / _DECODE_RATE.value)
    finish(content, _tables(content))


def _chosen_gpu() -> Gpu:
    gpu = GPUS[_GPU.value]
    if _TFLOPS.value:
        given = _TFLOPS.value * 1e12
        gpu = dataclasses.replace(gpu, float32=given, bfloat16=given, has_bfloat16=True)
    if _BANDWIDTH.value:
        gpu = dataclasses.replace(gpu, memory=_BANDWIDTH.value * 1e9)
    if _LINK.value:
        gpu = dataclasses.replace(gpu, link=_LINK.value * 1e9)
    rates = {name: getattr(gpu, name) for name in ("float32", "bfloat16", "memory", "link", "host")}
    return dataclasses.replace(
        gpu, **{name: rate * _EFFICIENCY.value for name, rate in rates.items()}
    )


def _tables(content: dict[str, Any]) -> list[str]:
    step, seconds, host = content["step"], content["seconds"], content["host"]
    amounts = {
        "operations": f"{step['operations'] / 1e9:,.1f} GFLOP",
        **{
            name: f"{step[key] / 1e6:,.1f} MB"
            for name, key in (
                ("activations", "activation_bytes"),
                ("weights", "weight_bytes"),
                ("optimizer", "optimizer_bytes"),
                ("sending", "sent_bytes"),
                ("images from the host", "host_bytes"),
            )
        },
    }
    cores = f"\n  {host['cores']:,} cores to prepare them" if "cores" in host else ""
    network = content["network"]
    return [
        f"{content['model']}: {network['multiply_adds_per_image']:,} multiply-adds forward, "
        f"{network['parameters']:,} parameters, "
        f"{network['training_operations_per_image'] / 1e9:.2f} GFLOP an image in training.",
        format_table(
            [f"a step of {content['batch_size_per_gpu']} images on each GPU", "", "ms at least"],
            [[name, amounts[name], 1000 * seconds[name]] for name in amounts],
        ),
        "Activations, weights and optimizer share the memory: "
        f"{1000 * sum(seconds[name] for name in ('activations', 'weights', 'optimizer')):.3g} ms.",
        f"{content['num_gpus']} x {content['gpu']}, {content['precision']}:\n"
        f"  {content['images_per_second']:,.0f} images/s if everything overlaps (the ceiling)\n"
        f"  {content['images_per_second_if_nothing_overlaps']:,.0f} images/s if nothing does",
        f"The host then has to give {host['images_per_second']:,.0f} images/s:\n"
        f"  {host['bytes_to_gpus_per_second'] / 1e9:.2f} GB/s to the GPUs\n"
        f"  {host['jpeg_bytes_per_second'] / 1e9:.2f} GB/s of JPEGs from its disks{cores}",
    ]


if __name__ == "__main__":
    run(main)
