"""PyTorch's state dicts: the zip file of today, and what came before PyTorch 1.6.

Both are pickles that refer to storages, blocks of numbers beside them; tensors are views of those.
"""

from __future__ import annotations

import functools
import io
import math
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from weight_formats.restricted_pickle import ArrayUnpickler, Inert, RefusedPickleError

# Between what dictionaries in dictionaries are called, and the names of tensors.
NESTED = " > "

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
_BESIDE_WEIGHTS = (
    "argparse.Namespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "torch.Size",
    "torch.device",
)


class _Storage(NamedTuple):
    dtype: np.dtype
    key: str
    size: int


class _View(Inert):
    """A tensor that is known before the storage it looks at is read."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            raise ValueError("a tensor's storage, shape or strides are damaged")
        self.storage, self.offset = storage, offset
        self.shape, self.strides = tuple(shape), tuple(strides)


class _Parameter(Inert):
    __slots__ = ()

    def __new__(cls, view: Any, *_: Any) -> Any:
        """Gives the tensor that it holds."""
        return view


class _Ignored(Inert):
    """What scripts keep beside weights, such as their arguments; nothing of it is kept."""

    __slots__ = ()

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        """Takes no notice."""


def read_torch(path: str) -> dict[str, np.ndarray]:
    """Reads a state dict, or a dictionary that has some under "state_dict", "ema" and the like.

    Returns:
      Arrays by PyTorch's names, such as "features.0.weight", or "state_dict > features.0.weight".

    Raises:
      ValueError: if it is no state dict, or damaged; RefusedPickleError if it wants more than
        tensors.
    """
    return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)


def _read_zip(path: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip file without PyTorch's data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        loaded = _load(io.BytesIO(archive.read(pickles[0])))

        @functools.cache
        def read(key: str) -> bytes:
            name = f"{folder}data/{key}"
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which PyTorch never does")
            return archive.read(name)

        return _arrays(loaded, lambda storage: read(storage.key))


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
            if not 0 <= count * itemsize <= os.path.getsize(path):
                raise ValueError(f"a storage of {count} numbers is larger than the file")
            contents[key] = file.read(count * itemsize)
    return _arrays(loaded, lambda storage: contents[storage.key])


def _load(file: Any) -> Any:
    known = {
        **{f"torch.{name}": name for name in _DTYPES},
        "torch._utils._rebuild_tensor_v2": _View,
        "torch._utils._rebuild_tensor": _View,
        "torch._utils._rebuild_parameter": _Parameter,
        "torch.nn.parameter.Parameter": _Parameter,
        **dict.fromkeys(_BESIDE_WEIGHTS, _Ignored),
    }

    def storage_of(reference: Any) -> _Storage:
        kind, name, key, _, size, *_ = reference
        if kind != "storage" or name not in _DTYPES:
            raise RefusedPickleError(f"it refers to a {kind!r} outside of the pickle")
        return _Storage(_DTYPES[name], str(key), int(size))

    return ArrayUnpickler(file, known, storage_of).load()


def _state_dict(loaded: Any) -> dict[str, _View]:
    """The tensors of all dictionaries in dictionaries.

    An optimizer's state is known by numbers rather than by names, and left where it is.
    """
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not a state dict")
    tensors = {}
    seen = set()  # a pickle can put a dictionary into itself
    waiting = [("", loaded)]
    while waiting:
        place, dictionary = waiting.pop(0)
        seen.add(id(dictionary))
        for name, value in dictionary.items():
            if not isinstance(name, str):
                continue
            if isinstance(value, _View):
                tensors[place + name] = value
            elif isinstance(value, dict) and id(value) not in seen:
                waiting.append((f"{place}{name}{NESTED}", value))
    return tensors


def _arrays(loaded: Any, read: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, view in _state_dict(loaded).items():
        content = read(view.storage)
        dtype = view.storage.dtype
        numbers = np.frombuffer(content, dtype, count=len(content) // dtype.itemsize)
        last = view.offset + sum(
            (n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True)
        )
        if 0 not in view.shape and not view.offset <= last < len(numbers):
            raise ValueError(f"{name} reaches beyond its {len(numbers)} numbers")
        if math.prod(view.shape) > len(numbers):
            raise ValueError(f"{name} of shape {list(view.shape)} has {len(numbers)} numbers")
        strides = [stride * dtype.itemsize for stride in view.strides]
        window = np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, strides)
        arrays[name] = np.ascontiguousarray(window)
    if not arrays:
        raise ValueError("it holds no tensors by name")
    return arrays
