"""Writes a dataset once in the size that training crops from, so that epochs read little.

What the paper did (section 2): every photo is resized so that its short side has 256 pixels, and
the central 256x256 are kept. The result is a dataset of TFDS, with its statistics beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping

import tqdm

from image_datasets.image_dataset import ImageDataset
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from training.dataset_preparation.directory import PreparationPlan, PreparedDirectory
from training.dataset_preparation.pixel_statistics import PixelSums, write_statistics
from training.dataset_preparation.records import (
    PreparedImage,
    Shard,
    make_features,
    write_metadata,
)
from training.dataset_preparation.squares import describe, left_out_message, read_squares


def write_dataset(
    directory: PreparedDirectory,
    datasets: Mapping[str, ImageDataset],
    *,
    dataset_dir: str | None = None,
    skip_corrupt_images: bool = False,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Writes the shards that are missing, then what is made of all of them.

    Args:
      directory: where it goes, being written by this process.
      datasets: the splits of the source.
      dataset_dir: of the source, to name an image by.
      skip_corrupt_images: whether to leave out images that cannot be read or decoded.
      max_image_pixels: images that have more cannot be decoded; 0 sets no limit.
      stop_requested: asked after each image; if it says yes, the work is left.

    Raises:
      ValueError: if an image cannot be read or decoded, or none of a split can.
      OSError: if the output cannot be written.
      KeyboardInterrupt: if the work was left; complete shards stay.
    """
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
    with bar:
        for split, dataset in datasets.items():
            shards = directory.shards(split)[first_shards[split] :]
            start = shards[0].start if shards else dataset.num_examples
            images = _read_images(
                dataset, start, plan, dataset_dir, skip_corrupt_images, max_image_pixels
            )
            for shard in shards:
                for image in _written(shard, images, plan, stop_requested):
                    bar.update()
                    if image.image is None:
                        bar.write(
                            left_out_message(dataset, image.position, dataset_dir, image.unread)
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
            skipped[split] += [describe(dataset, position, dataset_dir) for position in positions]
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


def write_lost_shards(
    directory: PreparedDirectory,
    datasets: Mapping[str, ImageDataset],
    *,
    dataset_dir: str | None = None,
    skip_corrupt_images: bool = False,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Writes the files again that are not in the finished dataset any more.

    Args:
      directory: of the dataset, being written by this process.
      datasets: the splits of the source.
      dataset_dir: of the source, to name an image by.
      skip_corrupt_images: whether to leave out images that cannot be read or decoded.
      max_image_pixels: images that have more cannot be decoded; 0 sets no limit.
      stop_requested: asked after each image; if it says yes, the work is left.

    Returns:
      The names of the files.

    Raises:
      ValueError: if an image cannot be decoded, or if a file has not become what it was.
      KeyboardInterrupt: if the work was left; complete files stay.
    """
    plan = directory.plan
    names = []
    for split, shards in directory.lost_shards().items():
        dataset = datasets[split]
        for shard in shards:
            images = _read_images(
                dataset, shard.start, plan, dataset_dir, skip_corrupt_images, max_image_pixels
            )
            for _ in _written(shard, images, plan, stop_requested):
                pass
            directory.check_rewritten(shard)
            names.append(shard.path.name)
    directory.remove_temporary_files()
    return names


def _written(
    shard: Shard,
    images: Iterator[PreparedImage],
    plan: PreparationPlan,
    stop_requested: Callable[[], bool],
) -> Iterator[PreparedImage]:
    """Writes a file, gives its images on, and leaves nothing of it if it is left."""
    some = itertools.islice(images, shard.stop - shard.start)
    with contextlib.closing(shard.write(some, plan.image_size)) as written:
        for image in written:
            yield image
            if stop_requested():
                raise KeyboardInterrupt(
                    "Interrupted. The same command continues after the last complete file."
                )


def _read_images(
    dataset: ImageDataset,
    start: int,
    plan: PreparationPlan,
    dataset_dir: str | None,
    skip_corrupt_images: bool,
    max_image_pixels: int,
) -> Iterator[PreparedImage]:
    """Decodes and resizes the images of a split from a position on, in order."""
    rows = read_squares(
        dataset,
        start,
        plan.image_size,
        dataset_dir=dataset_dir,
        skip_corrupt_images=skip_corrupt_images,
        max_image_pixels=max_image_pixels,
        jpeg_quality=plan.jpeg_quality,
        respect_exif=plan.respect_exif,
    )
    for position, row in enumerate(rows, start):
        is_decoded = row["weight"] > 0
        yield PreparedImage(
            position=position,
            image=row["image"] if is_decoded else None,
            products=row["products"],
            encoded=row["encoded"] if "encoded" in row else row["image"].tobytes(),
            label=int(row["label"]),
            unread=bool(row["unread"]),
        )


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
