"""PyTorch's state dicts: the zip file of today, and what came before PyTorch 1.6.

Both are pickles that refer to storages, blocks of numbers beside them; tensors are views of those.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from weight_formats.restricted_pickle import ArrayUnpickler, RefusedPickleError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    size: int


class _View(NamedTuple):
    """A tensor that is known before the storage it looks at is read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: str) -> dict[str, np.ndarray]:
    """Reads a state dict, or a dictionary that has one under "state_dict", "model" and the like.

    Returns:
      Arrays by PyTorch's names, such as "features.0.weight".

    Raises:
      ValueError: if it is no state dict, or damaged; RefusedPickleError if it wants more than
        tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        return _read_legacy(path)
    except RefusedPickleError:
        raise
    except (
        *(pickle.UnpicklingError, EOFError, zipfile.BadZipFile, struct.error),
        *(KeyError, IndexError, TypeError, AttributeError),
    ) as error:
        raise ValueError(f"it is no PyTorch file, or damaged: {error!r}") from error


def _read_zip(path: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip file without PyTorch's data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        loaded = _load(io.BytesIO(archive.read(pickles[0])))
        return _arrays(loaded, lambda storage: archive.read(f"{folder}data/{storage.key}"))


def _read_legacy(path: str) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        if ArrayUnpickler(file).load() != _LEGACY_MAGIC:
            raise ValueError("it has not the magic number of a PyTorch file")
        if ArrayUnpickler(file).load() != _LEGACY_PROTOCOL:
            raise ValueError("it is of an unknown version of PyTorch's old format")
        ArrayUnpickler(file).load()  # of the machine that wrote it
        loaded = _load(file)
        keys = ArrayUnpickler(file).load()
        sizes = {view.storage.key: view.storage for view in _state_dict(loaded).values()}
        contents = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            itemsize = sizes[key].dtype.itemsize if key in sizes else 4
            contents[key] = file.read(count * itemsize)
    return _arrays(loaded, lambda storage: contents[storage.key])


def _load(file: Any) -> Any:
    def rebuild(storage, offset, shape, strides, *_) -> _View:
        return _View(storage, offset, tuple(shape), tuple(strides))

    storages = {
        f"{module}.{name}": dtype for name, dtype in _DTYPES.items() for module in ("torch",)
    }
    known = {
        **storages,
        "torch._utils._rebuild_tensor_v2": rebuild,
        "torch._utils._rebuild_tensor": rebuild,
        "torch._utils._rebuild_parameter": lambda view, *_: view,
        "torch.nn.parameter.Parameter": lambda view, *_: view,
    }

    def storage_of(reference: Any) -> _Storage:
        kind, dtype, key, _, size, *_ = reference
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise RefusedPickleError(f"it refers to a {kind!r} outside of the pickle")
        return _Storage(dtype, str(key), int(size))

    return ArrayUnpickler(file, known, storage_of).load()


def _state_dict(loaded: Any) -> dict[str, _View]:
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not a state dict")
    return {str(name): value for name, value in loaded.items() if isinstance(value, _View)}


def _arrays(loaded: Any, read: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, view in _state_dict(loaded).items():
        content = read(view.storage)
        dtype = view.storage.dtype
        numbers = np.frombuffer(content, dtype, count=len(content) // dtype.itemsize)
        last = view.offset + sum(
            (n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True)
        )
        if 0 not in view.shape and not (0 <= view.offset <= last < len(numbers)):
            raise ValueError(f"{name} reaches beyond its {len(numbers)} numbers")
        if min(view.strides, default=0) < 0:
            raise ValueError(f"{name} has negative strides")
        strides = [stride * dtype.itemsize for stride in view.strides]
        window = np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, strides)
        arrays[name] = np.ascontiguousarray(window)
    if not arrays:
        raise ValueError("it holds no tensors by name")
    return arrays
