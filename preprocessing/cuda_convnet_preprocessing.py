"""cuda-convnet's pipeline for CIFAR-10: pixels less their mean, and crops where they are smaller.

Source: Krizhevsky, cuda-convnet, `convdata.py` (`CIFARDataProvider`, `CroppedCIFARDataProvider`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import (
    Preprocessing,
    check_rgb,
    check_side,
    file_option,
    register_preprocessing,
)
from preprocessing.cifar_preprocessing import CIFAR10_MEAN_RGB
from preprocessing.decoding import Source
from preprocessing.mean_images import center_of_mean_image


@register_preprocessing("cuda_convnet")
@dataclasses.dataclass(frozen=True)
class CudaConvnetPreprocessing(Preprocessing):
    """The image less the mean, from 0 to 255; where the output is smaller, crops and flips of it.

    An output of the image's own size is not augmented at all, as the network of 18% was trained;
    one of 24x24 is a random crop in training, mirrored half of the time, as those of 13% and 11%
    were, and the centre or the mean of ten crops in evaluation.

    Attributes:
      is_training: random crop and flip, if the output is smaller than `image_side`.
      image_side: height and width to which images of another size are resized, in pixels.
      mean_rgb: what is subtracted, on the scale 0 to 255; the default is CIFAR-10's.
      mean_image: a NumPy file, float [image_side, image_side, 3], whose centre is subtracted
        instead.
    """

    image_side: int = 32
    mean_rgb: tuple[float, float, float] = CIFAR10_MEAN_RGB
    mean_image: str | None = file_option("mean_image.npy", replaces="mean_rgb")

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_side("image_side", self.image_side)
        check_rgb("mean_rgb", self.mean_rgb)

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        side = self._side(height, width)
        image = source.window(0, 0, source.height, source.width)
        image = windows.resize(image, side, side)
        if num_crops > 1:
            return windows.ten_crops(image, height, width)
        if self.is_training and (height, width) != (side, side):
            return windows.random_crop_and_flip(image, height, width, seed)
        return windows.center_crop(image, height, width)

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Subtracts the mean.

        Args:
          batch: "image" uint8 [batch, height, width, 3], or with ten crops behind the first
            dimension.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"].
        """
        height, width = batch["image"].shape[-3:-1]
        mean = tf.constant(self._mean(height, width), tf.float32)
        return tf.cast(tf.cast(batch["image"], tf.float32) - mean, dtype)

    def _mean(self, height: int, width: int) -> Any:
        if self.mean_image is None:
            return self.mean_rgb
        return center_of_mean_image(self.mean_image, self._side(height, width), height, width)

    def _side(self, height: int, width: int) -> int:
        return max(self.image_side, height, width)
