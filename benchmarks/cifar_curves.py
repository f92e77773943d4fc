"""Trains variants of one network on CIFAR-10, and draws their errors against epochs.

    python benchmarks/cifar_curves.py --experiment=activations
    python benchmarks/cifar_curves.py --experiment=response_normalization

Each variant is first trained briefly at several learning rates, then with several seeds at the
best of them. A run that is complete is not repeated.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import sys
import time
from typing import Any

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
from absl import flags, logging

from error_curves import Curve, Points, best_rate, epochs_to, plot
from reports import finish, format_table, run
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is compared with what.

    Attributes:
      model_name: the network.
      variants: its options by the name of the variant.
      measured_on: the split whose error is drawn.
      rates: learning rates that are tried.
      goal: an error; how many epochs it takes to fall to it is compared.
      config: further settings of the training.
    """

    model_name: str
    variants: dict[str, list[str]]
    measured_on: str
    rates: list[float]
    goal: float
    config: dict[str, Any]


EXPERIMENTS = {
    # The paper does not say which four layers; three convolutions and a fully connected layer are
    # cuda-convnet's smallest network of that time. No regularisation of any kind (figure 1).
    "activations": Experiment(
        model_name="cifarnet_18pct",
        variants={
            "ReLU": ["activation=relu", "response_normalization=False"],
            "tanh": ["activation=tanh", "response_normalization=False"],
        },
        measured_on="train[:10000]",
        rates=[0.0003, 0.001, 0.003, 0.01, 0.03],
        goal=0.25,
        config={"weight_decay": 0.0, "learning_rate_decay_type": "fixed"},
    ),
    "response_normalization": Experiment(
        model_name="cifarnet_11pct",
        variants={"with": [], "without": ["response_normalization=False"]},
        measured_on="test",
        rates=[0.001],
        goal=0.20,
        config={
            "learning_rate_decay_type": "piecewise",
            "learning_rate_boundaries": ["0.8", "0.9"],
        },
    ),
}

_EXPERIMENT = flags.DEFINE_enum("experiment", "activations", sorted(EXPERIMENTS), "Which one.")
_NUM_EPOCHS = flags.DEFINE_float("num_epochs", 40, "Of the runs that are drawn.", 0.01)
_SEARCH_EPOCHS = flags.DEFINE_float("search_epochs", 8, "Of the runs that find the rate.", 0.01)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Of the runs that are drawn.")
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "TFDS's data_dir.")
_DATASET_STATISTICS = flags.DEFINE_string(
    "dataset_statistics", None, "Of compute_dataset_statistics, for the mean image."
)
_MIXED_PRECISION = flags.DEFINE_string("mixed_precision", "float32", "See train_image_classifier.")
_RUNS_DIR = flags.DEFINE_string("runs_dir", "runs/experiments", "Where the runs are kept.")
_PLOT = flags.DEFINE_string(
    "plot", "cifar_curves.png", "Where the plot goes (PNG; needs matplotlib); empty for none."
)
_CSV = flags.DEFINE_string("csv", "cifar_curves.csv", "Where the curves go; empty for nowhere.")


def main(arguments: list[str]) -> None:
    """Trains, writes and draws."""
    del arguments
    logging.set_verbosity(logging.ERROR)
    name = _EXPERIMENT.value
    experiment = EXPERIMENTS[name]
    started = time.time()
    curves: list[Curve] = []
    for variant in experiment.variants:
        rate = _search(name, variant)
        for seed in map(int, _SEEDS.value):
            points = _train(name, variant, rate, _NUM_EPOCHS.value, seed)
            curves.append(Curve(variant, rate, seed, points))
    if _CSV.value:
        with open(_CSV.value, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["variant", "learning_rate", "seed", "epoch", "error"])
            for curve in curves:
                for epoch, error in curve.points:
                    row = [curve.variant, curve.learning_rate, curve.seed, epoch, f"{error:.4f}"]
                    writer.writerow(row)
    if _PLOT.value:
        title = f"{experiment.model_name}, CIFAR-10"
        plot(curves, experiment.goal, experiment.measured_on, title, _PLOT.value)
    results = [
        {
            "variant": curve.variant,
            "learning_rate": curve.learning_rate,
            "seed": curve.seed,
            "epochs_to_goal": epochs_to(experiment.goal, curve.points),
            "lowest_error": min(error for _, error in curve.points),
            "last_error": curve.points[-1][1],
        }
        for curve in curves
    ]
    finish(
        {
            **dataclasses.asdict(experiment),
            "num_epochs": _NUM_EPOCHS.value,
            "search_epochs": _SEARCH_EPOCHS.value,
            "mixed_precision": _MIXED_PRECISION.value,
            "seconds": round(time.time() - started),
            "results": results,
        },
        [format_table(list(results[0]), [list(row.values()) for row in results])],
    )


def _search(name: str, variant: str) -> float:
    """Trains briefly at each of the rates, if there are several, and returns the best."""
    experiment = EXPERIMENTS[name]
    if len(experiment.rates) == 1:
        return experiment.rates[0]
    found: dict[float, Points] = {}
    for rate in experiment.rates:
        try:
            found[rate] = _train(name, variant, rate, _SEARCH_EPOCHS.value, seed=0)
        except ValueError as error:  # it diverged
            print(f"{variant} at {rate:g}: {error}", file=sys.stderr)
    return best_rate(found, experiment.goal)


def _train(name: str, variant: str, rate: float, num_epochs: float, seed: int) -> Points:
    """Trains, unless it is done already; returns (epoch, error) after each epoch."""
    experiment = EXPERIMENTS[name]
    run = f"{variant}_{rate:g}_{num_epochs:g}_{_MIXED_PRECISION.value}_seed{seed}"
    settings = dict(experiment.config)
    if "learning_rate_boundaries" in settings:  # shares of the whole
        settings["learning_rate_boundaries"] = [
            f"{float(share) * num_epochs:g}" for share in settings["learning_rate_boundaries"]
        ]
    config = TrainingConfig(
        model_name=experiment.model_name,
        network_options=experiment.variants[variant],
        dataset_name="cifar10",
        dataset_dir=_DATASET_DIR.value,
        dataset_statistics=_DATASET_STATISTICS.value,
        validation_split_name=experiment.measured_on,
        train_dir=os.path.join(_RUNS_DIR.value, name, run),
        learning_rate=rate,
        num_epochs=num_epochs,
        seed=seed,
        mixed_precision=_MIXED_PRECISION.value,
        cache=True,
        keep_checkpoints=1,
        log_every_n_steps=50,
        **settings,
    )
    print(f"\n{variant}, rate {rate:g}, seed {seed}", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the report
        train(config)
    metrics = pathlib.Path(str(config.train_dir), "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in metrics]
    errors = {
        entry["epoch"]: 1 - entry["top_1"] for entry in entries if entry["kind"] == "validation"
    }
    return sorted(errors.items())


if __name__ == "__main__":
    run(main)
