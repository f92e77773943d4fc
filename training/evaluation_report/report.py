"""Writes the report of an evaluation: a page and two tables."""

from __future__ import annotations

import os

from training.evaluation_report import CONFUSION_NAME, PAGE_NAME, PER_CLASS_NAME
from training.evaluation_report.answers import Answers
from training.evaluation_report.csv_tables import write_confusion, write_per_class
from training.evaluation_report.measures import class_measures, confusion_counts
from training.evaluation_report.page import Evaluation, page
from training.storage.whole_files import write_text


def write_report(folder: str, evaluation: Evaluation, answers: Answers) -> list[str]:
    """Writes `report.html`, `per_class.csv` and `confusion.csv`, in place of earlier ones.

    Args:
      folder: where they go; it exists.
      evaluation: what was evaluated, on what, and how.
      answers: of all images, in which few are looked up in the dataset once more, to be shown.

    Returns:
      The paths of the three files.

    Raises:
      OSError: with the name of a file, if it cannot be written; an earlier one is kept.
    """
    paths = [os.path.join(folder, name) for name in (PAGE_NAME, PER_CLASS_NAME, CONFUSION_NAME)]
    names = list(evaluation.class_names)
    text = page(evaluation, answers)
    write_per_class(paths[1], names, class_measures(answers))
    write_confusion(paths[2], names, confusion_counts(answers))
    write_text(paths[0], text)
    return paths
