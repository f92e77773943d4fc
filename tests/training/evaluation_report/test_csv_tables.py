import csv

import numpy as np
from told_answers import answered

from training.evaluation_report.csv_tables import write_confusion, write_per_class
from training.evaluation_report.measures import class_measures, confusion_counts

NAMES = ["a, b", 'the "c"', "two\nlines", "=1+1", "é"]
PAIRS = ((0, 0), (0, 1), (1, 1), (2, 0), (2, 0), (2, 4))


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_table_of_classes_reads_back(tmp_path):
    path = str(tmp_path / "per_class.csv")
    write_per_class(path, NAMES, class_measures(answered(PAIRS, 5)))
    header, *rows = read(path)
    assert header == ["class", "support", "given", "right", "precision", "recall", "f1"]
    assert [row[0] for row in rows] == NAMES
    assert rows[0][1:] == ["2", "3", "1", "0.333333", "0.5", "0.4"]
    assert rows[3][1:] == ["0", "0", "0", "", "", ""]  # there is nothing to divide
    assert sum(int(row[1]) for row in rows) == sum(int(row[2]) for row in rows) == len(PAIRS)


def test_the_confusion_matrix_reads_back_and_adds_up(tmp_path):
    path = str(tmp_path / "confusion.csv")
    write_confusion(path, NAMES, confusion_counts(answered(PAIRS, 5)))
    header, *rows = read(path)
    assert header[1:] == [row[0] for row in rows] == NAMES
    matrix = np.array([[int(cell) for cell in row[1:]] for row in rows])
    assert matrix.sum() == len(PAIRS)
    assert matrix[2].tolist() == [2, 0, 0, 0, 1]
