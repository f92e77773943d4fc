"""Encoded images to RGB or grey, uint8: every format, and of a JPEG only what is needed.

A pipeline asks a *source* for its size and then for one window of it. What it asks is the same
for a file and for an array; what it costs is not: the size of a JPEG is read from its header, and
of its pixels only the window is decoded.

`tf.image.decode_and_crop_jpeg` gives the pixels of the whole image but for the first and the last
column of the window, where chroma that is stored at a lower resolution is interpolated without
the neighbour outside. Measured on 458 random windows of photos: 0.2 of 255 levels on average in
those two columns, 43 at most, and nothing anywhere else. 4:4:4, grey and CMYK files that Pillow
wrote showed no difference at all.

A photo far larger than what is wanted can be decoded at a half, a quarter or an eighth of its size,
each pixel then being about the mean of those it stands for: most of the decoder's work falls away.
"""

from __future__ import annotations

import abc
import functools
import re
from collections.abc import Callable

import tensorflow as tf

from preprocessing import exif

# TensorFlow's default is INTEGER_FAST: 3% faster on 500x375 photos, and libjpeg's own documentation
# advises against it at high quality. Chroma is upsampled smoothly ("fancy"), as by Pillow and
# OpenCV.
_DCT_METHOD = "INTEGER_ACCURATE"

_BMP_FILE_HEADER_BYTES = 14
_BMP_HEADERS_BYTES = _BMP_FILE_HEADER_BYTES + 40
_NO_HEADERS = b"\0" * _BMP_HEADERS_BYTES

# What TensorFlow writes around the message of an operation: the function that it is in, the dataset
# that called it, and the lines of Python that made it.
_AROUND_A_MESSAGE = re.compile(
    r"\{\{function_node [^}]*\}\} "
    r"|Error in user-defined function passed to \S+ transformation with iterator: \S+: "
    r"|Graph execution error:\n\nDetected at node .* defined at .*:\n(?:  .*\n|\n)*"
    r"| ?\[Op:\w+\](?: name: ?\S*)?$"
)


class Source(abc.ABC):
    """An image whose size is known before its pixels are.

    Attributes:
      height, width: int32 scalars.
      channels: 3, RGB, or 1, grey.
    """

    height: tf.Tensor
    width: tf.Tensor
    channels: int

    @abc.abstractmethod
    def window(
        self, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tf.Tensor:
        """Returns uint8 [height, width, channels], which must lie inside the image."""

    def reduced(self, most: tf.Tensor) -> Source:
        """Returns this image `most` times smaller or less, as far as that makes it cheaper.

        Args:
          most: int32 scalar; below 2 the image is left as it is.
        """
        del most
        return self


class Jpeg(Source):
    """A JPEG file: `contents` is a scalar string tensor."""

    def __init__(self, contents: tf.Tensor, channels: int = 3):
        self._contents = contents
        self.channels = channels
        shape = tf.image.extract_jpeg_shape(contents)
        self.height, self.width = shape[0], shape[1]

    def window(
        self, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tf.Tensor:
        """Decodes the window alone."""
        window = tf.stack([top, left, height, width])
        return _decode_window(self._contents, window, 1, self.channels)

    def reduced(self, most: tf.Tensor) -> Source:
        """Decodes fewer of the cosines of each 8x8 block."""
        return _ReducedJpeg(self, self._contents, most)


class _ReducedJpeg(Source):
    """A JPEG file at its size, or a half, a quarter or an eighth of it."""

    _RATIOS = (1, 2, 4, 8)

    def __init__(self, whole: Jpeg, contents: tf.Tensor, most: tf.Tensor):
        self._contents = contents
        self.channels = whole.channels
        ratios = tf.constant(self._RATIOS)
        self._choice = tf.reduce_sum(tf.cast(ratios[1:] <= most, tf.int32))
        ratio = ratios[self._choice]
        # The decoder rounds a last, partial pixel up.
        self.height, self.width = -(-whole.height // ratio), -(-whole.width // ratio)

    def window(
        self, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tf.Tensor:
        """Decodes the window alone."""
        window = tf.stack([top, left, height, width])
        decoders = [
            functools.partial(_decode_window, self._contents, window, ratio, self.channels)
            for ratio in self._RATIOS
        ]
        return tf.switch_case(self._choice, decoders)


class Turned(Source):
    """An image turned as its EXIF orientation says, of which still only a window is decoded.

    A window is looked up where it lies in the stored image, and turned by itself.

    Args:
      stored: the image as it is stored.
      orientation: int32 scalar from 1 to 8, as `exif.orientation` gives it.
    """

    def __init__(self, stored: Source, orientation: tf.Tensor):
        self._stored = stored
        self._orientation = orientation
        self.channels = stored.channels
        # To turn is to swap rows and columns, or not, and then to reverse either, or not.
        self._swaps = orientation >= 5
        self._reverses_rows = _is_one_of(orientation, 3, 4, 7, 8)
        self._reverses_columns = _is_one_of(orientation, 2, 3, 6, 7)
        self.height, self.width = self._swapped(stored.height, stored.width)

    def window(
        self, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tf.Tensor:
        """Reads the window where it is stored, and turns it."""
        top = tf.where(self._reverses_rows, self.height - top - height, top)
        left = tf.where(self._reverses_columns, self.width - left - width, left)
        stored = self._stored.window(*self._swapped(top, left), *self._swapped(height, width))
        return tf.cond(
            tf.equal(self._orientation, exif.UPRIGHT), lambda: stored, lambda: self._turn(stored)
        )

    def reduced(self, most: tf.Tensor) -> Source:
        """Reduces what is stored."""
        return Turned(self._stored.reduced(most), self._orientation)

    def _swapped(self, vertical: tf.Tensor, horizontal: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return (
            tf.where(self._swaps, horizontal, vertical),
            tf.where(self._swaps, vertical, horizontal),
        )

    def _turn(self, pixels: tf.Tensor) -> tf.Tensor:
        turned = tf.cond(self._swaps, lambda: _transposed(pixels), lambda: pixels)
        dims = tf.stack([self._reverses_rows, self._reverses_columns, tf.constant(False)])
        reversed_ = tf.raw_ops.Reverse(tensor=turned, dims=dims)
        return tf.ensure_shape(reversed_, [None, None, self.channels])


def _transposed(pixels: tf.Tensor) -> tf.Tensor:
    """Swaps rows and columns.

    Of uint8, tf.transpose has oneDNN write an error to the terminal when a graph with it is made.
    """
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    places = tf.range(height)[tf.newaxis] * width + tf.range(width)[:, tf.newaxis]
    return tf.gather(tf.reshape(pixels, [-1, pixels.shape[-1]]), places)


def _is_one_of(number: tf.Tensor, *numbers: int) -> tf.Tensor:
    return tf.reduce_any(number == tf.constant(numbers))


class Pixels(Source):
    """A decoded image, uint8 [height, width, 1, 3 or 4], of which alpha is cut off.

    For 3 channels grey is tripled, and for 1 RGB becomes its luma.
    """

    def __init__(self, image: tf.Tensor, channels: int = 3):
        self.channels = channels
        if image.shape[-1] == channels:
            self._image = image
        elif channels == 1:
            self._image = tf.image.rgb_to_grayscale(image[..., :3])
        else:
            self._image = (
                tf.image.grayscale_to_rgb(image) if image.shape[-1] == 1 else image[..., :3]
            )
        shape = tf.shape(image)
        self.height, self.width = shape[0], shape[1]

    def window(
        self, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> tf.Tensor:
        """Cuts the window out."""
        size = tf.stack([height, width, self.channels])
        return tf.slice(self._image, tf.stack([top, left, 0]), size)


def _decode_window(contents: tf.Tensor, window: tf.Tensor, ratio: int, channels: int) -> tf.Tensor:
    """Decodes a window that is given in pixels of the JPEG at 1/ratio of its size."""

    def decode(channels: int) -> tf.Tensor:
        return tf.image.decode_and_crop_jpeg(
            contents, window, channels=channels, ratio=ratio, dct_method=_DCT_METHOD
        )

    if channels == 3:
        return decode(3)
    # Of a JPEG that stores luma this is grey; of CMYK the decoder makes RGB alone.
    is_cmyk = tf.equal(tf.image.extract_jpeg_shape(contents)[2], 4)
    return tf.cond(is_cmyk, lambda: tf.image.rgb_to_grayscale(decode(3)), lambda: decode(1))


def with_source(
    image: tf.Tensor,
    read: Callable[[Source], tf.Tensor],
    *,
    respect_exif: bool = False,
    channels: int = 3,
) -> tf.Tensor:
    """Returns `read(source)` for the kind of source that `image` is.

    Args:
      image: a scalar string (an encoded image; which format is seen when the graph runs) or uint8
        [height, width, channels].
      read: what to make of a source; traced once for each kind, so it must return the same dtype
        and rank for all.
      respect_exif: whether an encoded image is turned as its EXIF orientation says.
      channels: of the source: 3, RGB, or 1, grey, which grey images stay and others become.
    """
    if image.dtype != tf.string:
        return read(Pixels(image, channels))

    def read_from(make: Callable[[], Source], is_jpeg: bool) -> tf.Tensor:
        if not respect_exif:
            return read(make())
        return read(Turned(make(), exif.orientation(image, is_jpeg)))

    return tf.cond(
        tf.image.is_jpeg(image),
        lambda: read_from(lambda: Jpeg(image, channels), is_jpeg=True),
        lambda: read_from(lambda: Pixels(_decode_not_jpeg(image), channels), is_jpeg=False),
    )


def decode(contents: tf.Tensor, *, respect_exif: bool = False, channels: int = 3) -> tf.Tensor:
    """Decodes a whole image.

    JPEG (grey, YCbCr, CMYK, YCCK), PNG (any depth, palette), GIF, BMP and WebP. Of an animated GIF
    the first frame is taken, an animated WebP is refused; of 16 bits the upper eight are taken; an
    alpha channel is cut off, not blended.

    Args:
      contents: scalar string tensor; or an image that is decoded already, uint8 [height, width, 1,
        3 or 4].
      respect_exif: whether the image is turned as its EXIF orientation says; TensorFlow itself
        never does.
      channels: 3 for RGB, 1 for grey.

    Returns:
      uint8 [height, width, channels].

    Raises:
      tf.errors.InvalidArgumentError: when it runs, if `contents` is no such image.
    """
    return with_source(
        tf.convert_to_tensor(contents),
        lambda source: source.window(0, 0, source.height, source.width),
        respect_exif=respect_exif,
        channels=channels,
    )


def decode_or_zeros(
    image: tf.Tensor, decode: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Decodes, or gives zeros and the weight 0 where `decode` fails.

    A graph cannot catch an error, but a dataset can drop the elements that raise one.

    Args:
      image: what `decode` takes.
      decode: gives tensors of fixed shapes.

    Returns:
      What `decode` gives, or zeros like it; and the weight, float32 [], 1 or 0.
    """
    # AutoGraph rewrites code that needs no rewriting, and buries a user's mistake in its report.
    decoded = tf.data.Dataset.from_tensors(image).map(
        tf.autograph.experimental.do_not_convert(lambda image: (decode(image), tf.ones([])))
    )
    zeros = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), decoded.element_spec
    )
    fallback = tf.data.Dataset.from_tensors(zeros)
    return decoded.ignore_errors().concatenate(fallback).take(1).get_single_element()


def plain_message(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message without the names of functions, datasets and operations.

    Args:
      error: for example of an image that cannot be decoded.

    Returns:
      The message; the name of the error's class if there is none.
    """
    message = (error.message or "").split("\n\t [[")[0]
    return _AROUND_A_MESSAGE.sub("", message).strip() or type(error).__name__


def _decode_not_jpeg(contents: tf.Tensor) -> tf.Tensor:
    """Decodes anything but JPEG to uint8 [height, width, 3]."""
    # Zeros follow so that what is too short for a header fails in decode_image, which says why.
    header = tf.strings.join([tf.strings.substr(contents, 0, _BMP_HEADERS_BYTES), _NO_HEADERS])
    is_palette_bmp = (tf.strings.substr(header, 0, 2) == b"BM") & (_integer(header, 28, 2) == 8)
    is_webp = (tf.strings.substr(header, 0, 4) == b"RIFF") & (
        tf.strings.substr(header, 8, 4) == b"WEBP"
    )
    return tf.case(
        [
            (is_palette_bmp, lambda: _decode_palette_bmp(contents, header)),
            (is_webp, lambda: _decode_webp(contents, header)),
        ],
        default=lambda: _decode_any(contents),
    )


def _decode_any(contents: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    # decode_image promises no rank, because it may give the frames of an animation.
    return tf.ensure_shape(image, [None, None, 3])


def _decode_webp(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Cuts off the alpha, which decode_image refuses, and refuses what TensorFlow crashes on."""
    is_extended = tf.strings.substr(header, 12, 4) == b"VP8X"
    is_animated = is_extended & (tf.bitwise.bitwise_and(_integer(header, 20, 1), 2) != 0)
    check = tf.raw_ops.Assert(
        condition=~is_animated, data=["an animated WebP; only still ones can be decoded"]
    )
    with tf.control_dependencies([check] if check is not None else []):  # None: it has run
        frames = tf.io.decode_webp(tf.identity(contents))
    return tf.ensure_shape(frames[0, :, :, :3], [None, None, 3])


def _decode_palette_bmp(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """Looks the pixels of an 8-bit BMP up in its palette; TensorFlow takes the index for grey."""
    index = tf.io.decode_bmp(contents)[..., 0]
    start = _BMP_FILE_HEADER_BYTES + _integer(header, 14, 4)
    num_colors = (_integer(header, 10, 4) - start) // 4  # the pixels follow the palette
    blue_green_red_zero = tf.reshape(
        tf.io.decode_raw(tf.strings.substr(contents, start, 4 * num_colors), tf.uint8), [-1, 4]
    )
    return tf.gather(tf.reverse(blue_green_red_zero[:, :3], axis=[1]), tf.cast(index, tf.int32))


def _integer(header: tf.Tensor, position: int, size: int) -> tf.Tensor:
    """Returns the little-endian integer of `size` bytes at `position` as an int32 scalar."""
    raw = tf.io.decode_raw(tf.strings.substr(header, position, size), tf.uint8)
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(raw, tf.int32), 8 * tf.range(size)))
