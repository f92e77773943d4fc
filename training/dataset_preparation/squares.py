"""Reads a dataset once, in order, as central squares: what is prepared, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from image_datasets.split_slices import slices_from
from preprocessing import decoding, windows
from training.dataset_preparation.pixel_statistics import pixel_products


def read_squares(
    dataset: ImageDataset,
    start: int,
    image_size: int,
    *,
    dataset_dir: str | None,
    skip_corrupt_images: bool,
    jpeg_quality: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Decodes the images of a split and resizes them as the 2012 paper did (section 2).

    Args:
      dataset: the split.
      start: the position to begin with.
      image_size: to which the short side is resized, and of the central square that is cut out.
      dataset_dir: of the dataset, to name an image by.
      skip_corrupt_images: whether to give on images that cannot be decoded, with weight 0.
      jpeg_quality: to encode the square with, 1 to 100; None does not.

    Yields:
      NumPy arrays: "image", uint8 [image_size, image_size, 3]; "products", int64 [3, 3], its
      `pixel_products`; "encoded", bytes, if there is a `jpeg_quality`; "label", an integer;
      "weight", 1, or 0 if it could not be decoded.

    Raises:
      ValueError: if an image cannot be decoded and such are not to be skipped, or a file of records
        is damaged.
    """

    def decode(image: tf.Tensor) -> dict[str, tf.Tensor]:
        square = windows.short_side_center_square(decoding.decode(image), image_size)
        decoded = {"image": square, "products": pixel_products(square)}
        if jpeg_quality is not None:
            decoded["encoded"] = tf.io.encode_jpeg(square, "rgb", quality=jpeg_quality)
        return decoded

    def read_example(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        if skip_corrupt_images:
            decoded, weight = decoding.decode_or_zeros(example["image"], decode)
        else:
            decoded, weight = decode(example["image"]), tf.ones([])
        return {**decoded, "label": example["label"], "weight": weight}

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
        except tf.errors.InvalidArgumentError as error:
            why = decoding.plain_message(error).splitlines()[0]
            raise ValueError(
                f"This image cannot be decoded: {describe(dataset, position, dataset_dir)}. "
                f"({why}) Replace it, or run the same command with "
                "--skip_corrupt_images; what is done is kept."
            ) from error
        except tf.errors.DataLossError as error:
            raise ValueError(dataset.find_damage() or error.message) from error


def describe(dataset: ImageDataset, position: int, dataset_dir: str | None) -> str:
    """Tells a user where to find the image at a position of a split."""
    if not dataset.parts:
        return dataset.describe(position)
    part = slices_from(list(dataset.parts), position)[0]
    split = f"{part.name}[{part.start}:{part.start + 1}]"
    return dataset_factory.get_dataset(dataset.name, split, dataset_dir).describe(0)
