"""The pipeline of torchvision's ImageNet weights.

Source: torchvision, `transforms._presets.ImageClassification` for evaluation and
`references/classification/presets.py` for training.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import Preprocessing, check_rgb, check_side, register_preprocessing
from preprocessing.decoding import Source

IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION_RGB = (0.229, 0.224, 0.225)


@register_preprocessing("torchvision")
@dataclasses.dataclass(frozen=True)
class TorchvisionPreprocessing(Preprocessing):
    """Inception's random crops and flips; pixels from 0 to 1, standardised.

    In evaluation the short side is resized, bilinearly and averaging what it skips as PIL does, and
    the centre cut out. In training a part of 8% to 100% of the photo, of an aspect ratio of 3/4 to
    4/3, is resized to the output. (torchvision draws the logarithm of the ratio evenly, TensorFlow
    the ratio itself.)

    Attributes:
      is_training: random crop and flip; otherwise the centre, or ten crops of the central square.
      resize_side: in evaluation, of the short side, in pixels.
      mean_rgb: subtracted, on the scale 0 to 1.
      deviation_rgb: divides the difference, on the scale 0 to 1.
    """

    pixel_scale: ClassVar[float] = 1.0

    resize_side: int = 256
    mean_rgb: tuple[float, float, float] = IMAGENET_MEAN_RGB
    deviation_rgb: tuple[float, float, float] = IMAGENET_DEVIATION_RGB

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_side("resize_side", self.resize_side)
        check_rgb("mean_rgb", self.mean_rgb)
        check_rgb("deviation_rgb", self.deviation_rgb)
        if min(self.deviation_rgb) <= 0:
            raise ValueError(f"deviation_rgb is {self.deviation_rgb!r}; each must be positive.")

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        if self.is_training:
            seeds = windows.independent_seeds(seed, "window", "flip")
            top, left, rows, columns = _random_window(source, seeds["window"])
            window = source.window(top, left, rows, columns)
            resized = windows.resize_bilinear(window, height, width, antialias=True)
            return windows.random_flip(resized, seeds["flip"])
        check_side("resize_side", self.resize_side, at_least=max(height, width))
        photo = source.window(0, 0, source.height, source.width)
        short = tf.minimum(source.height, source.width)
        tall, wide = (self.resize_side * n // short for n in (source.height, source.width))
        resized = windows.resize_bilinear(photo, tall, wide, antialias=True)
        if num_crops > 1:
            return windows.ten_crops(resized, height, width)
        # Half a pixel goes to the even number, as Python's round takes it.
        top, left = (
            tf.cast(tf.round(tf.cast(n, tf.float32) / 2), tf.int32)
            for n in (tall - height, wide - width)
        )
        return resized[top : top + height, left : left + width]

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Scales and standardises.

        Args:
          batch: "image" uint8 [batch, height, width, 3], or with ten crops behind the first
            dimension.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"]: (pixels / 255 - mean_rgb) / deviation_rgb.
        """
        mean = tf.constant(self.mean_rgb, tf.float32)
        deviation = tf.constant(self.deviation_rgb, tf.float32)
        scaled = tf.cast(batch["image"], tf.float32) / 255
        return tf.cast((scaled - mean) / deviation, dtype)


def _random_window(
    source: Source, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws top, left, height and width of a part of the photo."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([source.height, source.width, 3]),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
    )
    return begin[0], begin[1], size[0], size[1]
