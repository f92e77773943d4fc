"""How evaluation prepares a photo, in words and as Python that needs Pillow and NumPy alone.

For those who run an exported network without this package. It stands in for the host half of a
pipeline, to within the rounding of another library's resizing.
"""

from __future__ import annotations

from typing import NamedTuple

from preprocessing.alexnet_preprocessing import AlexNetPreprocessing
from preprocessing.base import Preprocessing
from preprocessing.caffe_preprocessing import CaffePreprocessing
from preprocessing.cifarnet_preprocessing import CifarnetPreprocessing
from preprocessing.torchvision_preprocessing import TorchvisionPreprocessing


class Preparation(NamedTuple):
    """How to make a network's input.

    Attributes:
      words: a sentence or two.
      python: the function `prepare(path)`, which gives uint8 [size, size, 3]; None for a pipeline
        of the user's own, which only its code tells.
    """

    words: str
    python: str | None


_HEAD = '''import numpy as np
from PIL import {imports}


def prepare(path):
    """Gives uint8 [{size}, {size}, 3], RGB."""
    photo = {photo}.convert("RGB")
    width, height = photo.size
'''

_CENTER = """    left, top = (photo.width - {size}) // 2, (photo.height - {size}) // 2
    return np.asarray(photo.crop((left, top, left + {size}, top + {size})))
"""

_SQUEEZED = """    reduces = min(width, height) >= {side}
    method = Image.Resampling.BOX if reduces else Image.Resampling.BICUBIC
    photo = photo.resize(({side}, {side}), method)
"""

_ALEXNET = """    short = min(width, height)
    crop = short * {size} / {side}
    left, top = (width - crop) / 2, (height - crop) / 2
    method = Image.Resampling.BOX if short >= {side} else Image.Resampling.BICUBIC
    box = (left, top, left + crop, top + crop)
    return np.asarray(photo.resize(({size}, {size}), method, box=box))
"""

_CAFFE = """    whole = (0, 0, width, height)
    bilinear = Image.Resampling.BILINEAR
    photo = photo.transform(({side}, {side}), Image.Transform.EXTENT, whole, bilinear)
"""

_TORCHVISION = """    short = min(width, height)
    size = ({side} * width // short, {side} * height // short)
    photo = photo.resize(size, Image.Resampling.BILINEAR)
    left, top = round((photo.width - {size}) / 2), round((photo.height - {size}) / 2)
    return np.asarray(photo.crop((left, top, left + {size}, top + {size})))
"""


def preparation(preprocessing: Preprocessing, size: int) -> Preparation:
    """Says how a pipeline makes a network's input in evaluation, before mean and scale.

    Args:
      preprocessing: made for evaluation.
      size: height and width given to the network, in pixels.
    """
    kind = type(preprocessing)
    if kind.__module__.split(".")[0] != __package__:  # derived from ours, it may do otherwise
        return Preparation(f"As the host half of {kind.__module__}.{kind.__name__} does it.", None)
    side = size
    if isinstance(preprocessing, AlexNetPreprocessing):
        side = preprocessing.side_of_square(size, size)
        words = (
            f"Resize the short side to {side} pixels, by area to reduce and cubically to enlarge, "
            f"and cut out the central {size}x{size}."
        )
        python = _ALEXNET
    elif isinstance(preprocessing, CaffePreprocessing):
        side = preprocessing.resize_side
        words = (
            f"Resize to {side}x{side} whatever the aspect ratio, bilinearly and without averaging "
            f"what is skipped, and cut out the central {size}x{size}."
        )
        python = _CAFFE + _CENTER
    elif isinstance(preprocessing, TorchvisionPreprocessing):
        side = preprocessing.resize_side
        words = (
            f"Resize the short side to {side} pixels, bilinearly, averaging what is skipped, and "
            f"cut out the central {size}x{size}."
        )
        python = _TORCHVISION
    else:
        if isinstance(preprocessing, CifarnetPreprocessing):
            side = max(preprocessing.image_side, size)
        words = (
            f"Resize to {side}x{side} whatever the aspect ratio, by area to reduce and cubically to"
            f" enlarge{'' if side == size else f', and cut out the central {size}x{size}'}."
        )
        python = _SQUEEZED + _CENTER
    imports, photo = "Image", "Image.open(path)"
    if preprocessing.respect_exif:
        words = f"Turn the photo as its camera noted (EXIF orientation). {words}"
        imports, photo = "Image, ImageOps", "ImageOps.exif_transpose(Image.open(path))"
    return Preparation(
        words, (_HEAD + python).format(size=size, side=side, imports=imports, photo=photo)
    )
