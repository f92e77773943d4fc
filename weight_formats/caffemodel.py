"""Caffe's `.caffemodel`: a protocol buffer, read by its wire format and nothing more.

Field numbers are those of Caffe's `src/caffe/proto/caffe.proto`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


class _LayerFields(NamedTuple):
    name: int
    blobs: int


# NetParameter's `layers` (V1LayerParameter, until 2014) and `layer` (LayerParameter).
_LAYERS = {2: _LayerFields(name=4, blobs=6), 100: _LayerFields(name=1, blobs=7)}
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLES, _SHAPE_DIM = 5, 7, 8, 1
_OLD_DIMENSIONS = (1, 2, 3, 4)  # num, channels, height, width


def read_caffemodel(path: str) -> dict[str, np.ndarray]:
    """Reads the blobs of every layer that has any.

    Returns:
      Arrays by "layer/weights", "layer/biases": convolutions [out, in / groups, height, width],
      fully connected layers [out, in], their inputs in channel-height-width order.

    Raises:
      ValueError: if it is no such file, or a truncated one.
    """
    with open(path, "rb") as file:
        content = memoryview(file.read())
    tensors = {}
    for field, _, value in _fields(content):
        if field in _LAYERS and isinstance(value, memoryview):
            name, blobs = _read_layer(value, _LAYERS[field])
            kinds = ["weights", "biases", *(f"blob{number}" for number in range(2, len(blobs)))]
            for kind, blob in zip(kinds, blobs, strict=False):
                tensors[f"{name}/{kind}"] = blob
    if not tensors:
        raise ValueError("it has no layers with weights")
    return tensors


def _read_layer(message: memoryview, fields: _LayerFields) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field, _, value in _fields(message):
        if field == fields.name and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", "replace")
        elif field == fields.blobs and isinstance(value, memoryview):
            blobs.append(_read_blob(value))
    return name, blobs


def _read_blob(message: memoryview) -> np.ndarray:
    chunks, old_shape, shape = [], dict.fromkeys(_OLD_DIMENSIONS, 1), None
    for field, wire, value in _fields(message):
        if field in (_BLOB_DATA, _BLOB_DOUBLES):
            # Packed, or one field for each number.
            dtype = "<f4" if field == _BLOB_DATA else "<f8"
            if isinstance(value, int) or len(value) % np.dtype(dtype).itemsize:
                raise ValueError(f"a blob's data have the wire type {wire} or a broken length")
            chunks.append(np.frombuffer(value, dtype))
        elif field == _BLOB_SHAPE and isinstance(value, memoryview):
            shape = _read_shape(value)
        elif field in old_shape and isinstance(value, int):
            old_shape[field] = value
    data = np.concatenate(chunks).astype(np.float32) if chunks else np.zeros(0, np.float32)
    if shape is None:
        shape = list(old_shape.values())
        while len(shape) > 1 and shape[0] == 1:  # a vector or a matrix was written as 1 x 1 x ...
            shape = shape[1:]
    if math.prod(shape) != len(data):
        raise ValueError(f"a blob of shape {shape} has {len(data)} numbers")
    return data.reshape(shape)


def _read_shape(message: memoryview) -> list[int]:
    dimensions: list[int] = []
    for field, _, value in _fields(message):
        if field != _SHAPE_DIM:
            continue
        if isinstance(value, int):
            dimensions.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            dimensions.append(number)
    return dimensions


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yields number, wire type and value of each field; of those with a length, their bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, wire, value
            continue
        if wire == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if wire == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"it is no protocol buffer: field {number} has the wire type {wire}")
        if position + length > len(message):
            raise ValueError(
                f"it ends too early: field {number} has {length} bytes, {len(message) - position} "
                "are left"
            )
        yield number, wire, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("it ends too early: within a number")
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("it is no protocol buffer: a number has more than ten bytes")
