"""How a benchmark is run, and how it ends: a table on standard error, JSON on standard output."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from machine import describe_machine, describe_versions
from measuring import LeftOut

_OUTPUT = flags.DEFINE_string("output", None, "A file that the JSON is written to as well.")


def run(main: Callable[[list[str]], None]) -> None:
    """`absl.app.run`, but --help lists the flags of the modules beside the program too.

    What a user can cause ends in a message, and before anything is measured where that is possible.
    """
    here = pathlib.Path(__file__).parent
    for name, defined in flags.FLAGS.flags_by_module_dict().items():
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and pathlib.Path(path).parent == here:
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def checked(arguments: list[str]) -> None:
        try:
            _check_outputs()
            main(arguments)
        except (ValueError, OSError, ImportError) as error:
            print(f"\nERROR: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("\nInterrupted: nothing is reported.", file=sys.stderr)
            sys.exit(130)

    app.run(checked)


def _check_outputs() -> None:
    """Raises ValueError if a file that is to be written at the end cannot be."""
    for name in ("output", "csv", "plot"):
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not path:
            continue
        folder = pathlib.Path(path).absolute().parent
        if not folder.is_dir() or pathlib.Path(path).is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(
                f"--{name} is {path}, but {folder} is no folder that can be written to, or {path} "
                "is a folder itself. Nothing was measured."
            )


def finish(content: dict[str, Any], tables: Sequence[str]) -> None:
    """Prints the tables on standard error and the report on standard output.

    Args:
      content: of the report; what it was measured on is added.
      tables: of `format_table`.
    """
    report = {
        "benchmark": pathlib.Path(sys.argv[0]).stem,
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": describe_versions(),
        **content,
    }
    print(*tables, sep="\n\n", file=sys.stderr)
    text = json.dumps(report, indent=1)
    print(text)
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(text + "\n", encoding="utf-8")


def format_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text: the first column to the left, the others to the right, numbers rounded."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def describe_left_out(left_out: Sequence[LeftOut]) -> list[dict[str, str]]:
    """The contenders that could not run, for a report."""
    return [{"contender": one.contender.name, "reason": one.reason} for one in left_out]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
