"""A progress bar that leaves out its least important figures where a terminal is narrow."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import tqdm

# What the bar has by itself, as tqdm's format strings.
_PERCENTAGE = "{percentage:3.0f}%"
_GRAPHIC = "|{bar:5}| "
_STEPS = "{n_fmt}/{total_fmt}"
_LEFT = "{remaining} left"
_ELAPSED = "{elapsed} gone"


class Figure(NamedTuple):
    """A part of the bar.

    Attributes:
      text: as shown.
      importance: the lowest are left out first.
    """

    text: str
    importance: float


class ProgressBar(tqdm.tqdm):
    """Counts the steps of a run, with figures beside them, in one line of any terminal.

    Args:
      first_step: of the count.
      num_steps: at the end.
      silent: shows nothing.
    """

    def __init__(self, first_step: int, num_steps: int, silent: bool = False):
        self._figures: list[Figure] = []  # before tqdm shows the bar for the first time
        super().__init__(
            initial=first_step,
            total=num_steps,
            disable=silent,
            dynamic_ncols=True,
            smoothing=0,  # the time that is left counts validations in
            # A log file gets a line every half a minute rather than ten a second.
            mininterval=0.2 if sys.stderr.isatty() else 30,
        )

    def show(self, figures: Iterable[Figure]) -> None:
        """Shows these figures from the next refresh on; in `text` there are no braces."""
        self._figures = list(figures)

    def __str__(self) -> str:
        return bar_text(self.format_dict, self._figures)


def bar_text(values: dict[str, Any], figures: Iterable[Figure]) -> str:
    """The line of a bar: all figures, or the most important of them that fit.

    Args:
      values: tqdm's; `ncols` is how many columns there are, None or 0 where nobody knows.
      figures: in the order in which they are shown.
    """
    parts = [
        Figure(_GRAPHIC, 3.5),
        Figure(_STEPS, 4.5),
        Figure(_LEFT, 9),
        *figures,
        Figure(_ELAPSED, 0),
    ]
    columns = values["ncols"]
    while True:
        graphic = _GRAPHIC if any(part.text == _GRAPHIC for part in parts) else ", "
        shown = ", ".join(part.text for part in parts if part.text != _GRAPHIC)
        bar_format = _PERCENTAGE + graphic * bool(shown) + shown
        text = str(tqdm.tqdm.format_meter(**{**values, "ncols": None, "bar_format": bar_format}))
        # The cursor stands in the last column.
        if not columns or len(text) < columns or not parts:
            return text
        parts.remove(min(parts, key=lambda part: part.importance))
