"""Reads examples from files of records: those of slices, from any position on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from image_datasets.split_slices import SplitSlice
from image_datasets.tfrecord_counts import CountedFile
from image_datasets.tfrecord_reading import ENCODED, FORMAT, HEIGHT, LABEL, WIDTH

FILES_READ_BY_TURNS = 16
"""As TFDS reads its own: it keeps a network disk busy, and mixes what was written by class."""

_RECORDS_AT_A_TURN = 16

# AutoGraph rewrites code that needs no rewriting, and buries a user's mistake in its own report.
_as_it_is = tf.autograph.experimental.do_not_convert


class Piece(NamedTuple):
    """Records of one file that follow each other.

    Attributes:
      path: of the file.
      compression: as tf.data calls it.
      skipped: how many records of the file come before.
      num_examples: how many records there are.
      first_index: the position of the first of them in the split.
    """

    path: str
    compression: str
    skipped: int
    num_examples: int
    first_index: int


def pieces_of(
    parts: Sequence[tuple[SplitSlice, Sequence[CountedFile]]], first_index: int
) -> list[Piece]:
    """Returns where the examples of slices are, each slice with the files of its split."""
    pieces = []
    for part, files in parts:
        file_start = 0
        for file in files:
            start = max(part.start, file_start)
            stop = min(part.stop, file_start + file.num_examples)
            if start < stop:
                pieces.append(
                    Piece(
                        file.path, file.compression, start - file_start, stop - start, first_index
                    )
                )
                first_index += stop - start
            file_start += file.num_examples
    return pieces


def read_examples(pieces: Sequence[Piece], files_read_by_turns: int) -> tf.data.Dataset:
    """Returns the examples of pieces; see `ImageDataset.examples`."""
    columns = (
        tf.constant([piece.path for piece in pieces], tf.string),
        tf.constant([piece.compression for piece in pieces], tf.string),
        tf.constant([piece.skipped for piece in pieces], tf.int64),
        tf.constant([piece.num_examples for piece in pieces], tf.int64),
        tf.constant([piece.first_index for piece in pieces], tf.int64),
    )

    def read(
        path: tf.Tensor,
        compression: tf.Tensor,
        skipped: tf.Tensor,
        num_examples: tf.Tensor,
        first_index: tf.Tensor,
    ) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, compression).skip(skipped).take(num_examples)
        return records.enumerate(first_index)

    return (
        tf.data.Dataset.from_tensor_slices(columns)
        .interleave(
            _as_it_is(read),
            cycle_length=files_read_by_turns,
            block_length=_RECORDS_AT_A_TURN,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .map(_as_it_is(_parse), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(sum(piece.num_examples for piece in pieces)))
    )


def _parse(index: tf.Tensor, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the example that a record, a scalar string, holds."""
    example = tf.io.parse_single_example(
        record,
        {
            ENCODED: tf.io.FixedLenFeature([], tf.string),
            FORMAT: tf.io.FixedLenFeature([], tf.string, ""),
            LABEL: tf.io.FixedLenFeature([], tf.int64),
        },
    )
    encoded = example[ENCODED]
    image = tf.cond(
        tf.equal(tf.strings.lower(example[FORMAT]), "raw"),
        lambda: _pixels_as_png(encoded, record),
        lambda: encoded,
    )
    return {"image": image, "label": example[LABEL], "index": index}


def _pixels_as_png(encoded: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
    """Returns pixels as an image file, so that they go the way of all others, grey ones as grey.

    Pixels that are not as many as their sides say stay as they are: no image that can be decoded.
    """
    sides = {side: tf.io.FixedLenFeature([], tf.int64, 0) for side in (HEIGHT, WIDTH)}
    parsed = tf.io.parse_single_example(record, sides)
    height, width = parsed[HEIGHT], parsed[WIDTH]
    pixels = tf.io.decode_raw(encoded, tf.uint8)
    channels = tf.size(pixels, tf.int64) // tf.maximum(height * width, 1)
    is_whole = (height > 0) & tf.equal(height * width * channels, tf.size(pixels, tf.int64))
    return tf.cond(
        is_whole & tf.reduce_any(tf.equal(channels, [1, 3, 4])),
        # Compressing would take longer than all else.
        lambda: tf.io.encode_png(tf.reshape(pixels, [height, width, channels]), compression=0),
        lambda: encoded,
    )
