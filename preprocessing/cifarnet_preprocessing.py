"""TF-Slim's `cifarnet` pipeline, of its network for CIFAR-10.

It is none of cuda-convnet's, which is in `cuda_convnet_preprocessing.py`.

Source: TF-Slim, `preprocessing/cifarnet_preprocessing.py`.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import Preprocessing, check_padding, register_preprocessing
from preprocessing.decoding import Source

_CONTRASTS = (0.2, 1.8)


@register_preprocessing("cifarnet")
@dataclasses.dataclass(frozen=True)
class CifarnetPreprocessing(Preprocessing):
    """Shift, mirror and contrast in training; each image by itself to mean 0 and deviation 1.

    Nothing is resized: of a larger image training takes a random crop and evaluation the centre,
    and a smaller one gets black around it. The contrast of each channel is changed about its mean.
    TF-Slim also draws a brightness, which standardisation then takes away to the last bit but
    rounding; here none is drawn.

    Attributes:
      is_training: whether images are augmented.
      padding: black pixels added to each side before the random crop.
    """

    takes_grayscale = True
    takes_ten_crops = False

    padding: int = 4

    def __post_init__(self) -> None:
        """Checks the option.

        Raises:
          ValueError: for a value that is out of range.
        """
        check_padding(self.padding)

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        image = source.window(0, 0, source.height, source.width)
        if not self.is_training:
            return tf.image.resize_with_crop_or_pad(image, height, width)
        image = tf.image.resize_with_crop_or_pad(
            image,
            tf.maximum(source.height + 2 * self.padding, height),
            tf.maximum(source.width + 2 * self.padding, width),
        )
        seed = windows.independent_seeds(seed, "crop")["crop"]
        return windows.random_crop_and_flip(image, height, width, seed)

    def _device_draws(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        if not self.is_training:
            return {}
        seed = windows.independent_seeds(seed, "crop", "contrast")["contrast"]
        return {"contrast": tf.random.stateless_uniform([], seed, *_CONTRASTS)}

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Changes the contrast, in training, and standardises each image.

        Args:
          batch: "image" uint8 [batch, height, width, channels] and, in training, "contrast"
            float32 [batch], by which the differences from the mean of a channel are multiplied.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"]: less the image's mean, over its deviation.
        """
        images = tf.cast(batch["image"], tf.float32)
        if "contrast" in batch:
            means = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
            images = (images - means) * batch["contrast"][:, None, None, None] + means
        return tf.cast(tf.image.per_image_standardization(images), dtype)
