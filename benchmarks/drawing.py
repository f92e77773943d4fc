"""Plots as PNG files, with matplotlib, which is optional."""

from __future__ import annotations

import sys
from typing import Any


def pyplot() -> Any | None:
    """`matplotlib.pyplot`, which draws into files; None, and a word of it, if it is missing."""
    try:
        import matplotlib
    except ImportError:
        message = "No plot: matplotlib is not installed (pip install 'slimzoo[bench]')."
        print(message, file=sys.stderr)  # standard output is for the report
        return None
    matplotlib.use("agg")  # needs no screen
    import matplotlib.pyplot

    return matplotlib.pyplot
