"""One pass over a dataset that computes its pixel statistics; it can be interrupted and goes on."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import zipfile
from typing import Any

import numpy as np
import tqdm

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from slimzoo.interruption import signals_noted
from slimzoo.program import beside_this_program
from slimzoo.tool_configuration import StatisticsConfig
from training.dataset_preparation.pixel_statistics import (
    MEAN_IMAGE_NAME,
    STATISTICS_NAME,
    DatasetStatistics,
    PixelSums,
    load_statistics,
    write_statistics,
)
from training.dataset_preparation.squares import describe, read_squares

_PROGRESS_NAME = "sums.npz"
_SAVE_EVERY = 10_000  # images, a few seconds of work, of which a killed process loses no more


def compute_statistics(config: StatisticsConfig) -> DatasetStatistics:
    """Runs the driver: computes the statistics of a split, or goes on with what is left of it.

    Returns:
      The statistics, of each image's central square.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, if the folder
        holds other statistics, or if an image cannot be decoded and such are not to be skipped.
      OSError: if the output cannot be written.
    """
    for flag in ("dataset_name", "output_dir"):
        if not getattr(config, flag):
            raise ValueError(f"--{flag} is not given; --help says what it takes.")
    output_dir = os.path.abspath(os.path.expanduser(str(config.output_dir)))
    split = config.dataset_split_name
    dataset = dataset_factory.get_dataset(str(config.dataset_name), split, config.dataset_dir)
    try:
        os.makedirs(output_dir, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--output_dir {output_dir} cannot be made: {error.strerror}. It takes a folder."
        ) from error
    plan = {
        "dataset_name": dataset.name,
        "dataset_dir": os.path.abspath(os.path.expanduser(config.dataset_dir))
        if dataset.name == "folder" and config.dataset_dir
        else None,
        "split": split,
        "num_examples": dataset.num_examples,
        "image_size": config.image_size,
    }
    _check_nothing_else_is_there(output_dir, plan)
    if os.path.exists(os.path.join(output_dir, STATISTICS_NAME)):
        print("The statistics are complete already: nothing was computed.")
        statistics = load_statistics(output_dir)
    else:
        statistics = _compute(config, dataset, output_dir, plan)
    print(f"{dataset.name}, {split}: {statistics.num_images:,} images, {statistics}")
    print(f"Written: {os.path.join(output_dir, STATISTICS_NAME)}, {MEAN_IMAGE_NAME}")
    folder = f" --dataset_dir={shlex.quote(config.dataset_dir)}" if config.dataset_dir else ""
    part = f" --dataset_split_name={shlex.quote(split)}" if split != "train" else ""
    # Of those whose preprocessing crops from images of this size, as the mean image is.
    model = {32: " --model_name=cifarnet_18pct", 256: " --model_name=alexnet_2012"}
    print(
        f"Train with them:\n  {beside_this_program('train_image_classifier')}"
        f"{model.get(config.image_size, '')} --dataset_name={dataset.name}{folder}{part} "
        f"--dataset_statistics={shlex.quote(output_dir)}"
    )
    return statistics


def _compute(
    config: StatisticsConfig, dataset: ImageDataset, output_dir: str, plan: dict[str, Any]
) -> DatasetStatistics:
    sums, position = _read_progress(output_dir, plan)
    if position:
        print(f"Going on after {position:,} images.")
    rows = read_squares(
        dataset,
        position,
        config.image_size,
        dataset_dir=config.dataset_dir,
        skip_corrupt_images=config.skip_corrupt_images,
    )
    bar = tqdm.tqdm(
        initial=position,
        total=dataset.num_examples,
        desc="computing",
        unit="image",
        disable=None,
        dynamic_ncols=True,
    )
    with bar, signals_noted() as received:
        try:
            for row in rows:
                if row["weight"] > 0:
                    sums.add(row["image"], row["products"])
                else:
                    bar.write(f"Left out: {describe(dataset, position, config.dataset_dir)}")
                position += 1
                bar.update()
                if position % _SAVE_EVERY == 0:
                    _write_progress(output_dir, plan, sums, position)
                if received:
                    raise KeyboardInterrupt(
                        f"Interrupted and saved after {position:,} images. "
                        "The same command goes on."
                    )
        finally:
            _write_progress(output_dir, plan, sums, position)
    described = {name: plan[name] for name in ("dataset_name", "dataset_dir", "num_examples")}
    statistics = write_statistics(output_dir, {plan["split"]: sums}, plan["split"], **described)
    os.remove(os.path.join(output_dir, _PROGRESS_NAME))
    return statistics


def _read_progress(output_dir: str, plan: dict[str, Any]) -> tuple[PixelSums, int]:
    path = os.path.join(output_dir, _PROGRESS_NAME)
    if not os.path.exists(path):
        return PixelSums(plan["image_size"]), 0
    with np.load(path) as arrays:
        return PixelSums.from_arrays(arrays), int(arrays["position"])


def _write_progress(output_dir: str, plan: dict[str, Any], sums: PixelSums, position: int) -> None:
    path = os.path.join(output_dir, _PROGRESS_NAME)
    with open(f"{path}.incomplete", "wb") as file:
        arrays: dict[str, Any] = {
            "plan": np.array(json.dumps(plan)),
            "position": np.array(position),
            **sums.arrays(),
        }
        np.savez(file, **arrays)
    os.replace(f"{path}.incomplete", path)


def _check_nothing_else_is_there(output_dir: str, plan: dict[str, Any]) -> None:
    """Raises ValueError if the folder holds statistics of anything else, finished or not."""
    finished = pathlib.Path(output_dir, STATISTICS_NAME)
    unfinished = pathlib.Path(output_dir, _PROGRESS_NAME)
    there: dict[str, Any] = {}
    there_path = finished if finished.exists() else unfinished
    try:
        if finished.exists():
            there = json.loads(finished.read_text())
        elif unfinished.exists():
            with np.load(unfinished) as arrays:
                there = json.loads(str(arrays["plan"]))
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{there_path} cannot be read: it is damaged. Remove it, or give another --output_dir."
        ) from error
    differences = [
        f"  {name}: {there[name]} there, {value} asked for"
        for name, value in plan.items()
        if name in there and there[name] != value
    ]
    if differences:
        raise ValueError(
            f"{output_dir} holds other statistics, which are not overwritten:\n"
            + "\n".join(differences)
            + "\nGive another --output_dir, or remove them."
        )
