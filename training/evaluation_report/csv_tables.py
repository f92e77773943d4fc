"""The tables of a report as CSV files, for whoever wants to go on counting."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np

from training.evaluation_report.measures import ClassMeasures, ConfusionCounts
from training.storage.whole_files import written_whole

PER_CLASS_COLUMNS = ("class", "support", "given", "right", "precision", "recall", "f1")


def write_per_class(path: str, class_names: Sequence[str], measures: ClassMeasures) -> None:
    """Writes a line for each class; what cannot be computed is left empty.

    Raises:
      OSError: with the name of the file, if it cannot be written; an earlier one is kept.
    """
    columns = [getattr(measures, name) for name in PER_CLASS_COLUMNS[1:]]
    with (
        written_whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(PER_CLASS_COLUMNS)
        for name, *values in zip(class_names, *columns, strict=True):
            writer.writerow([name, *map(_cell, values)])


def write_confusion(path: str, class_names: Sequence[str], counts: ConfusionCounts) -> None:
    """Writes the confusion matrix: a row for each true class, a column for each given one.

    Raises:
      OSError: with the name of the file, if it cannot be written; an earlier one is kept.
    """
    with (
        written_whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["true class", *class_names])
        for label, name in enumerate(class_names):
            writer.writerow([name, *counts.row(label).tolist()])


def _cell(value: np.number) -> str:
    if np.isnan(value):
        return ""
    return str(value) if isinstance(value, np.integer) else f"{value:.6g}"
