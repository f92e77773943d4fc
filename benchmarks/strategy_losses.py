"""Losses of the same training over one device, replicas, and `hybrid` in its three schemes.

    python benchmarks/strategy_losses.py                 # 20 steps of cifarnet on `shapes`
    python benchmarks/strategy_losses.py --model=alexnet_v2 --steps=5

Without dropout, which replicas cannot draw as one device does, all curves are the same but for the
order in which numbers are added. The table has the losses of one device, and how far away the
others are at most. Devices are parts of the CPU, or GPUs where there are as many.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from typing import Any

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
import numpy as np
from absl import flags, logging

from reports import finish, format_table, run
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training import devices
from training.hybrid.schemes import SCHEMES

_MODEL = flags.DEFINE_string("model", "cifarnet", "The network.")
_STEPS = flags.DEFINE_integer("steps", 20, "Of each training.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images of all devices.", lower_bound=1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.01, "Of all steps.", 0)
_DATASET_NAME = flags.DEFINE_string("dataset_name", "shapes", "See train_image_classifier.")
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "See train_image_classifier.")


def main(arguments: list[str]) -> None:
    """Trains and prints."""
    del arguments
    logging.set_verbosity(logging.ERROR)
    devices.make_strategy(num_replicas=4)  # the CPU is divided once
    variants: dict[str, dict[str, Any]] = {"1 device": {"num_replicas": 1}}
    for num_devices in (2, 4):
        variants[f"mirrored, {num_devices}"] = {"num_replicas": num_devices}
        for scheme in SCHEMES:
            variants[f"hybrid {scheme}, {num_devices}"] = {
                "num_replicas": num_devices,
                "distribution_strategy": "hybrid",
                "hybrid_scheme": scheme,
            }
    losses = {name: _losses(**options) for name, options in variants.items()}
    expected = losses["1 device"]
    results: list[dict[str, Any]] = [
        {
            "variant": name,
            "losses": values,
            "largest_difference": float(np.abs(np.subtract(values, expected)).max()),
        }
        for name, values in losses.items()
    ]
    shown = sorted({0, _STEPS.value // 2, _STEPS.value - 1})
    content = {"model": _MODEL.value, "batch_size": _BATCH_SIZE.value, "results": results}
    rows = [
        [
            row["variant"],
            *(f"{row['losses'][step]:.6f}" for step in shown),
            f"{row['largest_difference']:.1e}",
        ]
        for row in results
    ]
    header = ["", *(f"step {step + 1}" for step in shown), "farthest from 1 device"]
    finish(content, [format_table(header, rows)])


def _losses(**options: Any) -> list[float]:
    """The loss at each step."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(
            model_name=_MODEL.value,
            network_options=["dropout_keep_prob=1.0"],
            dataset_name=_DATASET_NAME.value,
            dataset_dir=_DATASET_DIR.value,
            validation_split_name="none",
            train_dir=folder,
            batch_size=_BATCH_SIZE.value,
            max_number_of_steps=_STEPS.value,
            learning_rate=_LEARNING_RATE.value,
            learning_rate_decay_type="fixed",
            log_every_n_steps=1,
            **options,
        )
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            train(config)
        lines = pathlib.Path(folder, "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if line["kind"] == "train"]


if __name__ == "__main__":
    run(main)
