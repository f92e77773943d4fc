"""The answers of a classifier for people: a table, or how many images each class has."""

from __future__ import annotations

import collections
import os
import shutil
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from image_datasets.file_names import printable
from image_datasets.wordnet_names import readable_name

MOST_ROWS = 50
"""Of more images, which another file has one by one, people are told the sums."""

_MOST_CLASSES = 20
_GAP = 2  # columns of the terminal between those of the table
_SHARE_OF_NAMES = 0.4  # of a line
_PERCENT = "100.0%"
_HEADING = "image"


class Row(NamedTuple):
    """What is shown of one image: its name, and classes with probabilities, best first."""

    name: str
    likeliest: Sequence[tuple[str, float]]


def shown_class(name: str) -> str:
    """What a class is called to people: an id of ImageNet's has its name beside it."""
    return printable(readable_name(name))


def percentage(probability: float) -> str:
    """A probability in per cent; what is neither never nor always is not shown as that."""
    if 0 < probability < 0.0005:
        return "<0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}"


def table(rows: Sequence[Row], width: int | None = None) -> str:
    """Lays answers out: the name of an image, and beside it as many classes as fit on a line.

    The others follow below. The folder that all images are in has a line of its own where there is
    no room for it beside each. What is still too long is shortened in the middle.

    Args:
      rows: one for each image.
      width: of a line; None is the terminal's, or 80.
    """
    width = width or line_width()
    names = [printable(row.name) for row in rows]
    classes = [[(shown_class(name), p) for name, p in row.likeliest] for row in rows]
    most = max(int(width * _SHARE_OF_NAMES), 12)
    lines = []
    # What they begin with, up to a slash; commonpath() takes no names of both kinds, "/a" and "b".
    beginning = os.path.commonprefix(names) if len(names) > 1 else ""  # noqa: RUF071
    folder = beginning[: beginning.rfind("/") + 1]
    if folder and max(map(display_width, names)) > most:
        names = [name.removeprefix(folder) for name in names]
        lines.append(shortened(f"In {folder}", width))
    name_width = min(max(map(display_width, [_HEADING, *names])), most)
    left = max(width - name_width - _GAP, len(_PERCENT) + 9)
    longest = max((display_width(name) for row in classes for name, _ in row), default=0)
    cell_width = min(len(_PERCENT) + 1 + longest, left)
    cells_in_a_line = max((left + _GAP) // (cell_width + _GAP), 1)
    heading = _filled(_HEADING, name_width)
    lines.append(shortened(f"{heading}{' ' * _GAP}likeliest classes", width))
    for name, row in zip(names, classes, strict=True):
        cells = [
            f"{percentage(p):>{len(_PERCENT)}} "
            + _filled(
                shortened(one, cell_width - len(_PERCENT) - 1), cell_width - len(_PERCENT) - 1
            )
            for one, p in row
        ]
        for start in range(0, len(cells), cells_in_a_line):
            first = _filled(shortened(name, name_width) if start == 0 else "", name_width)
            lines.append(
                (" " * _GAP).join([first, *cells[start : start + cells_in_a_line]]).rstrip()
            )
    return "\n".join(lines)


def class_counts(rows: Sequence[Row], width: int | None = None) -> str:
    """Says how many images each class has that is the likeliest of some, and how sure they are.

    Args:
      rows: one for each image.
      width: of a line; None is the terminal's, or 80.
    """
    width = width or line_width()
    probabilities = collections.defaultdict(list)
    for row in rows:
        name, probability = row.likeliest[0]
        probabilities[name].append(probability)
    ordered = sorted(probabilities.items(), key=lambda item: (-len(item[1]), item[0]))
    header = ("images", "mean probability", "class")
    lines = ["  ".join(header)]
    for name, values in ordered[:_MOST_CLASSES]:
        mean = percentage(sum(values) / len(values))
        start = f"{len(values):>{len(header[0])},}  {mean:>{len(header[1])}}  "
        lines.append(start + shortened(shown_class(name), max(width - len(start), 12)))
    if len(ordered) > _MOST_CLASSES:
        others = sum(len(values) for _, values in ordered[_MOST_CLASSES:])
        count = len(ordered) - _MOST_CLASSES
        lines.append(f"{others:>{len(header[0])},}  of {count:,} other classes")
    return "\n".join(lines)


def in_short(rows: Sequence[Row], most: int = 5) -> str:
    """How many images each class has, in part of a line: "2 roses, 1 tulips"; at most so many."""
    counts = collections.Counter(row.likeliest[0][0] for row in rows)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count:,} {shown_class(name)}" for name, count in ordered[:most]]
    if len(ordered) > most:
        others = sum(count for _, count in ordered[most:])
        parts.append(f"{others:,} of {len(ordered) - most:,} other classes")
    return ", ".join(parts)


def line_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return max(shutil.get_terminal_size((80, 24)).columns, 30)


def display_width(text: str) -> int:
    """Columns that a text takes: Chinese letters take two, accents of their own none."""
    return sum(map(_letter_width, text))


def shortened(text: str, width: int) -> str:
    """Leaves out the middle of a text that takes more columns than `width`."""
    if display_width(text) <= width:
        return text
    ellipsis = "..." if width > 5 else ""
    room = width - len(ellipsis)
    # More of the end: that is where files of a folder differ.
    start = _first(text, room // 3)
    end = _first(text[::-1], room - display_width(start))[::-1]
    return start + ellipsis + end


def _first(text: str, width: int) -> str:
    taken = 0
    for number, letter in enumerate(text):
        taken += _letter_width(letter)
        if taken > width:
            return text[:number]
    return text


def _filled(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
