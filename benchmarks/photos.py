"""JPEG files that cost as much to decode as photos do, made from a seed without a network.

    python benchmarks/photos.py FOLDER NUMBER

writes so many into a folder.
"""

from __future__ import annotations

import pathlib
import sys

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
import numpy as np
import tensorflow as tf

HEIGHT, WIDTH = 375, 500  # ImageNet's most frequent size

# With these a file has about 108 kB, the mean of ImageNet's training set being 110.
_QUALITY = 90
_CONTRAST = 45.0
_MEAN = 120.0
_SHARED_BY_CHANNELS = 0.7

_NUM_CLASSES = 4


def write_photos(folder: str, num_photos: int, seed: int = 0) -> None:
    """Writes JPEGs as a folder of images per class, `folder/train/<class>/<number>.jpg`.

    Args:
      folder: an existing one.
      num_photos: how many, in four classes.
      seed: of the pixels; the same seed writes the same files.
    """
    generator = np.random.default_rng(seed)
    for number in range(num_photos):
        path = pathlib.Path(folder, "train", f"class_{number % _NUM_CLASSES}", f"{number:05d}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = _photo(generator)
        path.write_bytes(tf.io.encode_jpeg(pixels, quality=_QUALITY).numpy())


def _photo(generator: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1/frequency, as that of natural images does.

    White noise would be much slower to decode than a photo, and smooth colour much faster.
    """
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, np.newaxis], np.fft.rfftfreq(WIDTH))
    frequency[0, 0] = 1 / WIDTH
    spectrum = np.fft.rfft2(generator.standard_normal([3, HEIGHT, WIDTH])) / frequency
    channels = np.fft.irfft2(spectrum, [HEIGHT, WIDTH])
    channels /= channels.std()
    # The channels of a photo are mostly one brightness, and chroma is stored at half the size.
    pixels = _SHARED_BY_CHANNELS * channels[:1] + (1 - _SHARED_BY_CHANNELS) * channels
    pixels = np.clip(pixels / pixels.std() * _CONTRAST + _MEAN, 0, 255)
    return np.moveaxis(pixels, 0, -1).astype(np.uint8)


if __name__ == "__main__":
    write_photos(sys.argv[1], int(sys.argv[2]))
