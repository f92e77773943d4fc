"""Batches of images for training and evaluation, in an order that can be taken up anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from image_datasets.file_reading import UNREADABLE
from image_datasets.image_dataset import ImageDataset
from preprocessing import decoding
from preprocessing.base import Preprocessing
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS, limited

Example = dict[str, tf.Tensor]

_NUM_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_PREFETCHED_BATCHES = 2  # one to hand over while the other is made


class HostHalf(Protocol):
    """What images are made into on the host: a pipeline, or several of them."""

    def host(
        self,
        image: Any,
        output_height: int,
        output_width: int,
        *,
        seed: Any = None,
        num_crops: int = 1,
    ) -> Example:
        """See `Preprocessing.host`."""


class Views:
    """The host halves of several pipelines, each of which looks at an image in its own way.

    Args:
      pipelines: each with the height and width that it gives, in pixels; equal ones share a view.
    """

    def __init__(self, pipelines: Sequence[tuple[Preprocessing, int]]):
        self._distinct: list[tuple[Preprocessing, int]] = []
        for pipeline in pipelines:  # whose options may be lists, which cannot be hashed
            if pipeline not in self._distinct:
                self._distinct.append(pipeline)
        self._numbers = [self._distinct.index(pipeline) for pipeline in pipelines]

    def host(
        self,
        image: Any,
        output_height: int,
        output_width: int,
        *,
        seed: Any = None,
        num_crops: int = 1,
    ) -> Example:
        """Gives what `of` takes apart; the sizes are those of the pipelines."""
        del output_height, output_width
        return {
            f"{number}/{key}": value
            for number, (preprocessing, size) in enumerate(self._distinct)
            for key, value in preprocessing.host(
                image, size, size, seed=seed, num_crops=num_crops
            ).items()
        }

    def of(self, index: int, batch: Example) -> Example:
        """What the pipeline of that index made of a batch."""
        prefix = f"{self._numbers[index]}/"
        return {
            key.removeprefix(prefix): value
            for key, value in batch.items()
            if key.startswith(prefix)
        }


def training_batches(
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    image_size: int,
    seed: int = 0,
    start: tuple[int, int] = (0, 0),
    labels_offset: int = 0,
    shuffle_buffer_size: int = 10_000,
    skip_corrupt_images: bool = False,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
) -> tf.data.Dataset:
    """The endless stream of batches from a place in the data on.

    Every example comes once an epoch; a batch may begin in one epoch and end in the next. The
    order of an epoch depends on `seed` and the epoch, and what is random about an example on
    `seed`, the epoch and the example, so that a run taken up at a place sees what it would have
    seen without the stop.

    Args:
      dataset: the examples.
      preprocessing: its host half is applied here, its device half in the training step.
      batch_size: images in a batch, over all replicas.
      image_size: height and width in pixels.
      seed: of order and augmentation.
      start: the epoch to begin with, counted from 0, and how many of its examples to leave out;
        what is left out is not decoded.
      labels_offset: subtracted from labels; examples whose label becomes negative are left out.
      shuffle_buffer_size: examples from which the next is drawn.
      skip_corrupt_images: gives an image that cannot be read or decoded the weight 0.
      max_image_pixels: an image that has more by its header counts as one that cannot be decoded;
        0 sets no limit.

    Returns:
      Batches of dictionaries: what the host half gives, "label" int64 [batch], "weight" float32
      [batch], "index" int64 [batch], and "unread" float32 [batch], 1 where a file could not be
      read.
    """
    num_examples = dataset.num_examples

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.random.experimental.stateless_fold_in(
            tf.constant([seed, 0], tf.int64), epoch
        )
        shuffled = _shuffle(dataset.examples(), min(shuffle_buffer_size, num_examples), epoch_seed)
        return shuffled.map(_as_it_is(lambda example: {**example, "epoch": epoch}))

    def prepare(example: Example) -> Example:
        image_seed = tf.constant([seed, 1], tf.int64)
        for number in (example["epoch"], example["index"]):
            image_seed = tf.random.experimental.stateless_fold_in(image_seed, number)
        return _host_half(
            example,
            preprocessing,
            image_size,
            image_seed,
            1,
            labels_offset,
            skip_corrupt_images,
            max_image_pixels,
        )

    start_epoch, start_example = start
    examples = tf.data.Dataset.range(start_epoch, tf.int64.max).flat_map(_as_it_is(one_epoch))
    return _with_options(
        examples.skip(start_example)
        .map(_as_it_is(prepare), num_parallel_calls=_NUM_CORES)
        .batch(batch_size, drop_remainder=True)
        .prefetch(_PREFETCHED_BATCHES)
    )


def evaluation_batches(
    dataset: ImageDataset,
    preprocessing: HostHalf,
    *,
    batch_size: int,
    image_size: int,
    num_crops: int = 1,
    labels_offset: int = 0,
    skip_corrupt_images: bool = False,
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
) -> tf.data.Dataset:
    """Every example once, in the dataset's order.

    The last batch is filled up with examples of weight 0 and index -1.

    Args are those of `training_batches`; `num_crops` is 1, or 10 for images of [10, h, w, 3].
    """

    def prepare(example: Example) -> Example:
        return _host_half(
            example,
            preprocessing,
            image_size,
            None,
            num_crops,
            labels_offset,
            skip_corrupt_images,
            max_image_pixels,
        )

    def fill(batch: Example) -> Example:
        missing = batch_size - tf.shape(batch["label"])[0]
        return {
            key: tf.ensure_shape(
                tf.pad(
                    value,
                    [[0, missing]] + [[0, 0]] * (value.shape.rank - 1),
                    constant_values=-1 if key == "index" else 0,
                ),
                [batch_size, *value.shape[1:]],
            )
            for key, value in batch.items()
        }

    return _with_options(
        dataset.examples()
        .map(_as_it_is(prepare), num_parallel_calls=_NUM_CORES)
        .batch(batch_size)
        .map(_as_it_is(fill))
        .prefetch(_PREFETCHED_BATCHES)
    )


def compiled_device_half(
    preprocessing: Preprocessing, dtype: tf.DType = tf.float32
) -> Callable[[Example], tf.Tensor]:
    """The device half of a pipeline as one fused pass over the pixels.

    Args:
      preprocessing: the pipeline.
      dtype: of the images that it gives.
    """
    return tf.function(
        lambda batch: preprocessing.device(batch, dtype), jit_compile=True, autograph=False
    )


def _host_half(
    example: Example,
    preprocessing: HostHalf,
    image_size: int,
    seed: tf.Tensor | list[int] | None,
    num_crops: int,
    labels_offset: int,
    skip_corrupt_images: bool,
    max_image_pixels: int,
) -> Example:
    image, index = example["image"], example["index"]
    is_read = image != UNREADABLE if image.dtype == tf.string else tf.constant(True)

    def decode(image: tf.Tensor) -> Example:
        image = limited(image, max_image_pixels, "example", index)
        return preprocessing.host(image, image_size, image_size, seed=seed, num_crops=num_crops)

    weight = tf.ones([])
    if skip_corrupt_images:
        prepared, weight = decoding.decode_or_zeros(image, decode)
    else:
        check = tf.raw_ops.Assert(condition=is_read, data=["cannot be read", "example", index])
        with tf.control_dependencies([check]):
            prepared = decode(tf.identity(image))
    label = example["label"] - labels_offset
    weight = tf.where(label < 0, 0.0, weight)
    label = tf.maximum(label, 0)  # a label that no loss would accept, where the weight is 0
    unread = tf.cast(tf.logical_not(is_read), tf.float32)
    return {**prepared, "label": label, "weight": weight, "unread": unread, "index": index}


def _shuffle(dataset: tf.data.Dataset, buffer_size: int, seed: tf.Tensor) -> tf.data.Dataset:
    """`dataset.shuffle` with a seed that is a tensor, which that method does not take."""
    shuffled = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=tf.constant(buffer_size, tf.int64),
        seed=seed[0],
        seed2=seed[1],
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        output_types=[spec.dtype for spec in tf.nest.flatten(dataset.element_spec)],
        output_shapes=[spec.shape for spec in tf.nest.flatten(dataset.element_spec)],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, dataset.element_spec)


# AutoGraph rewrites code that needs no rewriting, and buries a user's mistake in its own report.
_as_it_is = tf.autograph.experimental.do_not_convert


def _with_options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # Workers share examples rather than files: a dataset of one file can be shared too.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # It takes 5% of the processor, and finds out that every core has images to decode.
    options.autotune.enabled = False
    return dataset.with_options(options)
