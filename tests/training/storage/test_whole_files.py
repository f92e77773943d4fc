import pathlib

import pytest

from training.storage.whole_files import write_text


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(str(path), "first")

    def full_disk(self, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_text(str(path), "second")
    assert path.read_text() == "first"
    write_text(str(path), "third")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "third"
