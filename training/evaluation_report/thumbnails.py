"""Small pictures of a few images of a dataset, as text that a page can hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from image_datasets.image_dataset import ImageDataset
from preprocessing import decoding
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS, limited

_LONG_SIDE = 160
_SMALL = 64  # up to here pixels are kept as they are, and drawn as squares
_JPEG_QUALITY = 80


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
      url: a `data:` URL that holds it.
      width: in pixels.
      height: in pixels.
      is_pixels: whether it has so few pixels that they are drawn as squares.
    """

    url: str
    width: int
    height: int
    is_pixels: bool


def thumbnails(
    dataset: ImageDataset,
    indices: Sequence[int],
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
) -> dict[int, Thumbnail]:
    """Reads some images of a dataset once more, each whole, and makes them small.

    Args:
      dataset: where the images are.
      indices: of the images.
      max_image_pixels: a larger one is left out; 0 sets no limit.

    Returns:
      A picture for each index; none for an image that cannot be read or decoded any more.
    """
    pictures = {}
    for index, image in _encoded_images(dataset, indices).items():
        try:
            pictures[index] = _thumbnail(limited(tf.convert_to_tensor(image), max_image_pixels))
        except tf.errors.OpError:
            continue
    return pictures


def _encoded_images(dataset: ImageDataset, indices: Sequence[int]) -> dict[int, bytes | np.ndarray]:
    """Images as the dataset gives them, by index; those that cannot be read are left out.

    Files are read by their paths. Of records only those before the last index are read.
    """
    images: dict[int, bytes | np.ndarray] = {}
    in_records = []
    for index in sorted({int(index) for index in indices}):
        try:
            images[index] = tf.io.read_file(dataset.describe(index)).numpy()
        except (tf.errors.OpError, UnicodeError):
            in_records.append(index)
    if in_records:
        wanted = tf.constant(in_records, tf.int64)
        found = dataset.examples().filter(
            tf.autograph.experimental.do_not_convert(
                lambda example: tf.reduce_any(tf.equal(example["index"], wanted))
            )
        )
        try:
            for example in found.take(len(in_records)).as_numpy_iterator():
                images[int(example["index"])] = example["image"]
        except tf.errors.OpError:  # what was found before it is shown
            pass
    return images


def _thumbnail(image: tf.Tensor) -> Thumbnail:
    """The picture of an image; InvalidArgumentError if it cannot be decoded."""
    # A person wants to see a photo upright, whichever way the network was shown it.
    pixels = decoding.with_source(image, _reduced_pixels, respect_exif=True)
    height, width = (int(side) for side in pixels.shape[:2])
    is_small = max(height, width) <= _SMALL
    if not is_small:
        scale = min(1.0, _LONG_SIDE / max(height, width))
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        resized = tf.image.resize(pixels, [height, width], antialias=True)
        pixels = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    kind, contents = (
        ("png", tf.io.encode_png(pixels))
        if is_small
        else ("jpeg", tf.io.encode_jpeg(pixels, quality=_JPEG_QUALITY, optimize_size=True))
    )
    text = base64.b64encode(contents.numpy()).decode()
    return Thumbnail(f"data:image/{kind};base64,{text}", width, height, is_small)


def _reduced_pixels(source: decoding.Source) -> tf.Tensor:
    """A whole image; a large JPEG at a fraction of its size, which is decoded much sooner."""
    long_side = tf.maximum(source.height, source.width)
    reduced = source.reduced(long_side // (2 * _LONG_SIDE))
    return reduced.window(0, 0, reduced.height, reduced.width)
