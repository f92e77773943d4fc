"""What is wrong with the input, said so that a user can do something about it.

TensorFlow's errors name operations. These name the image or, where it is none, the dataset.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator

import tensorflow as tf

from image_datasets.file_reading import UNREADABLE, unreadable_message
from image_datasets.image_dataset import ImageDataset
from preprocessing import decoding, image_sizes
from training.input_pipeline import Example

_SECONDS_IN_SILENCE = 2.0
_REMEDY = "leave out such images with --skip_corrupt_images."

# What a host hears when another one has gone: nothing is wrong with its own images.
_OF_OTHER_HOSTS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)

# As the checks of `input_pipeline` tell it: "[what is wrong] [400000000] [example] [17]".
_CHECKED_EXAMPLE = re.compile(r"(?:\[(\d+)\] )?\[example\] \[(\d+)\]")


class InputError(Exception):
    """The next batch could not be made; its cause is TensorFlow's error.

    So an error of the input is told from one of the step, of which there are the same kinds.
    """


def marked(batches: Iterable[Example]) -> Iterator[Example]:
    """Gives `batches` on, and raises InputError where they end in an error of TensorFlow."""
    try:
        iterator = iter(batches)
    except tf.errors.OpError as error:
        raise InputError from error
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            raise InputError from error
        yield batch


def explained(
    error: InputError,
    dataset: ImageDataset,
    max_image_pixels: int = image_sizes.DEFAULT_MAX_IMAGE_PIXELS,
) -> Exception:
    """The error to raise when reading failed: one that names the image, or else the dataset.

    To find an image that cannot be decoded, all are decoded that come before it. A line on
    standard error says so where that takes long.

    Args:
      error: with what TensorFlow said as its cause.
      dataset: that was read.
      max_image_pixels: the limit that was set.

    Returns:
      A ValueError, or the cause itself where a host hears of another's end or memory is short.
    """
    cause = error.__cause__
    if not isinstance(cause, tf.errors.OpError) or isinstance(cause, _OF_OTHER_HOSTS):
        return cause if isinstance(cause, Exception) else error
    if isinstance(cause, tf.errors.ResourceExhaustedError) and "alloc" in (cause.message or ""):
        return cause
    message = None
    if checked := _CHECKED_EXAMPLE.search(cause.message or ""):
        pixels, index = checked.groups()
        where = dataset.describe(int(index))
        if pixels:
            message = _too_large(where, image_sizes.too_large(int(pixels), max_image_pixels))
        else:
            message = _unreadable(where)
    elif isinstance(cause, tf.errors.InvalidArgumentError):
        message = find_unusable_image(dataset, max_image_pixels)
    elif isinstance(cause, tf.errors.DataLossError):
        message = dataset.find_damage()
    if message is None:
        why = decoding.plain_message(cause).partition("\nTraceback (most recent call last)")[0]
        message = f"Reading {dataset.name}, split {dataset.split}, failed: {why}"
    return ValueError(message)


def find_unusable_image(
    dataset: ImageDataset, max_image_pixels: int = image_sizes.DEFAULT_MAX_IMAGE_PIXELS
) -> str | None:
    """Says which is the first image that cannot be used, and why; None if all can.

    Whole images are decoded: of a torn file, some crops lie before the tear.

    Args:
      dataset: which is read to that image.
      max_image_pixels: what is larger cannot be used; 0 sets no limit.
    """

    def check(example: Example) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        _, weight = decoding.decode_or_zeros(
            example["image"],
            lambda image: {
                "shape": tf.shape(decoding.decode(image_sizes.limited(image, max_image_pixels)))
            },
        )
        return weight, example["index"], example["image"]

    checked = dataset.examples().map(
        tf.autograph.experimental.do_not_convert(check), num_parallel_calls=tf.data.AUTOTUNE
    )
    started = time.monotonic()
    is_silent = True
    try:
        for weight, index, image in checked:
            if weight == 0:
                return _unusable(dataset.describe(int(index)), image, max_image_pixels)
            if is_silent and time.monotonic() - started > _SECONDS_IN_SILENCE:
                is_silent = False
                print(
                    f"An image cannot be decoded. Looking for it among {dataset.num_examples:,} "
                    f"of {dataset.name}, split {dataset.split} ...",
                    file=sys.stderr,
                    flush=True,
                )
    except tf.errors.OpError:
        return None  # it is not an image: what gives the images fails
    return None


def _unusable(where: str, image: tf.Tensor, max_image_pixels: int) -> str:
    if image.dtype == tf.string and image == UNREADABLE:
        return _unreadable(where)
    if why := image_sizes.why_too_large(image, max_image_pixels):
        return _too_large(where, why)
    return f"This image cannot be decoded: {where}. Replace it, or {_REMEDY}"


def _unreadable(where: str) -> str:
    return f"{unreadable_message(where)} Put it back, or {_REMEDY}"


def _too_large(where: str, why: str) -> str:
    return f"This image cannot be decoded: {where}: {why} Or {_REMEDY}"
