"""Reads TFRecord files of `tf.train.Example` without starting TensorFlow's runtime.

A record is its length (8 bytes), a checksum of these, the contents, and a checksum of the contents:
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. The first checksum
is compared here, which finds files that were cut or are something else; that of the contents would
take Python a hundred times as long as all else, and TensorFlow compares it at each reading.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf

from image_datasets.file_names import listed, printable

ENCODED = "image/encoded"
FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
LABEL = "image/class/label"
SYNSET = "image/class/synset"

REMEDY = "Replace that file by a whole copy, or remove it."
"""What a user can do about a damaged file."""

_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4
_GZIP_START = b"\x1f\x8b"


class LabelledRecord(NamedTuple):
    """What of a record is looked at before training.

    Attributes:
      label: as it is stored.
      synset: the WordNet id of its class, such as "n01440764"; empty if the record has none.
    """

    label: int
    synset: str


def compression_of(path: str) -> str:
    """Returns how a file of records is compressed, "" or "GZIP", as tf.data calls it."""
    with open(path, "rb") as file:
        header = file.read(_HEADER.size)
    return "GZIP" if header.startswith(_GZIP_START) and not _is_header(header) else ""


def labelled_records(
    path: str, progress: Callable[[int], object] = lambda _: None
) -> Iterator[LabelledRecord]:
    """Yields what is to be known of each record of a file, in order.

    Args:
      path: of the file, plain or compressed by gzip.
      progress: is told how many bytes have been read since it was told last.

    Raises:
      ValueError: naming the file and the record, counted from 0, if the file is not one of records,
        is cut or damaged, or if a record has no image or no label. The message is for the user.
    """
    for number, contents in enumerate(_records(path, progress)):
        where = f"Record {number} of {printable(path)}"
        try:
            features = tf.train.Example.FromString(contents).features.feature
        except Exception as error:  # protobuf's class for it depends on its implementation
            raise ValueError(f"{where} is damaged, or no tf.train.Example. {REMEDY}") from error
        yield LabelledRecord(_label(features, where), _synset(features))


def _records(path: str, progress: Callable[[int], object]) -> Iterator[bytes]:
    """Yields the contents of each record; ValueError as `labelled_records`."""
    number = 0
    try:
        with open(path, "rb") as raw, _decompressed(path, raw) as file:
            told = 0
            while header := file.read(_HEADER.size):
                if len(header) == _HEADER.size and not _is_header(header):
                    raise ValueError(_not_a_record(path, number))
                length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
                contents = file.read(length)
                if len(contents) + len(file.read(_CHECKSUM_BYTES)) < length + _CHECKSUM_BYTES:
                    raise EOFError
                yield contents
                number += 1
                progress(raw.tell() - told)
                told = raw.tell()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        if number == 0 and not isinstance(error, EOFError):
            raise ValueError(_not_a_record(path, number)) from error
        raise ValueError(
            f"{printable(path)} is cut off or damaged in record {number}. {REMEDY}"
        ) from error
    except OSError as error:
        raise ValueError(f"{printable(path)} cannot be read: {error.strerror or error}.") from error


def _decompressed(path: str, raw: io.BufferedReader) -> gzip.GzipFile | io.BufferedReader:
    return gzip.GzipFile(fileobj=raw) if compression_of(path) else raw


def _not_a_record(path: str, number: int) -> str:
    if number:
        return f"{printable(path)} is damaged behind record {number - 1}. {REMEDY}"
    return (
        f"{printable(path)} is no TFRecord file, plain or compressed by gzip. If it is not meant, "
        "give a pattern of those that are as --dataset_dir."
    )


def _label(features: Mapping[str, tf.train.Feature], where: str) -> int:
    """Returns the label; ValueError if it or the image is not there."""
    for key, kind in ((ENCODED, "bytes_list"), (LABEL, "int64_list")):
        values = getattr(features[key], kind).value if key in features else None
        if values is None or len(values) != 1:
            has = f"{len(values)} values of" if values else "no"
            raise ValueError(
                f"{where} has {has} {key} of the kind {kind}, where one is expected. It has "
                f"{listed(sorted(features), 20) or 'nothing'}. Records as TF-Slim's scripts write "
                "them can be read."
            )
    label = int(features[LABEL].int64_list.value[0])
    if label < -1:
        raise ValueError(
            f"{where} has the label {label}; labels are counted from 0, and -1 is that "
            "of an image whose class is not told."
        )
    return label


def _synset(features: Mapping[str, tf.train.Feature]) -> str:
    values = features[SYNSET].bytes_list.value if SYNSET in features else ()
    return values[0].decode("ascii", "replace") if values else ""


def _is_header(header: bytes) -> bool:
    """Whether these are the length of a record and its checksum."""
    return len(header) == _HEADER.size and _HEADER.unpack(header)[1] == _masked_crc(header[:8])


def _masked_crc(contents: bytes) -> int:
    """CRC-32C, rotated and added to as TFRecord does."""
    crc, table = 0xFFFFFFFF, _crc_table()
    for byte in contents:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _crc_table() -> list[int]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)  # Castagnoli's polynomial, reversed
        table.append(crc)
    return table
