"""An unpickler that makes arrays and what holds them, and refuses everything else.

A pickle is a program: it names functions, calls them, and sets the state of what they return. Here
only names exist that are listed below, and none of them is what it is elsewhere: NumPy's own would
read memory at any address that a crafted state asks for. Each is a class of this module that
notes what it was given, takes no other state, and is checked when it is turned into an array.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np


class RefusedPickleError(ValueError):
    """A pickle asks for something that weights do not need."""


class ArrayUnpickler(pickle.Unpickler):
    """Loads numbers, strings, lists, dictionaries and `PickledArray`s.

    Args:
      file: binary.
      more: further names ("module.name") and what they stand for: strings, or classes that derive
        from `Inert`.
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
        self._known = {**_KNOWN, **(more or {})}
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


class Inert:
    """Base of what a pickle can make: it has no attributes that a pickle could set."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Refuses; a class that takes a state says which."""
        raise RefusedPickleError(f"it sets the state of a {type(self).__name__.strip('_')}")


class PlainDict(dict):
    """`collections.OrderedDict`, whose attributes (PyTorch's metadata) are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Takes no notice."""


class _NdArray(Inert):
    """The class `numpy.ndarray`, which is named and never called."""

    __slots__ = ()

    def __init__(self, *arguments: Any):
        raise RefusedPickleError("it calls numpy.ndarray")


class _Dtype(Inert):
    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, *_: Any):
        self._code, self._order = str(code), "="

    def __setstate__(self, state: Any) -> None:
        """Takes the byte order; fields, shapes and sizes of a dtype's own are refused."""
        _, order, *described = state
        if order not in ("<", ">", "=", "|") or any(part is not None for part in described[:3]):
            raise RefusedPickleError("it describes a dtype that has parts")
        self._order = order

    def numpy(self) -> np.dtype | None:
        """The dtype of numbers; None for Python objects."""
        if self._code in ("O", "O8"):
            return None
        if self._code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "b1"):
            raise RefusedPickleError(f"it has an array of dtype {self._code!r}")
        return np.dtype(self._code if self._order == "|" else self._order + self._code)


class PickledArray(Inert):
    """An array as its pickle describes it; `value` checks and makes it."""

    __slots__ = ("_state",)

    def __init__(self, kind: Any, shape: Any, typecode: Any):
        self._state: tuple[Any, ...] = ()  # follows, and says all

    def __setstate__(self, state: Any) -> None:
        """Takes version, shape, dtype, order and content."""
        self._state = tuple(state)[-4:]

    def value(self) -> Any:
        """The array; of Python objects the list of them.

        Raises:
          ValueError: if its parts do not fit together.
        """
        shape, dtype, is_fortran, content = self._state
        if not isinstance(dtype, _Dtype) or not all(
            type(size) is int and size >= 0 for size in shape
        ):
            raise ValueError("an array's shape or dtype is damaged")
        numbers = dtype.numpy()
        if numbers is None:
            if not isinstance(content, list) or len(content) != math.prod(shape):
                raise ValueError("an array of objects is damaged")
            return content
        if isinstance(content, str):  # bytes of Python 2
            content = content.encode("latin1")
        if not isinstance(content, bytes) or len(content) != math.prod(shape) * numbers.itemsize:
            raise ValueError(f"an array of shape {list(shape)} has another number of bytes")
        return np.frombuffer(content, numbers).reshape(shape, order="F" if is_fortran else "C")


class _Scalar(Inert):
    __slots__ = ()

    def __new__(cls, dtype: Any, content: Any) -> Any:
        """Gives an array of no dimensions."""
        array = PickledArray(None, None, None)
        array.__setstate__((1, (), dtype, False, content))
        return array


class _Latin1(Inert):
    """`_codecs.encode`, by which Python 3 writes bytes in old protocols."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> Any:
        """Gives bytes."""
        if encoding != "latin1":
            raise RefusedPickleError(f"it encodes text as {encoding!r}")
        return text.encode("latin1")


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": PlainDict,
    "_codecs.encode": _Latin1,
    "numpy.ndarray": _NdArray,
    "numpy.dtype": _Dtype,
    **{
        f"{module}.multiarray.{name}": stand_in
        for module in ("numpy.core", "numpy._core")
        for name, stand_in in (("_reconstruct", PickledArray), ("scalar", _Scalar))
    },
}
