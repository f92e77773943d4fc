"""TF-Slim's `lenet` pipeline, of its network for MNIST.

Source: TF-Slim, `preprocessing/lenet_preprocessing.py`.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from preprocessing.base import Preprocessing, register_preprocessing
from preprocessing.decoding import Source


@register_preprocessing("lenet")
@dataclasses.dataclass(frozen=True)
class LenetPreprocessing(Preprocessing):
    """The centre of an image, or the image with black around it, from -1 to 1; no augmentation.

    Attributes:
      is_training: makes no difference.
      use_grayscale: whether images become grey, as MNIST's are; the network's channels decide it
        in the commands.
    """

    takes_grayscale = True
    takes_ten_crops = False

    use_grayscale: bool = dataclasses.field(default=True, kw_only=True)

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        image = source.window(0, 0, source.height, source.width)
        return tf.image.resize_with_crop_or_pad(image, height, width)

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Brings bytes between -1 and 1, with 128 at 0.

        Args:
          batch: "image" uint8 [batch, height, width, channels].
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"].
        """
        return tf.cast((tf.cast(batch["image"], tf.float32) - 128) / 128, dtype)
