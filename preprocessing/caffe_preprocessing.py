"""Caffe's pipeline for its two AlexNets: 256x256 whatever the shape, BGR, a mean subtracted.

Sources: Caffe, `models/bvlc_alexnet/train_val.prototxt`, `examples/imagenet/create_imagenet.sh`
and `src/caffe/data_transformer.cpp`.
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
from preprocessing.decoding import Source
from preprocessing.mean_images import center_of_mean_image
from slimzoo_registry import unknown_name_message

# The mean over positions of Caffe's ilsvrc12 mean image, in the order R, G, B.
CAFFE_MEAN_RGB = (122.67891434, 116.66876762, 104.00698793)


@register_preprocessing("caffe")
@dataclasses.dataclass(frozen=True)
class CaffePreprocessing(Preprocessing):
    """A crop of a photo squeezed to a square, mirrored half of the time; BGR less a mean.

    Caffe's script resizes photos to 256x256 without keeping their aspect ratio. There is no colour
    noise.

    Attributes:
      is_training: random crop and flip; otherwise the centre, or ten crops.
      resize_side: height and width in pixels of what is cropped from.
      mean_rgb: what is subtracted, R, G, B on the scale 0 to 255.
      mean_image: a NumPy file, float [resize_side, resize_side, 3], RGB, subtracted instead. (Caffe
        subtracts it where the crop was cut; here its centre is, as in evaluation.)
      channel_order: `bgr`, as Caffe's networks were trained; `rgb` for their weights with the
        first layer's input channels reversed.
    """

    resize_side: int = 256
    mean_rgb: tuple[float, float, float] = CAFFE_MEAN_RGB
    mean_image: str | None = file_option("mean_image.npy", replaces="mean_rgb")
    channel_order: str = "bgr"

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_side("resize_side", self.resize_side)
        check_rgb("mean_rgb", self.mean_rgb)
        if self.channel_order not in ("bgr", "rgb"):
            raise ValueError(
                unknown_name_message("channel_order", self.channel_order, ("bgr", "rgb"))
            )

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        side = self.resize_side
        check_side("resize_side", side, at_least=max(height, width))
        photo = source.window(0, 0, source.height, source.width)
        square = windows.resize_bilinear(photo, side, side)
        if num_crops > 1:
            return windows.ten_crops(square, height, width)
        if not self.is_training:
            return windows.center_crop(square, height, width)
        return windows.random_crop_and_flip(square, height, width, seed)

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Subtracts the mean and brings the channels into their order.

        Args:
          batch: "image" uint8 [batch, height, width, 3], RGB, or with ten crops behind the first
            dimension.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"].
        """
        height, width = batch["image"].shape[-3:-1]
        shifted = tf.cast(batch["image"], tf.float32) - tf.constant(
            self._mean(height, width), tf.float32
        )
        if self.channel_order == "bgr":
            shifted = tf.reverse(shifted, axis=[-1])
        return tf.cast(shifted, dtype)

    def _mean(self, height: int, width: int) -> Any:
        if self.mean_image is None:
            return self.mean_rgb
        return center_of_mean_image(self.mean_image, self.resize_side, height, width)
