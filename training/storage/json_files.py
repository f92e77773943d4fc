"""Reads JSON that somebody else may have written, and says what in it is not as expected.

@dataclasses.dataclass
class Size:
    height: Annotated[int, Between(1, 16_384)]
    unit: str | None = None

size = read_dataclass(Size, "size.json")
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, TypeVar

T = TypeVar("T")

_MOST_BYTES = 64 << 20  # of the names of a million classes, and far beyond what is kept in JSON


class Between(NamedTuple):
    """In `Annotated[int, Between(1, 10)]`: the least and the largest number, or length of a list.

    Attributes:
      least: inclusive.
      largest: inclusive; None is none.
    """

    least: float
    largest: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether a number, or the length of a list, is in the range."""
        number = len(value) if isinstance(value, list | tuple | dict) else value
        return self.least <= number and (self.largest is None or number <= self.largest)

    def __str__(self) -> str:
        if self.largest is None:
            return f"of at least {self.least:,}"
        return f"of {self.least:,} to {self.largest:,}"


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a file that holds one JSON object, whose numbers are numbers.

    Raises:
      ValueError: saying what is wrong, without the path.
      OSError: if it cannot be read.
    """
    size = os.path.getsize(path)
    if size > _MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than {_MOST_BYTES:,}")
    try:
        document = json.loads(pathlib.Path(path).read_bytes(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ValueError("it is empty" if not size else f"it is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError(f"it holds {shown(document)}, where an object with fields is expected")
    return document


def read_dataclass(cls: type[T], path: str | os.PathLike[str]) -> T:
    """Reads the fields of a dataclass; see `make_dataclass`."""
    return make_dataclass(cls, read_object(path))


def make_dataclass(cls: type[T], document: Mapping[str, Any]) -> T:
    """Makes a dataclass of JSON whose values have the types that the fields say.

    Raises:
      ValueError: naming the field, what is there and what is expected, without a path.
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in fields]
    for name in document:
        if name not in names:
            raise ValueError(f"the field {shown(name)} is not known")
    check_types(document, typing.get_type_hints(cls, include_extras=True))
    for field in fields:
        if field.name not in document and (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ):
            raise ValueError(f"the field {field.name} is missing")
    return cls(**document)


def check_types(values: Mapping[str, Any], annotations: Mapping[str, Any], of: str = "") -> None:
    """Checks each value by the annotation of its name; names without one are not checked.

    Args:
      values: as JSON gives them, in which tuples are lists.
      annotations: types, as `typing.get_type_hints` gives them.
      of: what the names belong to, to be put before them in messages, such as "options: ".

    Raises:
      ValueError: naming the first value that is something else, and what is expected.
    """
    for name, value in values.items():
        if name in annotations and not _fits(value, annotations[name]):
            raise ValueError(
                f"{of}{name} is {shown(value)}; {_words(annotations[name])} is expected"
            )


def is_like(value: Any, default: Any) -> bool:
    """Whether a value can stand where a default stands: it is of the same type, or None of None.

    An integer is as good as a float and a list as a tuple; where the default is None, all is.
    """
    if default is None or value is None:
        return default is None
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, float | int)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(default))


def shown(value: Any) -> str:
    """A value as JSON, of which a long one is cut."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no number")


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        kind, *limits = arguments
        ranges = [limit for limit in limits if isinstance(limit, Between)]
        return _fits(value, kind) and all(limit.holds(value) for limit in ranges)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, kind) for kind in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, arguments[1]) for one in value.values())
    if annotation in (None, types.NoneType):
        return value is None
    if annotation is str:
        return isinstance(value, str) and _is_unicode(value)
    if annotation in (bool, list, dict):
        return isinstance(value, annotation)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")  # names of files may be any bytes
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


_WORDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object with fields",
    types.NoneType: "null",
    Any: "any value",
}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers"}


def _words(annotation: Any) -> str:
    """Says what a type expects of JSON."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return " ".join([_words(arguments[0]), *map(str, arguments[1:])])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_words, arguments))
    if origin in (list, tuple):
        same = len(set(arguments) - {...}) == 1
        kinds = _PLURALS.get(arguments[0], "lists") if same else "values"
        number = len(arguments) if origin is tuple and ... not in arguments else None
        return f"a list of {number} {kinds}" if number else f"a list of {kinds}"
    return _WORDS.get(origin or annotation, "another value")
