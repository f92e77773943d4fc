"""Which way up a photo is: the orientation in the EXIF data of JPEG, PNG and WebP files.

Cameras store the pixels as their sensor lies and note by a number from 1 to 8 how to turn them. It
is read in the graph, so that training, evaluation and an export turn alike. Every operation there
costs a photo some microseconds: so the data are found by a search for the word that they begin
with, and their list of entries is read by one regular expression, rather than by going from part to
part of the file. What a file made to deceive can gain by that is to be turned.

Sources: the EXIF standard (CIPA DC-008) for the number and its place in a JPEG, TIFF 6.0 for the
list that it stands in, the PNG specification (`eXIf`) and WebP's container specification (`EXIF`).
What XMP says is not read.
"""

from __future__ import annotations

import tensorflow as tf

UPRIGHT = 1
"""The orientation of an image whose rows run from the top and whose columns run from the left."""

# In front of EXIF data stands nothing by the standards of JPEG and PNG, and in practice a header of
# 18 bytes, or a color profile or an editor's data of up to 64 KiB.
_SEARCHED_BYTES = 2**16
# Enough for the 80 entries that are looked at; cameras write about a dozen.
_LOOKED_AT_BYTES = 1024
_MOST_ENTRIES = 80


def _entry_of_orientation(start: str, entry: str) -> str:
    """The first list of a TIFF up to the orientation: entries of 12 bytes, from byte 8 on."""
    return rf"{start}\C\C(?:\C{{12}}){{0,{_MOST_ENTRIES}}}?{entry}"


# A list of entries: tag 0x0112, type 3 (a number of two bytes), count 1, the value.
_LITTLE_ENDIAN = _entry_of_orientation(
    r"II\*\x00\x08\x00\x00\x00", r"\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])\x00"
)
_BIG_ENDIAN = _entry_of_orientation(
    r"MM\x00\*\x00\x00\x00\x08", r"\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08])"
)
# From the word on that EXIF data begin with; a WebP has a size behind it, and may have a JPEG's.
_ORIENTATION = (
    rf"^(?:Exif\x00\x00|eXIf|EXIF\C\C\C\C(?:Exif\x00\x00)?)"
    rf"(?:{_LITTLE_ENDIAN}|{_BIG_ENDIAN})\C*$"
)


def orientation(contents: tf.Tensor, is_jpeg: bool) -> tf.Tensor:
    """Returns how an encoded image is to be turned.

    The first list of the EXIF data is expected where cameras and libraries write it, right behind
    their header.

    Args:
      contents: a scalar string, any bytes.
      is_jpeg: whether it is a JPEG; of others PNG and WebP have EXIF data.

    Returns:
      int32 [], from 1 to 8 as EXIF counts: 1 is upright, 3 upside down, 6 to be turned by a quarter
      clockwise, 8 counter-clockwise; 2, 4, 5 and 7 are mirrored. It is 1 where there is none, or
      where the data are damaged.
    """
    found = _from_the_word(contents, is_jpeg)
    value = tf.strings.regex_replace(found, _ORIENTATION, r"\1\2", replace_global=False)
    is_there = tf.strings.length(value) == 1
    number = tf.io.decode_raw(tf.strings.join([value, b"\0"]), tf.uint8)[0]
    return tf.where(is_there, tf.cast(number, tf.int32), UPRIGHT)


def _from_the_word(contents: tf.Tensor, is_jpeg: bool) -> tf.Tensor:
    """A part of a file that begins with the word of EXIF data; empty if there is none."""
    if is_jpeg:
        word, searched = tf.constant(b"Exif\0\0"), tf.constant(_SEARCHED_BYTES)
    else:
        # A WebP has EXIF data behind its pixels, and only the extended kind has more than these.
        is_webp = tf.strings.regex_full_match(
            tf.strings.substr(contents, 0, 16), r"RIFF\C\C\C\CWEBPVP8X"
        )
        is_png = tf.strings.substr(contents, 0, 4) == b"\x89PNG"
        word = tf.where(is_webp, b"EXIF", b"eXIf")
        searched = tf.where(is_webp, 2**30, tf.where(is_png, _SEARCHED_BYTES, 0))
    pieces = tf.raw_ops.StringSplitV2(
        input=[tf.strings.substr(contents, 0, searched)], sep=word, maxsplit=1
    )
    position = tf.reduce_sum(tf.strings.length(pieces.values[:1]))
    is_there = pieces.shape[1] > 1
    if is_jpeg:  # the word is the first in a segment of this kind
        marker = tf.strings.substr(contents, tf.maximum(position - 4, 0), 2)
        is_there &= marker == b"\xff\xe1"
    return tf.strings.substr(contents, position, tf.where(is_there, _LOOKED_AT_BYTES, 0))
