"""TF-Slim's `vgg` pipeline, of its VGG and ResNet networks.

Sources: TF-Slim, `preprocessing/vgg_preprocessing.py`; Simonyan, Zisserman, "Very Deep
Convolutional Networks for Large-Scale Image Recognition" (https://arxiv.org/abs/1409.1556),
section 3.1.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import Preprocessing, check_rgb, check_side, register_preprocessing
from preprocessing.decoding import Source

VGG_MEAN_RGB = (123.68, 116.78, 103.94)


@register_preprocessing("vgg")
@dataclasses.dataclass(frozen=True)
class VggPreprocessing(Preprocessing):
    """A crop of a photo of a random size, mirrored half of the time, less a mean.

    The photo is resized, keeping its aspect ratio, so that its short side is of a given length in
    evaluation, and of one drawn between two in training. It is resized as TensorFlow 1 did, without
    rounding; in training the pixels are rounded to bytes, which is quicker to hand over.

    Attributes:
      is_training: random size, crop and flip; otherwise the centre, or ten crops.
      resize_side_min: of the short side in evaluation, and the least in training, in pixels.
      resize_side_max: the largest in training, in pixels.
      mean_rgb: what is subtracted, R, G, B on the scale 0 to 255.
    """

    resize_side_min: int = 256
    resize_side_max: int = 512
    mean_rgb: tuple[float, float, float] = VGG_MEAN_RGB

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_side("resize_side_min", self.resize_side_min)
        check_side("resize_side_max", self.resize_side_max, at_least=self.resize_side_min)
        check_rgb("mean_rgb", self.mean_rgb)

    @property
    def pixel_dtype(self) -> tf.DType:
        """Not rounded in evaluation."""
        return tf.uint8 if self.is_training else tf.float32

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        # Images larger than what is resized to need a larger one.
        least = max(self.resize_side_min, height, width)
        if self.is_training:
            return self._training_pixels(source, least, height, width, seed)
        photo = source.window(0, 0, source.height, source.width)
        tall, wide = tf.unstack(_size_with_short_side(source, least))
        resized = windows.resize_bilinear_from_corners(photo, tall, wide)
        if num_crops > 1:
            return windows.ten_crops(resized, height, width)
        return windows.center_crop(resized, height, width)

    def _training_pixels(
        self, source: Source, least: int, height: int, width: int, seed: tf.Tensor
    ) -> tf.Tensor:
        seeds = windows.independent_seeds(seed, "side", "top", "left", "flip")
        side = least + windows.random_offset(max(self.resize_side_max - least, 0), seeds["side"])
        size = _size_with_short_side(source, side)
        top = windows.random_offset(size[0] - height, seeds["top"])
        left = windows.random_offset(size[1] - width, seeds["left"])
        crop = windows.window_of_resized(source, size, top, left, height, width)
        # Between pixels nothing leaves 0 to 255; not clipping saves a pass over the pixels.
        return windows.random_flip(tf.cast(crop + 0.5, tf.uint8), seeds["flip"])

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Subtracts the mean.

        Args:
          batch: "image" uint8 or float32 [batch, height, width, 3], or with ten crops behind the
            first dimension.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"].
        """
        mean = tf.constant(self.mean_rgb, tf.float32)
        return tf.cast(tf.cast(batch["image"], tf.float32) - mean, dtype)


def _size_with_short_side(source: Source, side: tf.Tensor | int) -> tf.Tensor:
    """Height and width, int32 [2], of a photo whose short side is resized to `side` pixels."""
    sizes = tf.cast(tf.stack([source.height, source.width]), tf.float32)
    scale = tf.cast(side, tf.float32) / tf.reduce_min(sizes)
    return tf.cast(tf.round(sizes * scale), tf.int32)
