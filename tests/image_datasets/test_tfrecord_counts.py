import json
import os
import pathlib

import pytest
from record_writers import record, write_records

from image_datasets import tfrecord_counts
from image_datasets.tfrecord_counts import count_records


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files of records: labels 3, 1, 2 and 5."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, labels in (("a", [3, 1, 2]), ("b", [5])):
        write_records(tmp_path / "records" / name, [record(b"image", label) for label in labels])
    return tmp_path / "records"


@pytest.fixture
def num_read(monkeypatch):
    """The files that have been read so far."""
    read = []
    original = tfrecord_counts.labelled_records
    monkeypatch.setattr(
        tfrecord_counts,
        "labelled_records",
        lambda path, progress: read.append(path) or original(path, progress),
    )
    return lambda: len(read)


def count(folder):
    paths = [str(folder / name) for name in ("a", "b")]
    counted = count_records(paths, str(folder))
    assert [file.path for file in counted] == paths
    return [(file.num_examples, file.least_label, file.largest_label) for file in counted]


def kept(folder):
    (path,) = pathlib.Path(folder).glob("*record_counts_*")
    return path


def test_files_are_read_once(folder, num_read):
    for _ in range(2):
        assert count(folder) == [(3, 1, 3), (1, 5, 5)]
        assert num_read() == 2
    assert kept(folder).parent == folder
    moved = folder.rename(folder.parent / "elsewhere")
    assert count(moved) == [(3, 1, 3), (1, 5, 5)]
    assert num_read() == 2


def test_a_file_that_has_changed_is_read_again(folder, num_read):
    count(folder)
    write_records(folder / "b", [record(b"image", 7)] * 2)
    assert count(folder) == [(3, 1, 3), (2, 7, 7)]
    os.utime(folder / "b", ns=(0, 0))
    count(folder)
    assert num_read() == 6


def test_a_file_that_is_gone_is_named(folder):
    (folder / "b").unlink()
    with pytest.raises(ValueError, match=r"records/b cannot be read: No such file"):
        count(folder)


def test_an_empty_file_has_no_labels(folder):
    write_records(folder / "b", [])
    assert count(folder) == [(3, 1, 3), (0, 0, -1)]
    assert count(folder) == [(3, 1, 3), (0, 0, -1)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-5],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[1, 2]",
        lambda text: '{"path": 1, "b": 2}',
        lambda text: "\xff" + text,
        lambda text: text.replace('"num_examples": 3', '"num_examples": -3'),
        lambda text: text.replace('"num_examples": 3', '"num_examples": "3"'),
        lambda text: text.replace('"largest_label": 3', '"largest_label": null'),
        lambda text: text.replace('"compression": ""', '"compression": "BZIP"'),
        lambda text: text.replace('"num_examples"', '"examples"'),
        lambda text: "[" * 100_000,
    ],
)
def test_what_was_kept_and_is_damaged_is_counted_again(folder, num_read, damage):
    count(folder)
    text = kept(folder).read_text()
    damaged = damage(text)
    assert damaged != text
    kept(folder).write_text(damaged, encoding="latin-1")
    assert count(folder) == [(3, 1, 3), (1, 5, 5)]
    assert num_read() == 4
    assert json.loads(kept(folder).read_text()) == json.loads(text)


def test_where_the_folder_cannot_be_written_it_is_kept_for_the_user(folder, num_read, monkeypatch):
    replace = os.replace

    def refuse(source, target):
        if str(target).startswith(str(folder)):
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    count(folder)
    count(folder)
    assert num_read() == 2
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]  # nothing half-written
    assert kept(folder.parent / "cache" / "slimzoo")


def test_where_nothing_can_be_written_it_is_counted_each_time(
    folder, num_read, capsys, monkeypatch
):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert count(folder) == count(folder)
    assert num_read() == 4
    assert "WARNING: the records are counted again each time" in capsys.readouterr().out


def test_counting_that_takes_long_is_said(folder, monkeypatch, capsys):
    monkeypatch.setattr(tfrecord_counts, "_SECONDS_IN_SILENCE", -1)
    count(folder)
    said = capsys.readouterr().err
    assert said.count("are counted, which is done once: 2 files, 0.0 GB.") == 1
    assert kept(folder).name in said
    count(folder)
    assert capsys.readouterr().err == ""
