"""The answers of a classifier in a file: CSV or JSON Lines, by the ending of its name."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from typing import Any, TextIO

from slimzoo.output_folders import folder_to_write
from training.storage.whole_files import written_whole

ENDINGS = (".csv", ".jsonl")


def check_output(path: str, overwrite: bool) -> str:
    """Checks that answers can be written to a file, and returns its path, without `~`.

    Args:
      path: as the user gave it.
      overwrite: whether it may exist.

    Raises:
      ValueError: if its ending is not known, it exists and may not, or cannot be written.
    """
    path = os.path.expanduser(path)
    if not path.lower().endswith(ENDINGS):
        raise ValueError(
            f"--output is {path}; its ending says what is written: .csv, or .jsonl for JSON Lines."
        )
    if os.path.isdir(path):
        raise ValueError(f"--output {path} is a folder; give the name of a file.")
    if os.path.lexists(path) and not overwrite:
        raise ValueError(
            f"--output {path} exists already. Give another name, or --overwrite to replace it."
        )
    folder_to_write("output", os.path.dirname(path) or ".")
    return path


class AnswerFile:
    r"""Writes an answer after the other.

    A CSV file has a line for each image: file, valid (true or false), error, and class_1,
    probability_1, class_2, ... as many as are asked for. JSON Lines have an object for each:
    "file", "valid", "error" (null if there is none) and "classes", a list of "class" and
    "probability". Probabilities have eight digits. The text is UTF-8; a byte of a file's name that
    is not is written as \xe9.

    Args:
      stream: a text stream that writes newlines as they are.
      is_json: whether to write JSON Lines.
      top_k: how many of the likeliest classes are written.
    """

    def __init__(self, stream: TextIO, is_json: bool, top_k: int):
        self._stream = stream
        self._is_json = is_json
        self._top_k = top_k
        self._writer = csv.writer(stream)
        if not is_json:
            columns = [
                f"{what}_{place}"
                for place in range(1, top_k + 1)
                for what in ("class", "probability")
            ]
            self._writer.writerow(["file", "valid", "error", *columns])

    def add(self, name: str, error: str, likeliest: list[tuple[str, float]]) -> None:
        """Writes a line.

        Args:
          name: of the file.
          error: why there is no answer; empty if there is.
          likeliest: classes and their probabilities, best first.
        """
        name = os.fsencode(name).decode("utf-8", "backslashreplace")
        if self._is_json:
            record: dict[str, Any] = {
                "file": name,
                "valid": not error,
                "error": error or None,
                "classes": [
                    {"class": class_name, "probability": float(f"{probability:.8g}")}
                    for class_name, probability in likeliest
                ],
            }
            self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            return
        cells = [cell for class_name, p in likeliest for cell in (class_name, f"{p:.8g}")]
        cells += [""] * (2 * self._top_k - len(cells))
        self._writer.writerow([name, "false" if error else "true", error, *cells])


@contextlib.contextmanager
def answer_file(path: str, top_k: int) -> Iterator[AnswerFile]:
    """Opens a file for answers, which is there in the end, whole, or not at all.

    Args:
      path: as `check_output` gives it. Its folder is made.
      top_k: how many of the likeliest classes are written.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with (
        written_whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        yield AnswerFile(stream, path.lower().endswith(".jsonl"), top_k)
