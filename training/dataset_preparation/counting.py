"""One pass over a dataset that computes its pixel statistics; it can be interrupted and goes on."""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tqdm

from image_datasets.image_dataset import ImageDataset
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from training.dataset_preparation.pixel_statistics import (
    STATISTICS_NAME,
    DatasetStatistics,
    PixelSums,
    write_statistics,
)
from training.dataset_preparation.squares import left_out_message, read_squares
from training.storage.json_files import read_object

_PROGRESS_NAME = "sums.npz"


def compute_statistics(
    dataset: ImageDataset,
    output_dir: str,
    plan: Mapping[str, Any],
    *,
    dataset_dir: str | None = None,
    skip_corrupt_images: bool = False,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
    stop_requested: Callable[[], bool] = lambda: False,
    save_every: int = 10_000,
) -> DatasetStatistics:
    """Computes the statistics of each image's central square, or goes on with what is left.

    Args:
      dataset: the split.
      output_dir: an existing folder; its unfinished pass over the same plan is taken up.
      plan: what is asked for: "split", "image_size", "respect_exif" if photos are turned as their
        cameras noted, and what else the JSON file says.
      dataset_dir: of the source, to name an image by.
      skip_corrupt_images: whether to leave out images that cannot be read or decoded.
      max_image_pixels: images that have more cannot be decoded; 0 sets no limit.
      stop_requested: asked after each image; if it says yes, the pass is saved and left.
      save_every: images between saves: a few seconds of work, of which a killed process loses no
        more.

    Raises:
      ValueError: if an image cannot be read or decoded and such are not to be skipped.
      KeyboardInterrupt: if the pass was left.
    """
    sums, position = _read_progress(output_dir, plan)
    if position:
        print(f"Going on after {position:,} images.")
    rows = read_squares(
        dataset,
        position,
        plan["image_size"],
        dataset_dir=dataset_dir,
        skip_corrupt_images=skip_corrupt_images,
        max_image_pixels=max_image_pixels,
        respect_exif=plan.get("respect_exif", False),
    )
    bar = tqdm.tqdm(
        initial=position,
        total=dataset.num_examples,
        desc="computing",
        unit="image",
        disable=None,
        dynamic_ncols=True,
    )
    with bar:
        try:
            for row in rows:
                if row["weight"] > 0:
                    sums.add(row["image"], row["products"])
                else:
                    bar.write(left_out_message(dataset, position, dataset_dir, row["unread"]))
                position += 1
                bar.update()
                if position % save_every == 0:
                    _write_progress(output_dir, plan, sums, position)
                if stop_requested():
                    raise KeyboardInterrupt(
                        f"Interrupted and saved after {position:,} images. "
                        "The same command continues."
                    )
        finally:
            _write_progress(output_dir, plan, sums, position)
    described = {name: plan[name] for name in plan if name not in ("split", "image_size")}
    statistics = write_statistics(output_dir, {plan["split"]: sums}, plan["split"], **described)
    os.remove(os.path.join(output_dir, _PROGRESS_NAME))
    return statistics


def _read_progress(output_dir: str, plan: Mapping[str, Any]) -> tuple[PixelSums, int]:
    path = os.path.join(output_dir, _PROGRESS_NAME)
    if not os.path.exists(path):
        return PixelSums(plan["image_size"]), 0
    with np.load(path) as arrays:
        return PixelSums.from_arrays(arrays), int(arrays["position"])


def _write_progress(
    output_dir: str, plan: Mapping[str, Any], sums: PixelSums, position: int
) -> None:
    path = os.path.join(output_dir, _PROGRESS_NAME)
    with open(f"{path}.incomplete", "wb") as file:
        arrays: dict[str, Any] = {
            "plan": np.array(json.dumps(dict(plan))),
            "position": np.array(position),
            **sums.arrays(),
        }
        np.savez(file, **arrays)
    os.replace(f"{path}.incomplete", path)


def plan_there(output_dir: str) -> dict[str, Any]:
    """Returns what the statistics in a folder are of, finished or not; empty without any.

    Raises:
      ValueError: if they are damaged.
    """
    finished = pathlib.Path(output_dir, STATISTICS_NAME)
    unfinished = pathlib.Path(output_dir, _PROGRESS_NAME)
    there: dict[str, Any] = {}
    there_path = finished if finished.exists() else unfinished
    try:
        if finished.exists():
            there = read_object(finished)
        elif unfinished.exists():
            with np.load(unfinished) as arrays:
                there = dict(json.loads(str(arrays["plan"])))
    except (ValueError, TypeError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{there_path} cannot be read: it is damaged. Remove it, or give another --output_dir."
        ) from error
    return there


def check_nothing_else_is_there(output_dir: str, plan: Mapping[str, Any]) -> None:
    """Raises ValueError if the folder holds statistics of anything else, finished or not."""
    there = plan_there(output_dir)
    if there:
        there.setdefault("respect_exif", False)  # as it was before there was a choice
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
