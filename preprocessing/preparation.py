"""How evaluation prepares a photo, in words and as Python that needs Pillow and NumPy alone.

For those who run an exported network without this package. It stands in for the host half of a
pipeline, to within the rounding of another library's resizing.
"""

from __future__ import annotations

from typing import NamedTuple

from preprocessing.alexnet_preprocessing import AlexNetPreprocessing
from preprocessing.base import Preprocessing
from preprocessing.caffe_preprocessing import CaffePreprocessing
from preprocessing.cifar_preprocessing import CifarPreprocessing
from preprocessing.cifarnet_preprocessing import CifarnetPreprocessing
from preprocessing.cuda_convnet_preprocessing import CudaConvnetPreprocessing
from preprocessing.inception_preprocessing import InceptionPreprocessing
from preprocessing.lenet_preprocessing import LenetPreprocessing
from preprocessing.torchvision_preprocessing import TorchvisionPreprocessing
from preprocessing.vgg_preprocessing import VggPreprocessing


class Preparation(NamedTuple):
    """How to make a network's input.

    Attributes:
      words: a sentence or two.
      python: the function `prepare(path)`, which gives uint8 [size, size, channels]; None for a
        pipeline of the user's own, which only its code tells.
    """

    words: str
    python: str | None


_HEAD = '''import numpy as np
from PIL import {imports}


def prepare(path):
    """Gives uint8 [{size}, {size}, {channels}], {color}."""
    photo = {photo}
    if photo.mode.startswith("I"):  # 16 bits a pixel, of which Pillow would keep what is below 256
        photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
    photo = photo.convert("{mode}")
    width, height = photo.size
'''

_CENTER = """    left, top = (photo.width - {size}) // 2, (photo.height - {size}) // 2
    return np.asarray(photo.crop((left, top, left + {size}, top + {size})))
"""

_WHOLE = """    left, top = (int((side - {size}) / 2) for side in (width, height))
    pixels = np.asarray(photo.crop((left, top, left + {size}, top + {size})))
    return pixels.reshape([{size}, {size}, {channels}])
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

_FROM_CORNERS = """

def resize(pixels, height, width):
    \"\"\"Bilinearly, the first pixel of each side where it is, as TensorFlow 1 did.\"\"\"
    for axis, size in ((0, height), (1, width)):
        length = pixels.shape[axis]
        places = np.arange(size) * length / size
        low = places.astype(int)
        share = (places - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        high = np.minimum(low + 1, length - 1)
        pixels = (1 - share) * pixels.take(low, axis) + share * pixels.take(high, axis)
    return pixels.round().astype(np.uint8)
"""

_VGG = """    scale = {side} / min(width, height)
    photo = resize(np.asarray(photo), round(height * scale), round(width * scale))
    top, left = (photo.shape[0] - {size}) // 2, (photo.shape[1] - {size}) // 2
    return photo[top : top + {size}, left : left + {size}]
"""

_INCEPTION = """    left, top = (int((side - side * {fraction}) / 2) for side in (width, height))
    photo = photo.crop((left, top, width - left, height - top))
    return resize(np.asarray(photo), {size}, {size})
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
    unknown = Preparation(f"As the host half of {kind.__module__}.{kind.__name__} does it.", None)
    if kind.__module__.split(".")[0] != __package__:  # derived from ours, it may do otherwise
        return unknown
    side, fraction = size, 1.0
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
    elif isinstance(preprocessing, CifarnetPreprocessing | LenetPreprocessing):
        first = "Make the image grey, by its luma. " if preprocessing.use_grayscale else ""
        words = (
            f"{first}Cut out the central {size}x{size} pixels without resizing, and put black "
            "around what is smaller."
        )
        python = _WHOLE
    elif isinstance(preprocessing, CifarPreprocessing | CudaConvnetPreprocessing):
        if isinstance(preprocessing, CudaConvnetPreprocessing):
            side = max(preprocessing.image_side, size)
        words = (
            f"Resize to {side}x{side} whatever the aspect ratio, by area to reduce and cubically to"
            f" enlarge{'' if side == size else f', and cut out the central {size}x{size}'}."
        )
        python = _SQUEEZED + _CENTER
    elif isinstance(preprocessing, VggPreprocessing):
        side = max(preprocessing.resize_side_min, size)
        words = (
            f"Resize the short side to {side} pixels as TensorFlow 1 did (bilinearly, pixel centres"
            f" at the corners), and cut out the central {size}x{size}."
        )
        python = _VGG
    elif isinstance(preprocessing, InceptionPreprocessing):
        fraction = preprocessing.central_fraction
        words = (
            f"Cut out the central part, {fraction:.1%} of height and width, and resize it to "
            f"{size}x{size} as TensorFlow 1 did (bilinearly, pixel centres at the corners)."
        )
        python = _INCEPTION
    else:
        return unknown
    imports, photo = "Image", "Image.open(path)"
    if preprocessing.respect_exif:
        words = f"Turn the photo as its camera noted (EXIF orientation). {words}"
        imports, photo = "Image, ImageOps", "ImageOps.exif_transpose(Image.open(path))"
    gray = preprocessing.use_grayscale
    code = (_HEAD + python).format(
        size=size,
        side=side,
        fraction=fraction,
        imports=imports,
        photo=photo,
        channels=preprocessing.channels,
        color="grey" if gray else "RGB",
        mode="L" if gray else "RGB",
    )
    return Preparation(words, code + (_FROM_CORNERS if "resize(np" in python else ""))
