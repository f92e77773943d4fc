"""A plain pipeline for small images such as CIFAR's.

In training the usual shift and mirror (He et al., "Deep Residual Learning", section 4.2: four
pixels of padding, a crop of the original size, a flip); in evaluation the image as it is. Then
each channel is brought to zero mean and unit deviation.

TF-Slim's cifarnet standardises each image by itself and cuda-convnet subtracts a mean image;
fixed channel statistics keep an image's own brightness and need no file.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import Preprocessing, check_padding, check_rgb, register_preprocessing
from preprocessing.decoding import Source

# Of CIFAR-10's 50,000 training images, pixels 0 to 255.
CIFAR10_MEAN_RGB = (0.49140 * 255, 0.48216 * 255, 0.44653 * 255)
CIFAR10_DEVIATION_RGB = (0.24703 * 255, 0.24348 * 255, 0.26159 * 255)


@register_preprocessing("cifar")
@dataclasses.dataclass(frozen=True)
class CifarPreprocessing(Preprocessing):
    """Shift and mirror in training, the image itself in evaluation; standardised channels.

    An image of another size than the output is first resized to it, by area or cubically; its
    aspect ratio is not kept.

    Attributes:
      is_training: whether images are augmented, if `augment` says so.
      augment: False trains on the images as they are.
      padding: black pixels added to each side before the random crop.
      mean_rgb: what is subtracted, on the scale 0 to 255.
      deviation_rgb: what the difference is divided by, on the scale 0 to 255; (1, 1, 1) keeps
        the scale of the pixels, as cuda-convnet's networks expect.
    """

    takes_ten_crops = False

    augment: bool = True
    padding: int = 4
    mean_rgb: tuple[float, float, float] = CIFAR10_MEAN_RGB
    deviation_rgb: tuple[float, float, float] = CIFAR10_DEVIATION_RGB

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_padding(self.padding)
        check_rgb("mean_rgb", self.mean_rgb)
        check_rgb("deviation_rgb", self.deviation_rgb)
        if min(self.deviation_rgb) <= 0:
            raise ValueError(f"deviation_rgb is {self.deviation_rgb!r}; each must be positive.")

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        image = source.window(0, 0, source.height, source.width)
        image = windows.resize(image, height, width)
        if not (self.is_training and self.augment):
            return image
        seeds = windows.independent_seeds(seed, "top", "left", "flip")
        top = windows.random_offset(2 * self.padding, seeds["top"])
        left = windows.random_offset(2 * self.padding, seeds["left"])
        image = tf.pad(image, [[self.padding] * 2, [self.padding] * 2, [0, 0]])
        image = image[top : top + height, left : left + width]
        return windows.random_flip(image, seeds["flip"])

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Standardises the channels.

        Args:
          batch: "image" uint8 [batch, height, width, 3].
          dtype: of the result, to which the float32 quotient is cast (see
            `Preprocessing.device`).

        Returns:
          `dtype` [batch, height, width, 3]: (pixels - mean_rgb) / deviation_rgb.
        """
        mean = tf.constant(self.mean_rgb, tf.float32)
        deviation = tf.constant(self.deviation_rgb, tf.float32)
        return tf.cast((tf.cast(batch["image"], tf.float32) - mean) / deviation, dtype)
