"""How large an image is by its header, so that one that is too large takes no memory.

A file of a megabyte can hold an image of gigabytes. Every format that TensorFlow decodes says how
large it is before the pixels come; what is read here is what the decoder allocates by, found by
decoding files whose headers contradict themselves.
"""

from __future__ import annotations

import contextlib

import tensorflow as tf

# That of Pillow (PIL.Image.MAX_IMAGE_PIXELS), a quarter of a gigabyte of RGB. Pillow warns above
# it and refuses above twice as many; here what is above it is refused.
DEFAULT_MAX_IMAGE_PIXELS = 89_478_485

_UNKNOWN = tf.int64.max  # of a file that hides its size where the decoder would find it

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_FIRST_CHUNK = b"\0\0\0\rIHDR"
_GIF_START = b"GIF8"
_BMP_START = b"BM"
_WEBP_START = b"RIFF"
_NO_HEADER = b"\0" * 32

# A block of a GIF begins with one of these; what else there is ends it, as for the decoder.
_GIF_EXTENSION, _GIF_FRAME = 0x21, 0x2C


def limited(contents: tf.Tensor, max_pixels: int, *context: str | tf.Tensor) -> tf.Tensor:
    """Returns `contents` as they are, if the image in them is not too large.

    Args:
      contents: a scalar string, an encoded image. Anything else is left alone: pixels have their
        memory already.
      max_pixels: the largest number of pixels; 0 sets no limit.
      *context: what else the error is to tell.

    Raises:
      tf.errors.InvalidArgumentError: when it runs, if the image is larger. In brackets it has what
        is wrong, the number of pixels, and the context.
    """
    if contents.dtype != tf.string or not max_pixels:
        return contents
    pixels = num_pixels(contents)
    message = f"larger than max_image_pixels={max_pixels}: pixels by its header"
    check = tf.raw_ops.Assert(
        condition=pixels <= max_pixels, data=[message, pixels, *context], summarize=1
    )
    with tf.control_dependencies([check] if check is not None else []):  # None: it has run
        return tf.identity(contents)


def why_too_large(contents: tf.Tensor, max_pixels: int) -> str | None:
    """Says how much larger than the limit an image is; None if that is not what is wrong with it.

    Args:
      contents: as for `limited`, outside any graph.
      max_pixels: as for `limited`.
    """
    try:
        limited(contents, max_pixels)
    except tf.errors.InvalidArgumentError:
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # it has no header
            return too_large(int(num_pixels(contents)), max_pixels)
    return None


def too_large(pixels: int, max_pixels: int) -> str:
    """Says how much larger than the limit an image is, and how to allow it.

    Args:
      pixels: as `num_pixels` gives it.
      max_pixels: the limit.
    """
    if pixels == _UNKNOWN:
        return "its header does not tell how large it is."
    return (
        f"it has {pixels:,} pixels, more than --max_image_pixels={max_pixels}. If it is what it "
        f"should be, give --max_image_pixels={pixels}."
    )


def num_pixels(contents: tf.Tensor) -> tf.Tensor:
    """Returns how many pixels an encoded image has by its header.

    Args:
      contents: a scalar string: JPEG, PNG, GIF, BMP or WebP.

    Returns:
      int64 []: height times width. Of a GIF, whose decoder keeps a byte for each pixel of every
      frame beside the three of each that it gives, a third of all frames' pixels if that is more.
      The largest int64 if the header is not where it belongs; 0 for what is no image, which
      decoding finds out.
    """
    return tf.cond(
        tf.image.is_jpeg(contents),
        lambda: tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(contents)[:2], tf.int64)),
        lambda: _not_jpeg_pixels(contents),
    )


def _not_jpeg_pixels(contents: tf.Tensor) -> tf.Tensor:
    # Zeros follow so that what is too short for a header fails in the decoder, which says why.
    start = tf.strings.substr(contents, 0, len(_NO_HEADER))
    header = tf.strings.substr(tf.strings.join([start, _NO_HEADER]), 0, len(_NO_HEADER))
    # Small PNGs come by the hundred thousand, and take a tenth of a millisecond each.
    return tf.cond(
        _starts_with(header, _PNG_START + _PNG_FIRST_CHUNK),
        lambda: _png_pixels(header),
        lambda: _other_pixels(contents, header),
    )


def _png_pixels(header: tf.Tensor) -> tf.Tensor:
    sides = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)
    return tf.reduce_prod(tf.bitwise.bitwise_and(tf.cast(sides, tf.int64), 0xFFFFFFFF))


def _other_pixels(contents: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    # Of all formats but GIF the few numbers are worked out at once: branches would have to be
    # optimized, at each start of an iterator over images, which took a second.
    numbers = tf.cast(tf.io.decode_raw(header, tf.uint8), tf.int64)
    # The standard has another chunk come first in a PNG; libpng takes one that does not.
    pixels = tf.where(_starts_with(header, _PNG_START), _UNKNOWN, tf.constant(0, tf.int64))
    for start, count in (
        (_BMP_START, _bmp_pixels),
        (_WEBP_START, _webp_pixels),
    ):
        pixels = tf.where(_starts_with(header, start), count(header, numbers), pixels)
    return tf.cond(_starts_with(header, _GIF_START), lambda: _gif_pixels(contents), lambda: pixels)


def _bmp_pixels(header: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    del header
    unsigned = _integers(numbers, 18, 4, 2)
    # Rows that run from the top are told by a negative height.
    return tf.reduce_prod(tf.minimum(unsigned, 2**32 - unsigned))


def _webp_pixels(header: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Of the three kinds: lossy, lossless and extended, whose canvas the frames must fill."""
    kind = tf.strings.substr(header, 8, 8)
    lossy = tf.bitwise.bitwise_and(_integers(numbers, 26, 2, 2), 0x3FFF)
    packed = tf.bitwise.right_shift(_integers(numbers, 21, 4, 1), [0, 14])
    lossless = tf.bitwise.bitwise_and(packed, 0x3FFF) + 1
    extended = _integers(numbers, 24, 3, 2) + 1
    pixels = tf.constant(_UNKNOWN, tf.int64)
    for name, sides in ((b"WEBPVP8 ", lossy), (b"WEBPVP8L", lossless), (b"WEBPVP8X", extended)):
        pixels = tf.where(kind == name, tf.reduce_prod(sides), pixels)
    return pixels


def _gif_pixels(contents: tf.Tensor) -> tf.Tensor:
    """Goes from frame to frame: each says its own size, and the screen's does not matter."""
    raw = tf.io.decode_raw(tf.strings.join([contents, _NO_HEADER]), tf.uint8)
    length = tf.strings.length(contents)

    def byte(position: tf.Tensor) -> tf.Tensor:
        return tf.cast(raw[tf.minimum(position, length)], tf.int32)

    def color_table(flags: tf.Tensor) -> tf.Tensor:
        size = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))
        return tf.where(flags >= 128, size, 0)

    def is_block(position: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        kind = byte(position)
        return (kind == _GIF_EXTENSION) | (kind == _GIF_FRAME)

    def take_block(
        position: tf.Tensor, height: tf.Tensor, width: tf.Tensor, pixels: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        block = tf.cast(raw[position : position + 10], tf.int32)
        is_frame = block[0] == _GIF_FRAME
        sides = tf.cast(block[5:9:2] + 256 * block[6:10:2], tf.int64)
        frame_width, frame_height = tf.unstack(tf.where(is_frame, sides, 0), num=2)
        data = position + tf.where(is_frame, 11 + color_table(block[9]), 2)
        # Data is in pieces that each begin with their length, of which the last has none.
        last = tf.while_loop(
            lambda at: byte(at) > 0,  # which is 0 behind the end
            lambda at: [at + byte(at) + 1],
            [data],
        )[0]
        return (
            last + 1,
            tf.maximum(height, frame_height),
            tf.maximum(width, frame_width),
            pixels + frame_height * frame_width,
        )

    zero = tf.constant(0, tf.int64)
    _, height, width, pixels = tf.while_loop(
        is_block, take_block, [13 + color_table(byte(10)), zero, zero, zero]
    )
    return tf.maximum(height * width, pixels // 3)


def _starts_with(header: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.strings.substr(header, 0, len(start)) == start


def _integers(numbers: tf.Tensor, position: int, size: int, count: int) -> tf.Tensor:
    """Returns `count` unsigned integers of `size` bytes each, from a position on, as int64."""
    factors = tf.constant([256**power for power in range(size)], tf.int64)
    digits = tf.reshape(numbers[position : position + size * count], [count, size])
    return tf.reduce_sum(digits * factors, axis=1)
