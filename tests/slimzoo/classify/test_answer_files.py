import csv
import json
import os

import pytest

from slimzoo.classify.answer_files import answer_file, check_output

LIKELIEST = [('a "b", c', 0.123456789), ("猫", 1e-12)]
NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")


def write(path):
    with answer_file(str(path), 2) as file:
        file.add("a, b.jpg", "", LIKELIEST)
        file.add(NOT_UTF8, "is empty", [])


def test_csv_reads_back(tmp_path):
    write(tmp_path / "new" / "a.CSV")
    with open(tmp_path / "new" / "a.CSV", newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["file"], first["valid"], first["error"]) == ("a, b.jpg", "true", "")
    assert (first["class_1"], first["class_2"]) == ('a "b", c', "猫")
    assert float(first["probability_1"]) == pytest.approx(0.123456789, abs=1e-8)
    assert float(first["probability_2"]) == 1e-12
    assert (second["file"], second["valid"], second["error"]) == (
        "caf\\xe9.jpg",
        "false",
        "is empty",
    )
    assert second["class_1"] == second["probability_2"] == ""


def test_json_lines_read_back(tmp_path):
    write(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert (first["file"], first["valid"], first["error"]) == ("a, b.jpg", True, None)
    assert [entry["class"] for entry in first["classes"]] == ['a "b", c', "猫"]
    assert first["classes"][0]["probability"] == pytest.approx(0.123456789, abs=1e-8)
    assert second == {"file": "caf\\xe9.jpg", "valid": False, "error": "is empty", "classes": []}


def test_after_an_error_the_earlier_file_is_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("earlier")

    def interrupted():
        with answer_file(str(path), 1) as file:
            file.add("a.jpg", "is empty", [])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.read_text() for one in tmp_path.iterdir()] == ["earlier"]


def test_an_output_is_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    there = tmp_path / "there.csv"
    there.write_text("kept")
    (tmp_path / "folder.csv").mkdir()
    assert check_output("~/new/a.jsonl", False) == f"{tmp_path}/new/a.jsonl"
    assert check_output(str(there), True) == str(there)
    for name, message in {
        "there.csv": "there.csv exists already. Give another name, or --overwrite",
        "a.txt": r"its ending says what is written: \.csv, or \.jsonl",
        "csv": "its ending says",
        "folder.csv": "folder.csv is a folder",
        "there.csv/a.csv": "there.csv is a file, not a folder",
    }.items():
        with pytest.raises(ValueError, match=message):
            check_output(str(tmp_path / name), False)
    assert not (tmp_path / "new").exists()
