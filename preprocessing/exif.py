"""Which way up a photo is: the orientation in the EXIF data of JPEG, PNG and WebP files.

Cameras store the pixels as their sensor lies and note by a number from 1 to 8 how to turn them. It
is read in the graph, so that training, evaluation and an export turn alike. Most files have none,
which one search for a word in their first bytes finds out; only of those that have it the parts of
the file are gone through, as a thumbnail or a comment may hold that word as well.

Sources: the EXIF standard (CIPA DC-008) for the number and its place in a JPEG, TIFF 6.0 for the
list that it stands in, the PNG specification (`eXIf`) and WebP's container specification (`EXIF`).
What XMP says is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

UPRIGHT = 1
"""The orientation of an image whose rows run from the top and whose columns run from the left."""

_EXIF = b"Exif\0\0"
_ORIENTATION_TAG, _SHORT = 0x0112, 3
_ENTRY_BYTES = 12

# Where the word is searched. In front of a JPEG's EXIF data stands nothing by the standard, and in
# practice a header of 18 bytes, or a color profile or an editor's data of up to 64 KiB each.
_SEARCHED_BYTES = 2**16
# No camera writes nearly as many; a file made to waste time ends here.
_MOST_PARTS = 500

# A part of a file: whether it is EXIF data, where its data begin, their size, where the next begins
_Part = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
_NO_MORE = -1
# Where the second segment begins behind the usual first one, which says how many dots an inch has.
_JFIF_BYTES = 20


def orientation(contents: tf.Tensor) -> tf.Tensor:
    """Returns how an encoded image is to be turned.

    Args:
      contents: a scalar string, any bytes: a JPEG, PNG or WebP file; all others have no EXIF data.

    Returns:
      int32 [], from 1 to 8 as EXIF counts: 1 is upright, 3 upside down, 6 to be turned by a quarter
      clockwise, 8 counter-clockwise; 2, 4, 5 and 7 are mirrored. It is 1 where there is none, or
      where the data are damaged.
    """
    numbers = _numbers(contents, tf.constant(0, tf.int64), _JFIF_BYTES + 10)
    is_first, is_second = _is_exif_segment(numbers[2:]), _is_exif_segment(numbers[_JFIF_BYTES:])
    is_second &= _equal(numbers[:6], b"\xff\xd8\xff\xe0\0\x10")
    is_usual = (is_first | is_second) & _equal(numbers[:2], b"\xff\xd8")
    at = tf.where(is_first, tf.constant(2, tf.int64), _JFIF_BYTES)
    size = 256 * numbers[at + 2] + numbers[at + 3] - 8
    start, size = tf.cond(
        is_usual,
        lambda: (at + 10, tf.maximum(size, 0)),
        kept_apart(lambda: _find_anywhere(contents)),
    )
    return _orientation_of_tiff(contents, start, size)


def may_be_turned(contents: tf.Tensor, is_jpeg: bool) -> tf.Tensor:
    """Finds out cheaply whether it is worth asking for the `orientation`.

    Args:
      contents: a scalar string, any bytes.
      is_jpeg: whether it is a JPEG.

    Returns:
      bool []: false if it has no EXIF data.
    """
    if is_jpeg:
        return _holds(contents, _EXIF)
    # Only the extended kind of WebP has more than an image.
    return (_is_png(contents) & _holds(contents, b"eXIf")) | _is_extended_webp(contents)


def kept_apart(branch: Callable[[], Any]) -> Callable[[], Any]:
    """Makes a rare branch of `tf.cond` one node of the graph.

    Otherwise each of its many operations would be passed by, one after the other, for every image
    that does not need them.
    """
    if tf.executing_eagerly():
        return branch
    return tf.function(branch, autograph=False, experimental_attributes={"_noinline": True})


def _find_anywhere(contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.case(
        [
            (tf.image.is_jpeg(contents), lambda: _find(contents, 2, _jpeg_part)),
            (_is_png(contents), lambda: _find(contents, 8, _png_part)),
            (_is_extended_webp(contents), lambda: _find(contents, 12, _webp_part)),
        ],
        default=lambda: (tf.constant(0, tf.int64), tf.constant(0, tf.int64)),
    )


def _is_exif_segment(numbers: tf.Tensor) -> tf.Tensor:
    """Whether a segment of a JPEG, given from its marker on, is EXIF data."""
    return _equal(numbers[:2], b"\xff\xe1") & _equal(numbers[4:10], _EXIF)


def _holds(contents: tf.Tensor, word: bytes) -> tf.Tensor:
    """Whether a word is among the first bytes, which splitting finds out fastest."""
    searched = tf.strings.substr(contents, 0, _SEARCHED_BYTES)
    pieces = tf.raw_ops.StringSplitV2(input=[searched], sep=word, maxsplit=1)
    return pieces.shape[1] > 1


def _is_png(contents: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(contents, 0, 4) == b"\x89PNG"


def _is_extended_webp(contents: tf.Tensor) -> tf.Tensor:
    start = tf.strings.substr(contents, 0, 16)
    return tf.strings.regex_full_match(start, rb"RIFF\C\C\C\CWEBPVP8X")


def _find(
    contents: tf.Tensor, start: int, read_part: Callable[[tf.Tensor, tf.Tensor], _Part]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Goes from part to part of a file; returns where EXIF data begin, and their size or 0."""
    length = tf.cast(tf.strings.length(contents), tf.int64)

    def is_left(count: tf.Tensor, at: tf.Tensor, _: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return (count < _MOST_PARTS) & (at >= 0) & (at < length) & (size == 0)

    def read(
        count: tf.Tensor, at: tf.Tensor, _: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        is_exif, data, size, following = read_part(contents, at)
        return count + 1, following, data, tf.where(is_exif, tf.maximum(size, 0), 0)

    zero = tf.constant(0, tf.int64)
    _, _, data, size = tf.while_loop(
        is_left, read, (tf.constant(0), tf.constant(start, tf.int64), zero, zero)
    )
    return data, size


def _jpeg_part(contents: tf.Tensor, at: tf.Tensor) -> _Part:
    """A segment: a marker, its length, its data. Bytes of 255 may come before a marker."""
    numbers = _numbers(contents, at, 10)
    marker, size = numbers[1], 256 * numbers[2] + numbers[3]
    is_filling = marker == 0xFF
    # Restarts, the start and the end have no length; after the start of the scan come pixels.
    is_segment = (marker >= 0xC0) & ((marker < 0xD0) | (marker > 0xDA)) & ~is_filling & (size >= 2)
    is_exif = is_segment & (marker == 0xE1) & _equal(numbers[4:], _EXIF)
    following = tf.where(is_segment, at + 2 + size, tf.where(is_filling, at + 1, _NO_MORE))
    is_marker = numbers[0] == 0xFF
    return is_marker & is_exif, at + 10, size - 8, tf.where(is_marker, following, _NO_MORE)


def _png_part(contents: tf.Tensor, at: tf.Tensor) -> _Part:
    """A chunk; what comes behind the first pixels is not looked at."""
    numbers = _numbers(contents, at, 8)
    size, kind = _integer(numbers[:4][::-1]), numbers[4:]
    following = tf.where(_equal(kind, b"IDAT"), tf.constant(_NO_MORE, tf.int64), at + size + 12)
    return _equal(kind, b"eXIf"), at + 8, size, following


def _webp_part(contents: tf.Tensor, at: tf.Tensor) -> _Part:
    """A chunk; EXIF data may begin as in a JPEG. The data's size is made even by a zero."""
    numbers = _numbers(contents, at, 14)
    size = _integer(numbers[4:8])
    skipped = tf.where(_equal(numbers[8:], _EXIF), tf.constant(len(_EXIF), tf.int64), 0)
    is_exif = _equal(numbers[:4], b"EXIF")
    return is_exif, at + 8 + skipped, size - skipped, at + 8 + size + size % 2


def _orientation_of_tiff(contents: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Reads the first list of a TIFF, which stands at a place in a file and has a size.

    The list has entries of a tag, a type, a count and a value. Nothing else is looked at: what a
    camera has to say may be as long as the photo.
    """
    length = tf.cast(tf.strings.length(contents), tf.int64)
    end = tf.minimum(start + size, length)
    header = _numbers(contents, start, 8)
    is_little = _equal(header[:4], b"II*\0")
    is_tiff = (is_little | _equal(header[:4], b"MM\0*")) & (start + header.shape[0] <= end)

    def integers(numbers: tf.Tensor, at: int, size: int) -> tf.Tensor:
        digits = tf.ensure_shape(numbers[:, at : at + size], [None, size])
        return tf.where(is_little, _integer(digits), _integer(digits[:, ::-1]))

    at = tf.minimum(start + integers(header[tf.newaxis], 4, 4)[0], end)
    count = integers(_numbers(contents, at, 2)[tf.newaxis], 0, 2)[0]
    count = tf.clip_by_value(count, 0, tf.maximum(end - at - 2, 0) // _ENTRY_BYTES)
    listed = tf.strings.substr(contents, tf.minimum(at + 2, length), _ENTRY_BYTES * count)
    entries = tf.cast(tf.io.decode_raw(listed, tf.uint8), tf.int64)
    entries = tf.reshape(entries, [-1, _ENTRY_BYTES])
    value = integers(entries, 8, 2)
    is_it = (
        (integers(entries, 0, 2) == _ORIENTATION_TAG)
        & (integers(entries, 2, 2) == _SHORT)
        & (integers(entries, 4, 4) == 1)
        & (value >= 1)
        & (value <= 8)
        & is_tiff
    )
    # Without any it is upright; of several, which is wrong, Pillow takes the last one as well.
    return tf.cast(tf.concat([[UPRIGHT], value[is_it]], axis=0)[-1], tf.int32)


def _numbers(contents: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Returns bytes of a file as int64 [count]; behind its end they are zero."""
    found = tf.strings.substr(contents, _inside(contents, at), count)
    padded = tf.strings.substr(tf.strings.join([found, b"\0" * count]), 0, count)
    return tf.ensure_shape(tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int64), [count])


def _inside(contents: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    return tf.minimum(at, tf.cast(tf.strings.length(contents), tf.int64))


def _integer(digits: tf.Tensor) -> tf.Tensor:
    """Returns the little-endian unsigned integers whose bytes the last dimension holds."""
    factors = tf.constant([256**power for power in range(digits.shape[-1])], tf.int64)
    return tf.reduce_sum(digits * factors, axis=-1)


def _equal(numbers: tf.Tensor, word: bytes) -> tf.Tensor:
    return tf.reduce_all(numbers == tf.constant(list(word), tf.int64))
