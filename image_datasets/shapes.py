"""The embedded dataset: ten shapes, drawn on the first run, so that training needs no network.

`import image_datasets.shapes` registers it, after which `tfds.load("shapes")` works as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.registry import register_source
from image_datasets.shape_drawing import IMAGE_SIZE, SHAPES, draw_shape
from image_datasets.tfds_source import TfdsSource

_NAME = "shapes"

NUM_TRAIN_EXAMPLES = 2000
NUM_VALIDATION_EXAMPLES = 500

# Grain costs bytes and hides nothing that a network needs; 90 keeps an image near 20 kB.
_JPEG_QUALITY = 90

# The first half of every image's seed, so that no validation image is a training image.
_SPLIT_SEEDS = {"train": 0, "validation": 1}


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Ten bright shapes on textured backgrounds, at random places, sizes, tilts and colours.

    2,000 training and 500 validation JPEGs of 256x256, as many of each class, the same on every
    run. Only the outline tells the class.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 (TFDS's own convention)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(IMAGE_SIZE, IMAGE_SIZE, 3), encoding_format="jpeg"
                    ),
                    "label": tfds.features.ClassLabel(names=list(SHAPES)),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager
        num_examples = NUM_TRAIN_EXAMPLES + NUM_VALIDATION_EXAMPLES
        # TFDS has just announced a download.
        print(f"Nothing is downloaded: {num_examples:,} images are drawn, in about 15 seconds.")
        return {
            "train": self._generate_examples("train", NUM_TRAIN_EXAMPLES),
            "validation": self._generate_examples("validation", NUM_VALIDATION_EXAMPLES),
        }

    def _generate_examples(
        self, split: str, num_examples: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        encode_jpeg = _JpegEncoder()
        names = list(SHAPES)
        for index in range(num_examples):
            label = index % len(names)
            rng = np.random.default_rng([_SPLIT_SEEDS[split], index])
            yield index, {"image": encode_jpeg(draw_shape(names[label], rng)), "label": label}


@register_source(_NAME)
class ShapesSource(TfdsSource):
    """The embedded dataset by its name; TFDS keeps it as it keeps its own."""

    def __init__(self) -> None:
        super().__init__(_NAME)


class _JpegEncoder:
    """Encodes uint8 [256, 256, 3] as JPEG.

    A session of its own, without GPUs, because an eager operation would start TensorFlow's
    runtime, after which virtual devices and multi-worker strategies can no longer be set up.
    """

    def __init__(self) -> None:
        with tf.Graph().as_default() as graph:
            self._image = tf.compat.v1.placeholder(tf.uint8, [IMAGE_SIZE, IMAGE_SIZE, 3])
            self._encoded = tf.io.encode_jpeg(self._image, quality=_JPEG_QUALITY)
        self._session = tf.compat.v1.Session(
            graph=graph, config=tf.compat.v1.ConfigProto(device_count={"GPU": 0})
        )

    def __call__(self, image: npt.NDArray[np.uint8]) -> bytes:
        return self._session.run(self._encoded, {self._image: image})
