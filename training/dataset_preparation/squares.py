"""Reads a dataset once, in order, as central squares: what is prepared, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.file_reading import UNREADABLE, unreadable_message
from image_datasets.image_dataset import ImageDataset
from image_datasets.split_slices import slices_from
from preprocessing import decoding, image_sizes, windows
from training.dataset_preparation.pixel_statistics import pixel_products


def read_squares(
    dataset: ImageDataset,
    start: int,
    image_size: int,
    *,
    dataset_dir: str | None,
    skip_corrupt_images: bool,
    max_image_pixels: int = image_sizes.DEFAULT_MAX_IMAGE_PIXELS,
    jpeg_quality: int | None = None,
    respect_exif: bool = False,
) -> Iterator[dict[str, Any]]:
    """Decodes the images of a split and resizes them as the 2012 paper did (section 2).

    Args:
      dataset: the split.
      start: the position to begin with.
      image_size: to which the short side is resized, and of the central square that is cut out.
      dataset_dir: of the dataset, to name an image by.
      skip_corrupt_images: whether to give on images that cannot be read or decoded, with weight 0.
      max_image_pixels: an image that has more by its header counts as one that cannot be decoded;
        0 sets no limit.
      jpeg_quality: to encode the square with, 1 to 100; None does not.
      respect_exif: whether images are turned as their EXIF orientation says.

    Yields:
      NumPy arrays: "image", uint8 [image_size, image_size, 3]; "products", int64 [3, 3], its
      `pixel_products`; "encoded", bytes, if there is a `jpeg_quality`; "label", an integer;
      "weight", 1, or 0 if it could not be decoded; "unread", whether that is because it could not
      be read.

    Raises:
      ValueError: if an image cannot be read or decoded and such are not to be skipped, if a file of
        records is damaged, or if the source of the images fails.
    """

    def decode(image: tf.Tensor) -> dict[str, tf.Tensor]:
        image = image_sizes.limited(image, max_image_pixels)
        upright = decoding.decode(image, respect_exif=respect_exif)
        square = windows.short_side_center_square(upright, image_size)
        decoded = {"image": square, "products": pixel_products(square)}
        if jpeg_quality is not None:
            decoded["encoded"] = tf.io.encode_jpeg(square, "rgb", quality=jpeg_quality)
        return decoded

    def read_example(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if skip_corrupt_images:
            decoded, weight = decoding.decode_or_zeros(example["image"], decode)
        else:
            decoded, weight = decode(example["image"]), tf.ones([])
        unread = example["image"] == UNREADABLE if example["image"].dtype == tf.string else False
        return {**decoded, "label": example["label"], "weight": weight, "unread": unread}

    rows = (
        dataset.stored_examples(start)
        .map(
            tf.autograph.experimental.do_not_convert(read_example),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    for position in range(start, dataset.num_examples):
        try:
            yield next(rows)
        except tf.errors.OpError as error:
            if isinstance(error, tf.errors.DataLossError) and (damage := dataset.find_damage()):
                raise ValueError(damage) from error
            what = what_is_wrong(dataset, position, dataset_dir, error, max_image_pixels)
            raise ValueError(f"{what}; what is done is kept.") from error


def what_is_wrong(
    dataset: ImageDataset,
    position: int,
    dataset_dir: str | None,
    error: tf.errors.OpError,
    max_image_pixels: int,
) -> str:
    """Names the image at a position that ended in an error, or else the dataset."""
    advice = "or run the same command with --skip_corrupt_images"
    why = decoding.plain_message(error).splitlines()[0]
    try:
        image = next(iter(dataset.stored_examples(position).take(1)))["image"]
    except (tf.errors.OpError, StopIteration):  # what gives the images fails
        return (
            f"Reading {dataset.name}, split {dataset.split}, failed after {position:,} images: "
            f"{why} The same command goes on from there"
        )
    where = describe(dataset, position, dataset_dir)
    if image.dtype == tf.string and image == UNREADABLE:
        return f"{unreadable_message(where)} Put it back, {advice}"
    why = image_sizes.why_too_large(image, max_image_pixels) or why
    return f"This image cannot be decoded: {where}. ({why}) Replace it, {advice}"


def left_out_message(
    dataset: ImageDataset, position: int, dataset_dir: str | None, unread: bool
) -> str:
    """The line that says which image was left out."""
    why = "cannot be read" if unread else "cannot be decoded"
    return f"Left out, as it {why}: {describe(dataset, position, dataset_dir)}"


def describe(dataset: ImageDataset, position: int, dataset_dir: str | None) -> str:
    """Tells a user where to find the image at a position of a split."""
    # Without looking again into a folder, as files may have gone since.
    if not dataset.parts or dataset_factory.is_named_by_folder(dataset.name, dataset_dir):
        return dataset.describe(position)
    part = slices_from(list(dataset.parts), position)[0]
    split = f"{part.name}[{part.start}:{part.start + 1}]"
    return dataset_factory.get_dataset(dataset.name, split, dataset_dir).describe(0)
