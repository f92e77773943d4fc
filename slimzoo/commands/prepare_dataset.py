"""Writes a dataset once in the size that training crops from, so that epochs read little.

What the paper did (section 2): every photo is resized so that its short side has 256 pixels, and
the central 256x256 are kept. The result is a dataset of TFDS, with its statistics beside it.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Iterator

import tensorflow_datasets as tfds
import tqdm

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from slimzoo.interruption import signals_noted
from slimzoo.program import beside_this_program
from slimzoo.tool_configuration import PreparationConfig
from slimzoo_registry import unknown_name_message
from training.dataset_preparation.directory import PreparationPlan, PreparedDirectory
from training.dataset_preparation.pixel_statistics import (
    DatasetStatistics,
    PixelSums,
    load_statistics,
    write_statistics,
)
from training.dataset_preparation.records import PreparedImage, make_features, write_metadata
from training.dataset_preparation.squares import describe, read_squares


def prepare(config: PreparationConfig) -> DatasetStatistics:
    """Runs the driver: prepares a dataset, or what is left of it, and prints what it has become.

    Returns:
      The statistics of the training split: of the pixels before they are encoded as JPEG.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, if another
        dataset is in the way, or if an image cannot be decoded and such are not to be skipped.
      OSError: if the output cannot be written.
    """
    if not config.dataset_name:
        raise ValueError("--dataset_name is not given; it takes a TFDS name or `folder`.")
    if not config.output_dir:
        raise ValueError("--output_dir is not given; it takes the folder for prepared datasets.")
    output_dir = os.path.abspath(os.path.expanduser(config.output_dir))
    _check_is_folder(output_dir)
    prepared_name = config.prepared_name or _default_name(config)
    _check_name(prepared_name)

    plan, datasets = _make_plan(config, prepared_name)
    directory = PreparedDirectory(output_dir, plan)
    if directory.is_finished():
        print(f"{prepared_name} is complete already: nothing was written.")
    else:
        with directory.being_written():
            if directory.needs_finishing_only():
                directory.finish({})
            else:
                _write_everything(directory, datasets, config)
    return _report(directory, output_dir)


def _make_plan(
    config: PreparationConfig, prepared_name: str
) -> tuple[PreparationPlan, dict[str, ImageDataset]]:
    name = str(config.dataset_name)
    known = dataset_factory.split_sizes(name, config.dataset_dir)
    splits = list(dict.fromkeys(split.strip() for split in config.dataset_split_names)) or [
        split for split, num_examples in known.items() if num_examples
    ]
    for split in splits:
        if split not in known:
            message = unknown_name_message(f"split of {name}", split, known)
            raise ValueError(
                f"{message} Whole splits are prepared; parts such as train[:80%] can be taken of "
                "the prepared dataset."
            )
    if not splits:
        raise ValueError(f"The dataset {name!r} has no examples.")
    datasets = {
        split: dataset_factory.get_dataset(name, split, config.dataset_dir) for split in splits
    }
    is_folder = name.strip() == "folder"
    plan = PreparationPlan(
        prepared_name=prepared_name,
        dataset_name=name,
        dataset_dir=_folder_path(config) if is_folder else None,
        splits={split: dataset.num_examples for split, dataset in datasets.items()},
        class_names=list(datasets[splits[0]].class_names),
        image_size=config.image_size,
        encoding=config.encoding,
        jpeg_quality=config.jpeg_quality if config.encoding == "jpeg" else None,
        examples_per_shard=config.examples_per_shard,
    )
    return plan, datasets


def _write_everything(
    directory: PreparedDirectory, datasets: dict[str, ImageDataset], config: PreparationConfig
) -> None:
    """Writes the shards that are missing, then what is made of all of them."""
    plan = directory.plan
    first_shards = {split: directory.num_complete(split) for split in datasets}
    done = sum(
        shard.stop - shard.start
        for split, first in first_shards.items()
        for shard in directory.shards(split)[:first]
    )
    _check_space(directory, sum(plan.splits.values()) - done)
    if done:
        print(f"Going on after {done:,} images that are prepared already.")
    bar = tqdm.tqdm(
        initial=done,
        total=sum(plan.splits.values()),
        desc="preparing",
        unit="image",
        disable=None,
        dynamic_ncols=True,
    )
    # An interrupt inside TensorFlow's iterator can end in its "Aborted" rather than in ours.
    with bar, signals_noted() as received:
        for split, dataset in datasets.items():
            shards = directory.shards(split)[first_shards[split] :]
            start = shards[0].start if shards else dataset.num_examples
            images = _read_images(dataset, start, plan, config)
            for shard in shards:
                count = shard.stop - shard.start
                for image in shard.write(itertools.islice(images, count), plan.image_size):
                    bar.update()
                    if image.image is None:
                        bar.write(
                            f"Left out: {describe(dataset, image.position, config.dataset_dir)}"
                        )
                    if received:
                        raise KeyboardInterrupt(
                            "Interrupted. The same command goes on after the last complete file."
                        )

    sums: dict[str, PixelSums] = {}
    lengths: dict[str, list[int]] = {}
    skipped: dict[str, list[str]] = {}
    for split, dataset in datasets.items():
        sums[split] = PixelSums(plan.image_size)
        lengths[split], skipped[split] = [], []
        for shard in directory.shards(split):
            shard_sums, positions = shard.read_sums()
            sums[split].merge(shard_sums)
            lengths[split].append(shard_sums.num_images)
            skipped[split] += [
                describe(dataset, position, config.dataset_dir) for position in positions
            ]
        if not sums[split].num_images:
            raise ValueError(f"No image of {plan.dataset_name}, split {split}, can be decoded.")
    write_statistics(
        str(directory.incomplete), sums, plan.training_split, dataset_name=plan.dataset_name
    )
    write_metadata(
        directory.incomplete,
        make_features(plan.image_size, plan.encoding, plan.class_names),
        lengths,
        {split: directory.shards(split) for split in datasets},
        description=f"{plan.dataset_name}: short side {plan.image_size}, central square.",
    )
    directory.finish(skipped)


def _read_images(
    dataset: ImageDataset, start: int, plan: PreparationPlan, config: PreparationConfig
) -> Iterator[PreparedImage]:
    """Decodes and resizes the images of a split from a position on, in order."""
    rows = read_squares(
        dataset,
        start,
        plan.image_size,
        dataset_dir=config.dataset_dir,
        skip_corrupt_images=config.skip_corrupt_images,
        jpeg_quality=plan.jpeg_quality,
    )
    for position, row in enumerate(rows, start):
        is_decoded = row["weight"] > 0
        yield PreparedImage(
            position=position,
            image=row["image"] if is_decoded else None,
            products=row["products"],
            encoded=row["encoded"] if "encoded" in row else row["image"].tobytes(),
            label=int(row["label"]),
        )


def _report(directory: PreparedDirectory, output_dir: str) -> DatasetStatistics:
    """Prints where the finished dataset is, what it is, and how to train on it."""
    plan, folder = directory.plan, directory.folder
    statistics = load_statistics(str(folder))
    info = tfds.builder_from_directory(str(folder)).info
    for split, left_out in directory.skipped_images().items():
        if left_out:
            shown = "".join(f"\n  {description}" for description in left_out[:10])
            more = f"\n  and {len(left_out) - 10:,} more" if len(left_out) > 10 else ""
            print(f"Left out of {split}, as they cannot be decoded: {len(left_out):,}{shown}{more}")
    sizes = ", ".join(f"{split} {info.splits[split].num_examples:,}" for split in plan.splits)
    num_files = sum(info.splits[split].num_shards for split in plan.splits)
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"{plan.prepared_name}: {sizes} images of {plan.image_size}x{plan.image_size} "
        f"({plan.encoding}) in {num_files:,} files, {num_bytes / 1e6:,.1f} MB, in {folder}"
    )
    print(f"{plan.training_split}: {statistics}")
    driver = beside_this_program("train_image_classifier")
    flags = f"--dataset_name={plan.prepared_name} --dataset_dir={shlex.quote(output_dir)}"
    if len(plan.splits) == 1:
        split = plan.training_split
        flags += f" --dataset_split_name='{split}[:80%]' --validation_split_name='{split}[80%:]'"
    print(f"Train on it:\n  {driver} {flags}")
    return statistics


def _check_is_folder(path: str) -> None:
    existing = path
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise ValueError(f"--output_dir is {path}, but {existing} is a file, not a folder.")
    if not os.access(existing, os.W_OK):
        raise ValueError(f"--output_dir is {path}, but {existing} cannot be written to.")


def _check_space(directory: PreparedDirectory, num_images: int) -> None:
    """Raises OSError if raw pixels will not fit; how long JPEGs will be is not known before."""
    plan = directory.plan
    needed = num_images * 3 * plan.image_size**2
    free = shutil.disk_usage(directory.incomplete).free
    if plan.encoding == "raw" and needed > free:
        raise OSError(
            f"{num_images:,} raw images take {needed / 1e9:,.1f} GB, but {free / 1e9:,.1f} GB are "
            f"free in {directory.incomplete}. Give another --output_dir, or --encoding=jpeg."
        )


def _default_name(config: PreparationConfig) -> str:
    name = str(config.dataset_name).strip().partition(":")[0]
    if name == "folder":
        name = os.path.basename(_folder_path(config) or "")
    suffix = "_raw" if config.encoding == "raw" else ""
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return f"{name}_{config.image_size}{suffix}"


def _folder_path(config: PreparationConfig) -> str | None:
    return os.path.abspath(os.path.expanduser(config.dataset_dir)) if config.dataset_dir else None


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"--prepared_name is {name!r}; a name of TFDS has lower-case letters, digits and "
            "underscores, and begins with a letter."
        )
    # Under such a name TFDS and this package would look for something else.
    if name == "folder" or name in tfds.list_builders(with_community_datasets=False):
        raise ValueError(
            f"--prepared_name is {name!r}, which is the name of another dataset; "
            f"{name}_256 would do."
        )
