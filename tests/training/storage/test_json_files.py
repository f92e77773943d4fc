import dataclasses
import json
from typing import Annotated, Any

import pytest

from training.storage import json_files
from training.storage.json_files import (
    Between,
    is_like,
    make_dataclass,
    read_dataclass,
    read_object,
)


@dataclasses.dataclass
class Example:
    name: str
    count: Annotated[int, Between(1, 10)]
    rate: float | None = None
    rows: tuple[tuple[float, float], ...] = ()
    triple: tuple[int, int, int] = (1, 2, 3)
    names: Annotated[list[str], Between(1)] = dataclasses.field(default_factory=lambda: ["a"])
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    by_name: dict[str, int] = dataclasses.field(default_factory=dict)
    flag: bool = False


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "it is empty"),
        (b"{", "it is no JSON"),
        (b"[]", r"it holds \[\], where an object"),
        (b'"text"', 'it holds "text", where'),
        (b"\xff\xfe{}", "it is"),
        (b'{"a": "\xe9"}', "it is not UTF-8: .* at byte 7"),
        (b"\x00" * 100, "it is"),
        (b'{"a": NaN}', "it holds NaN, which is no number"),
        (b'{"a": -Infinity}', "it holds -Infinity"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a":' * 1_000_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "integer string conversion"),
    ],
)
def test_what_is_no_object_is_said(tmp_path, contents, message):
    path = tmp_path / "a.json"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        read_object(path)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": "b" * 100}))
    monkeypatch.setattr(json_files, "_MOST_BYTES", 50)
    with pytest.raises(ValueError, match="it has 109 bytes, more than 50"):
        read_object(path)


def test_a_dataclass_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"name": "é", "count": 3, "rate": 2, "rows": [[1, 2.5]], "by_name": {"a": 1}}')
    assert read_dataclass(Example, path) == Example("é", 3, 2, [[1, 2.5]], by_name={"a": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": 3}, "name is 3; a text is expected"),
        ({"name": "\ud800"}, "a text is expected"),
        ({"name": None}, "name is null; a text is expected"),
        ({"count": "3"}, 'count is "3"; a whole number of 1 to 10 is expected'),
        ({"count": 0}, "count is 0; a whole number of 1 to 10 is expected"),
        ({"count": True}, "count is true; a whole number"),
        ({"count": 3.0}, r"count is 3\.0; a whole number"),
        ({"rate": "fast"}, 'rate is "fast"; a number or null is expected'),
        ({"rate": 10**400}, r"rate is 1000.*\.\.\.; a number or null"),
        ({"rows": [[1, 2, 3]]}, "rows is .*; a list of lists is expected"),
        ({"triple": [1, 2]}, r"triple is \[1, 2\]; a list of 3 whole numbers is expected"),
        ({"names": []}, r"names is \[\]; a list of texts of at least 1 is expected"),
        ({"names": "abc"}, "a list of texts"),
        ({"names": ["a", 3]}, "a list of texts"),
        ({"options": []}, "an object with fields is expected"),
        ({"by_name": {"a": "b"}}, "an object with fields is expected"),
        ({"flag": 1}, "true or false is expected"),
        ({"more": 1}, 'the field "more" is not known'),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_is_expected(values, message):
    with pytest.raises(ValueError, match=message):
        make_dataclass(Example, {"name": "a", "count": 3, **values})


def test_a_missing_field_is_named():
    with pytest.raises(ValueError, match="the field count is missing"):
        make_dataclass(Example, {"name": "a"})


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        (1, 0.5, True),
        (True, 0.5, False),
        (1, True, False),
        ([1], (1, 2), True),
        ("a", (1, 2), False),
        ("a", None, True),
        (None, None, True),
        (None, 3, False),
    ],
)
def test_a_value_is_like_a_default_or_not(value, default, expected):
    assert is_like(value, default) is expected
