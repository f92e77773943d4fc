import os

import pytest
from told_answers import ROWS, collected

from training.evaluation_report import report
from training.evaluation_report.report import write_report


def test_three_files_are_written_in_place_of_earlier_ones(evaluation, answers, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.html").write_text("earlier")
    paths = write_report(str(folder), evaluation(), answers)
    assert [os.path.basename(path) for path in paths] == [
        "report.html",
        "per_class.csv",
        "confusion.csv",
    ]
    assert sorted(os.listdir(folder)) == sorted(map(os.path.basename, paths))
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (folder / "per_class.csv").read_text().splitlines()[1].startswith("ant,3,")


def test_what_fails_leaves_an_earlier_report_alone(evaluation, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("report.html", "per_class.csv", "confusion.csv"):
        (folder / name).write_text("earlier")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "page", fail)
    with pytest.raises(OSError, match="No space"):
        write_report(str(folder), evaluation(), collected(ROWS))
    assert {path.read_text() for path in folder.iterdir()} == {"earlier"}
