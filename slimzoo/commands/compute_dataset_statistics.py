"""Computes the mean, the mean image and the color statistics of a dataset."""

from __future__ import annotations

import dataclasses
import os
import shlex

from image_datasets import dataset_factory
from slimzoo import program
from slimzoo.configuration import SourceConfig, respect_exif_flag
from slimzoo.flags import Theme, check_positive, flag, required_flag
from slimzoo.interruption import signals_noted
from slimzoo.output_folders import absolute, made_folder
from slimzoo.program import beside_this_program
from slimzoo_registry import import_modules
from training.dataset_preparation.counting import (
    check_nothing_else_is_there,
    compute_statistics,
    plan_there,
)
from training.dataset_preparation.pixel_statistics import (
    MEAN_IMAGE_NAME,
    STATISTICS_NAME,
    DatasetStatistics,
    load_statistics,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatisticsConfig(SourceConfig):
    """What `compute_dataset_statistics` does."""

    first_flags = (
        "dataset_name",
        "dataset_dir",
        "dataset_split_name",
        "output_dir",
        "image_size",
    )

    dataset_name: str = required_flag(
        "The dataset: a TFDS name, `folder` for a folder of images per class, or `tfrecord` for "
        "records as TF-Slim's scripts write them.",
        theme=Theme.IMAGES,
    )
    dataset_split_name: str = flag(
        "train",
        "Split over which the statistics are computed, in TFDS syntax, for example train or "
        "train[:80%].",
        theme=Theme.IMAGES,
    )
    output_dir: str = required_flag(
        "The folder for dataset_statistics.json and mean_image.npy; it is then the "
        "--dataset_statistics of train_image_classifier.",
        theme=Theme.OUTPUT,
    )
    image_size: int = flag(
        256,
        "Side in pixels of the square over which the statistics are computed. Each image is "
        "resized until its short side has this length, and the central square is used. For "
        "CIFAR give 32.",
        theme=Theme.IMAGES,
    )

    respect_exif: bool | None = respect_exif_flag()

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(image_size=self.image_size)


def main() -> None:
    """Runs the command."""
    program.run(StatisticsConfig, compute)


def compute(config: StatisticsConfig) -> DatasetStatistics:
    """Runs the command: computes the statistics of a split, or goes on with what is left of it.

    Returns:
      The statistics, of each image's central square.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, if the folder
        holds other statistics, or if an image cannot be decoded and such are not to be skipped.
      OSError: if the output cannot be written.
    """
    output_dir = made_folder("output_dir", absolute(config.output_dir))
    import_modules(config.import_modules)
    split = config.dataset_split_name
    dataset = dataset_factory.get_dataset(config.dataset_name, split, config.dataset_dir)
    is_folder = dataset_factory.is_named_by_folder(dataset.name, config.dataset_dir)
    plan = {
        "dataset_name": dataset.name,
        "dataset_dir": absolute(config.dataset_dir) if is_folder and config.dataset_dir else None,
        "split": split,
        "num_examples": dataset.num_examples,
        "image_size": config.image_size,
    }
    respect_exif = config.respect_exif
    if respect_exif is None:
        begun = plan_there(output_dir)
        respect_exif = (
            begun.get("respect_exif", False)
            if begun
            else dataset_factory.respects_exif(dataset.name, config.dataset_dir)
        )
    plan["respect_exif"] = respect_exif
    check_nothing_else_is_there(output_dir, plan)
    if os.path.exists(os.path.join(output_dir, STATISTICS_NAME)):
        print("The statistics are complete already: nothing was computed.")
        statistics = load_statistics(output_dir)
    else:
        with signals_noted() as signals:
            statistics = compute_statistics(
                dataset,
                output_dir,
                plan,
                dataset_dir=config.dataset_dir,
                skip_corrupt_images=config.skip_corrupt_images,
                max_image_pixels=config.max_image_pixels,
                stop_requested=lambda: bool(signals),
            )
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
