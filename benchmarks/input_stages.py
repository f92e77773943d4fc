"""The stages between a file and a training step, as contenders; the unit is an image."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from our_networks import Trainer, check_gpu, facts  # sets TensorFlow's environment, so first

# isort: split
import numpy as np
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from network_costs import count_costs
from preprocessing import windows
from preprocessing.decoding import Jpeg
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.input_pipeline import training_batches
from workloads import LeftOutError, Repetition, Stream, Workload

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

    @property
    def image_size(self) -> int:
        """Height and width that the network takes, in pixels."""
        return nets_factory.networks[self.model].default_image_size

    def decode_window(self, image: tf.Tensor) -> tf.Tensor:
        """The middle of the central square, as large as a crop is in it."""
        jpeg = Jpeg(image)
        side = tf.minimum(jpeg.height, jpeg.width) * _CROP_SIDE // _ARRAY_SIDE
        return jpeg.window((jpeg.height - side) // 2, (jpeg.width - side) // 2, side, side)


def reading(**source: Any) -> Workload:
    """Encoded images alone, from the disk or the operating system's cache of it."""
    opened = Source(**source)
    return _in_batches(opened.dataset().examples().repeat(), opened.batch_size)


def decoding(**source: Any) -> Workload:
    """Each whole image decoded by TensorFlow alone, on all cores."""
    opened = Source(**source)

    def decode(image: tf.Tensor) -> tf.Tensor:
        # PNG and others as well
        return tf.io.decode_jpeg(image, channels=3) if image.dtype == tf.string else image

    return _each_image(opened, decode)


def decoding_a_window(**source: Any) -> Workload:
    """Of each JPEG only what a crop of its central square covers."""
    opened = Source(**source)
    _check_encoded(opened)
    return _each_image(opened, opened.decode_window)


def resizing_a_window(**source: Any) -> Workload:
    """The same, and resized to the network's size: nothing is random, nothing is asked."""
    opened = Source(**source)
    _check_encoded(opened)
    size = opened.image_size
    return _each_image(
        opened, lambda image: windows.resize(opened.decode_window(image), size, size)
    )


def host_half(options: Mapping[str, Any] = MappingProxyType({}), **source: Any) -> Workload:
    """What the drivers' input pipeline gives, in the host's memory.

    Args:
      options: of tf.data, by their names, to set beside those that the drivers set.
      **source: fields of `Source`.
    """
    opened = Source(**source)
    batches = _training_batches(opened).with_options(_tf_data_options(options))
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


def end_to_end(form: str | None = None, needs_gpu: bool = False, **source: Any) -> Workload:
    """Training steps on what is read: all of the above, overlapping as they do in training.

    Args:
      form: of the layers, CPU or GPU; None is that of the device which takes the step.
      needs_gpu: whether it is left out where TensorFlow sees none.
      **source: fields of `Source`.

    Raises:
      LeftOutError: if so.
    """
    if needs_gpu:
        check_gpu()
    opened = Source(**source)
    trainer = Trainer(opened.model, opened.precision, opened.batch_size, form)
    num_classes = trainer.network_fn.num_classes or 1
    batches = _training_batches(opened).map(
        # The network has its usual number of classes, whatever the dataset has.
        lambda batch: {**batch, "label": batch["label"] % num_classes}
    )
    distributed = trainer.strategy.experimental_distribute_dataset(batches)
    operations = count_costs(trainer.network_fn).training_operations
    return Stream(
        lambda: distributed,
        trainer.take_step,
        opened.batch_size,
        finish=trainer.finish,
        facts=facts(trainer.network_fn, operations),
    )


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
        image_size=source.image_size,
        shuffle_buffer_size=_SHUFFLE_BUFFER_SIZE,
    )


def _tf_data_options(values: Mapping[str, Any]) -> tf.data.Options:
    options = tf.data.Options()
    for name, value in values.items():
        *group, last = name.split(".")
        setattr(functools.reduce(getattr, group, options), last, value)
    return options


def _check_encoded(source: Source) -> None:
    if source.dataset().examples().element_spec["image"].dtype != tf.string:
        raise LeftOutError("images are not encoded here")


def _each_image(source: Source, function: Callable[[tf.Tensor], tf.Tensor]) -> Workload:
    def apply(example: dict[str, tf.Tensor]) -> tf.Tensor:
        # Pictures of different sizes make no batch; the shape tells that they were made.
        return tf.shape(function(example["image"]))

    examples = source.dataset().examples().repeat()
    made = examples.map(apply, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _in_batches(made, source.batch_size)


def _in_batches(elements: tf.data.Dataset, batch_size: int) -> Workload:
    """Elements counted within TensorFlow, as Python would take longer than to read one."""
    counted = elements.map(lambda *element: tf.constant(0, tf.uint8)).batch(batch_size)
    prefetched = counted.prefetch(tf.data.AUTOTUNE)

    def open_stream() -> Iterator[tf.Tensor]:
        return iter(prefetched)

    return Stream(open_stream, lambda batch: None, batch_size)
