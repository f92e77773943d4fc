"""The pipeline of the 2012 paper: short side to 256, 224 crops and flips, colour noise, mean.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
sections 2 and 4.1, and the code its authors released. Pixels stay on the scale 0 to 255, in RGB.

The paper resizes the whole photo until its short side has 256 pixels, takes the central 256x256
and crops from that; `resize_first=True` does so to the letter. Otherwise the part of the photo
that the crop covers is found first, and only that is decoded and resized: the same crops, but each
moved by up to half a pixel of what is decoded, and a JPEG whose short side is 1,024 pixels or more
is decoded at a half, a quarter or an eighth of its size before the rest of the way is averaged.
Random crops are uniform either way. The mean absolute difference of the pixels is 5.3 grey levels
on photos of about 480x360 (shifting a crop by one pixel makes 7.2), 5.4 at 500x375 (10.1) and 8.7
at 1500x1125 (15.4). A photo that must be enlarged is enlarged from its central square, whole.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import (
    Preprocessing,
    check_rgb,
    check_side,
    file_option,
    register_preprocessing,
    renamed_option,
)
from preprocessing.decoding import Pixels, Source
from preprocessing.mean_images import center_of_mean_image

# ILSVRC-2012's training set, pixels 0 to 255, as cuda-convnet2 ships them for its networks: the
# mean, and the principal components of the RGB values of its pixels.
ILSVRC_2012_MEAN_RGB = (127.305, 119.715, 104.913)
# Standard deviations along the components, largest first. (The paper calls them eigenvalues. The
# constants .2175, .0188, .0045 found elsewhere are variances of pixels 0 to 1.)
ILSVRC_2012_COLOR_DEVIATIONS = (121.78006, 37.09389, 19.72083)
# A row for each of R, G, B and a column, of length 1, for each component.
ILSVRC_2012_COLOR_COMPONENTS = (
    (-0.56351045, -0.71257945, 0.41795513),
    (-0.57618440, -0.02354167, -0.81698062),
    (-0.59200296, 0.70119634, 0.39731118),
)

# 227 is Caffe's way to give the first layer its 55 outputs, and its photos too are 256 wide.
_USUAL_RESIZE_SIDE = {224: 256, 227: 256}


@register_preprocessing("alexnet")
@dataclasses.dataclass(frozen=True)
class AlexNetPreprocessing(Preprocessing):
    """The paper's augmentation in training; in evaluation the central crop or ten crops.

    Attributes:
      is_training: random crop, flip and colour noise, or none of them.
      resize_side: side in pixels of the square from which the output is cropped. None is 256 for
        outputs of 224 (the paper's) and 227 (Caffe's), and otherwise keeps the paper's ratio:
        round(larger output side * 256 / 224).
      resize_first: resizes the whole photo before anything is cut, to the letter of the paper.
      mean_rgb: what is subtracted, on the scale 0 to 255.
      color_noise_scale: deviation of the noise along each component, as a fraction of the
        data's own; the paper's 0.1. Zero turns it off.
      color_deviations: of the data, along each component.
      color_components: rows R, G, B; a column for each component.
    """

    resize_side: int | None = None
    resize_first: bool = False
    mean_rgb: tuple[float, float, float] = ILSVRC_2012_MEAN_RGB
    color_noise_scale: float = renamed_option(0.1, "colour_noise_scale")
    color_deviations: tuple[float, float, float] = renamed_option(
        ILSVRC_2012_COLOR_DEVIATIONS, "colour_deviations"
    )
    color_components: tuple[tuple[float, float, float], ...] = renamed_option(
        ILSVRC_2012_COLOR_COMPONENTS, "colour_components"
    )

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        if self.resize_side is not None:
            check_side("resize_side", self.resize_side)
        if not 0 <= self.color_noise_scale < float("inf"):
            raise ValueError(
                f"color_noise_scale is {self.color_noise_scale!r}; it must be zero (no noise) "
                "or positive (the paper's is 0.1)."
            )
        check_rgb("mean_rgb", self.mean_rgb)
        check_rgb("color_deviations", self.color_deviations, minimum=0)
        if len(self.color_components) != 3:
            raise ValueError(
                f"color_components has {len(self.color_components)} rows; it must have three, "
                "for R, G and B."
            )
        for row in self.color_components:
            check_rgb("A row of color_components", row)

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        side = self.side_of_square(height, width)
        if self.resize_first:
            photo = source.window(0, 0, source.height, source.width)
            source = Pixels(windows.short_side_center_square(photo, side))
        crop = functools.partial(_resized_crop, source, side)
        if num_crops > 1:
            return windows.ten_crops(crop(0, 0, side, side), height, width)
        if not self.is_training:
            return crop((side - height) // 2, (side - width) // 2, height, width)
        seeds = _seeds(seed)
        top = windows.random_offset(side - height, seeds["top"])
        left = windows.random_offset(side - width, seeds["left"])
        return windows.random_flip(crop(top, left, height, width), seeds["flip"])

    def _device_draws(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the z of the noise: one draw for the whole image, not one for each pixel."""
        if not self.is_training:
            return {}
        return {"color_noise": tf.random.stateless_normal([3], _seeds(seed)["color"])}

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Adds the colour noise and subtracts the mean.

        Args:
          batch: "image" uint8 [batch, height, width, 3] and, in training, "color_noise" float32
            [batch, 3]; in evaluation "image" may be [batch, 10, height, width, 3].
          dtype: of the result, to which the float32 sum is cast (see `Preprocessing.device`).

        Returns:
          `dtype`, of the shape of batch["image"], on the scale 0 to 255 less the mean.

        Raises:
          ValueError: if this is training and the noise was not drawn.
        """
        height, width = batch["image"].shape[-3:-1]
        shift = -tf.constant(self._mean(height, width), tf.float32)
        if self.is_training:
            if "color_noise" not in batch:
                raise ValueError(
                    f"The batch holds {', '.join(sorted(batch))} but no color_noise. Training "
                    "needs the whole of what host() gives."
                )
            # Noise and mean are one number for an image and channel: one pass over the pixels.
            shift += self._color_noise(batch["color_noise"])[:, tf.newaxis, tf.newaxis, :]
        shifted = tf.cast(batch["image"], tf.float32) + shift
        return tf.cast(shifted / self._divisor(), dtype)

    def _mean(self, height: int, width: int) -> Any:
        """What is subtracted: a number for each channel, or float [height, width, 3]."""
        del height, width
        return self.mean_rgb

    def _divisor(self) -> float:
        return 1.0

    def _color_noise(self, z: tf.Tensor) -> tf.Tensor:
        """Returns E (scale * sigma * z), section 4.1, as float32 [batch, 3], for z [batch, 3]."""
        deviations = self.color_noise_scale * tf.constant(self.color_deviations, tf.float32)
        components = tf.constant(self.color_components, tf.float32)
        return tf.linalg.matvec(components, deviations * z)

    def side_of_square(self, height: int, width: int) -> int:
        """The side in pixels of the square from which an output is cropped.

        Raises:
          ValueError: if `resize_side` is too small for it.
        """
        larger = max(height, width)
        if self.resize_side is None:
            return _USUAL_RESIZE_SIDE.get(larger, round(larger * 256 / 224))
        check_side("resize_side", self.resize_side, at_least=larger)
        return int(self.resize_side)


@register_preprocessing("alexnet_2012")
@dataclasses.dataclass(frozen=True)
class AlexNet2012Preprocessing(AlexNetPreprocessing):
    """The pipeline of the code that the paper's authors released (`convdata_jpeg.py`).

    While colour noise is on, in training, the sum of what is left of the pixels and the noise is
    divided by 1 + `color_noise_scale` (1.1), so that its scale is that of evaluation. The mean may
    be an image, of which the centre is subtracted wherever the crop was cut.

    Attributes:
      mean_image: a NumPy file, float [resize_side, resize_side, 3], RGB, 0 to 255, as
        compute_dataset_statistics writes it; None subtracts `mean_rgb`.
    """

    mean_image: str | None = file_option("mean_image.npy", replaces="mean_rgb")

    def _mean(self, height: int, width: int) -> Any:
        if self.mean_image is None:
            return self.mean_rgb
        side = self.side_of_square(height, width)
        return center_of_mean_image(self.mean_image, side, height, width)

    def _divisor(self) -> float:
        return 1 + self.color_noise_scale if self.is_training else 1.0


def _seeds(seed: tf.Tensor) -> dict[str, tf.Tensor]:
    return windows.independent_seeds(seed, "top", "left", "flip", "color")


def _resized_crop(
    source: Source,
    side: int,
    top: tf.Tensor | int,
    left: tf.Tensor | int,
    height: int,
    width: int,
) -> tf.Tensor:
    """Returns a window of the central square of the photo, resizing little more than that.

    Args:
      source: the photo.
      side: of the central square, to which the short side of the photo is resized.
      top: of the window in the square.
      left: of the window in the square.
      height: of the window.
      width: of the window.
    """
    short = tf.minimum(source.height, source.width)

    def untouched() -> tf.Tensor:
        source_top = (source.height - side) // 2 + top
        source_left = (source.width - side) // 2 + left
        return source.window(source_top, source_left, height, width)

    def reduced() -> tf.Tensor:
        smaller = source.reduced(short // (2 * side))
        scale = tf.minimum(smaller.height, smaller.width) / side  # float64
        tops, lefts = (
            _source_span(length, side, scale, offset, size)
            for length, offset, size in (
                (smaller.height, top, height),
                (smaller.width, left, width),
            )
        )
        window = smaller.window(tops[0], lefts[0], tops[1], lefts[1])
        return windows.resize(window, height, width)

    def enlarged() -> tf.Tensor:
        # A crop in whole pixels of so small a photo could not begin at each of its offsets.
        source_top, source_left = (source.height - short) // 2, (source.width - short) // 2
        square = windows.resize(source.window(source_top, source_left, short, short), side, side)
        return square[top : top + height, left : left + width]

    return tf.case([(tf.equal(short, side), untouched), (short > side, reduced)], default=enlarged)


def _source_span(
    length: tf.Tensor, side: int, scale: tf.Tensor, offset: tf.Tensor | int, size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where `size` pixels from `offset` of the square lie along a side of the photo.

    Args:
      length: of that side of the photo.
      side: of the square.
      scale: float64, pixels of the photo for one of the square.
      offset: in pixels of the square.
      size: in pixels of the square.

    Returns:
      Start and size in pixels of the photo, int32. The size is the same for every offset.
    """
    source_size = tf.cast(tf.round(size * scale), tf.int32)
    start = (tf.cast(length, tf.float64) - side * scale) / 2 + tf.cast(offset, tf.float64) * scale
    start = tf.cast(tf.round(start), tf.int32)
    return tf.clip_by_value(start, 0, length - source_size), source_size
