"""The stages between a file and a training step, as contenders; the unit is an image."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from our_networks import Trainer  # sets TensorFlow's environment, so first

# isort: split
import numpy as np
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.input_pipeline import training_batches
from workloads import Repetition, Stream, Workload

_SHUFFLE_BUFFER_SIZE = 10_000  # the drivers' default

# Of the arrays from which the bare loop crops: more than a processor's cache holds.
_ARRAYS, _ARRAY_SIDE, _CROP_SIDE = 512, 256, 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What is read, and for which network.

    Attributes:
      dataset_name: as the drivers take it.
      dataset_dir: as the drivers take it.
      split: in TFDS syntax.
      model: whose preprocessing and image size are used.
      cache: whether examples stay in memory, as with the drivers' --cache.
      precision: of the step.
      batch_size: images in a batch.
    """

    dataset_name: str
    dataset_dir: str | None
    split: str
    cache: bool
    model: str
    precision: str
    batch_size: int

    def dataset(self) -> ImageDataset:
        """Opens it."""
        dataset = dataset_factory.get_dataset(self.dataset_name, self.split, self.dataset_dir)
        if self.cache:
            dataset = dataset.cached()
            for _ in dataset.examples():  # what was read is kept once all of it was
                pass
        return dataset


def reading(**source: Any) -> Workload:
    """Encoded images alone, from the disk or the operating system's cache of it."""
    opened = Source(**source)
    return _in_batches(opened.dataset().examples().repeat(), opened.batch_size)


def decoding(**source: Any) -> Workload:
    """Each whole image decoded by TensorFlow alone, on all cores."""
    opened = Source(**source)

    def decode(example: dict[str, tf.Tensor]) -> tf.Tensor:
        image = example["image"]
        if image.dtype == tf.string:
            image = tf.io.decode_jpeg(image, channels=3)  # PNG and others as well
        # Pictures of different sizes make no batch; the shape tells that it was decoded.
        return tf.shape(image)

    examples = opened.dataset().examples().repeat()
    decoded = examples.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _in_batches(decoded, opened.batch_size)


def host_half(**source: Any) -> Workload:
    """What the drivers' input pipeline gives, in the host's memory."""
    opened = Source(**source)
    batches = _training_batches(opened)
    return Stream(lambda: batches, lambda batch: None, opened.batch_size)


def on_device(**source: Any) -> Workload:
    """The same, handed to the device as the training loop hands it over."""
    opened = Source(**source)
    strategy = devices.make_strategy(num_replicas=1)
    batches = strategy.experimental_distribute_dataset(_training_batches(opened))
    # Reading one number waits for a copy to a GPU.
    return Stream(lambda: batches, lambda batch: batch["weight"][0].numpy(), opened.batch_size)


def step(**source: Any) -> Workload:
    """Training steps on one synthetic batch."""
    opened = Source(**source)
    trainer = Trainer(opened.model, opened.precision, opened.batch_size)
    batch = trainer.synthetic_batch()
    return Stream(
        lambda: itertools.repeat(batch),
        trainer.take_step,
        opened.batch_size,
        warm_up_elements=1,
        finish=trainer.finish,
    )


def end_to_end(**source: Any) -> Workload:
    """Training steps on what is read: all of the above, overlapping as they do in training."""
    opened = Source(**source)
    trainer = Trainer(opened.model, opened.precision, opened.batch_size)
    num_classes = trainer.network_fn.num_classes or 1
    batches = _training_batches(opened).map(
        # The network has its usual number of classes, whatever the dataset has.
        lambda batch: {**batch, "label": batch["label"] % num_classes}
    )
    distributed = trainer.strategy.experimental_distribute_dataset(batches)
    return Stream(lambda: distributed, trainer.take_step, opened.batch_size, finish=trainer.finish)


def cropping_arrays() -> Workload:
    """Random crops of decoded images in memory, copied by NumPy on one core: a bare loop."""
    generator = np.random.default_rng(0)
    shape = [_ARRAYS, _ARRAY_SIDE, _ARRAY_SIDE, 3]
    arrays = generator.integers(0, 256, shape, np.uint8)
    offsets = generator.integers(0, _ARRAY_SIDE - _CROP_SIDE + 1, [_ARRAYS, 2])
    batch = np.empty([_ARRAYS, _CROP_SIDE, _CROP_SIDE, 3], np.uint8)

    def crop() -> None:
        for image, (top, left), crop in zip(arrays, offsets, batch, strict=True):
            crop[...] = image[top : top + _CROP_SIDE, left : left + _CROP_SIDE]

    return Repetition(crop, _ARRAYS)


def _training_batches(source: Source) -> tf.data.Dataset:
    network = nets_factory.networks[source.model]
    return training_batches(
        source.dataset(),
        get_preprocessing(network.preprocessing_name, is_training=True),
        batch_size=source.batch_size,
        image_size=network.default_image_size,
        shuffle_buffer_size=_SHUFFLE_BUFFER_SIZE,
    )


def _in_batches(elements: tf.data.Dataset, batch_size: int) -> Workload:
    """Elements counted within TensorFlow, as Python would take longer than to read one."""
    counted = elements.map(lambda *element: tf.constant(0, tf.uint8)).batch(batch_size)
    prefetched = counted.prefetch(tf.data.AUTOTUNE)

    def open_stream() -> Iterator[tf.Tensor]:
        return iter(prefetched)

    return Stream(open_stream, lambda batch: None, batch_size)
