import os
import pathlib

import pytest

from training.storage import whole_files
from training.storage.whole_files import write_text


def test_a_file_is_written_and_replaced(tmp_path):
    for text in ("first\n", ""):
        write_text(str(tmp_path / "file"), text)
        assert (tmp_path / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_there_stays_until_all_is_written(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("first")
    seen = []

    def interrupt(source, target):
        seen.append((path.read_text(), os.path.basename(source)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whole_files.os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_text(str(path), "second")
    assert seen == [("first", "file.incomplete")]
    assert path.read_text() == "first"
    write_text(str(path), "second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(str(path), "first")

    def full_disk(self, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_text(str(path), "second")
    assert path.read_text() == "first"
