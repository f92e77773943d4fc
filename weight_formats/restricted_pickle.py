"""An unpickler that makes arrays and what holds them, and refuses everything else.

A pickle is a program: it names functions, and loading it calls them. Here only those exist that
are listed below, and they are this module's own.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np


class RefusedPickleError(ValueError):
    """A pickle asks for something that weights do not need."""


class ArrayUnpickler(pickle.Unpickler):
    """Loads numbers, strings, lists, dictionaries and NumPy arrays.

    Args:
      file: binary.
      more: further names ("module.name") and what they stand for.
      persistent_load: resolves references to what is outside the pickle.

    Raises:
      RefusedPickleError: by `load`, if the pickle names anything else; nothing of it is called.
    """

    def __init__(
        self,
        file: IO[bytes],
        more: dict[str, Any] | None = None,
        persistent_load: Callable[[Any], Any] | None = None,
    ):
        # Python 2 wrote most of these files; its strings are bytes, which latin1 keeps.
        super().__init__(file, encoding="latin1")
        self._known = {**_NUMPY, **(more or {})}
        self._load_persistent = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name stands for."""
        full_name = f"{module}.{name}"
        if full_name not in self._known:
            raise RefusedPickleError(
                f"it asks for {full_name!r}, which is no array. Such a file could run code, so "
                "nothing of it is loaded. Weights are taken as arrays: save a state dict, not a "
                "model"
            )
        return self._known[full_name]

    def persistent_load(self, reference: Any) -> Any:
        """Returns what a reference to the outside stands for."""
        if self._load_persistent is None:
            raise RefusedPickleError("it refers to something outside of itself")
        return self._load_persistent(reference)


def _reconstruct(kind: Any, shape: tuple[int, ...], typecode: bytes | str) -> np.ndarray:
    del kind, shape, typecode  # the array's state follows and says all
    return np.empty(0, np.uint8)


def _scalar(dtype: np.dtype, value: bytes | str) -> Any:
    if isinstance(value, str):
        value = value.encode("latin1")
    if dtype.hasobject:
        raise RefusedPickleError("it holds a NumPy scalar of Python objects")
    return np.frombuffer(value, dtype, count=1)[0]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise RefusedPickleError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


_NUMPY: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "_codecs.encode": _latin1,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{
        f"{module}.multiarray.{name}": function
        for module in ("numpy.core", "numpy._core")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}
