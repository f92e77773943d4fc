"""safetensors: the length of a header, the header in JSON, and the numbers it describes.

The format is described at https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import struct

import ml_dtypes
import numpy as np

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Reads all tensors.

    Raises:
      ValueError: if it is no such file, or a truncated one.
    """
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 8:
        raise ValueError("it ends before its header")
    (length,) = struct.unpack("<Q", content[:8])
    if 8 + length > len(content):
        raise ValueError(f"its header should have {length} bytes, {len(content) - 8} are there")
    try:
        header = json.loads(content[8 : 8 + length])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _tensor(name, entry, content, 8 + length) for name, entry in entries.items()}
    except (UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"its header is no safetensors header: {error!r}") from error


def _tensor(name: str, entry: dict, content: bytes, data_start: int) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} is of type {entry['dtype']}; known are {', '.join(_DTYPES)}")
    dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
    start, end = (data_start + offset for offset in entry["data_offsets"])
    if not data_start <= start <= end <= len(content):
        raise ValueError(f"it ends too early: {name} would end at byte {end} of {len(content)}")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} of shape {shape} has {end - start} bytes")
    return np.frombuffer(content, dtype, count=math.prod(shape), offset=start).reshape(shape)
