import os
import pathlib
import re
import shutil

import pytest

from training.storage import whole_files
from training.storage.whole_files import (
    remove_leftovers,
    write_text,
    written_together,
    written_whole,
)


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
    ((kept, temporary),) = seen
    assert kept == "first"
    assert re.fullmatch(r"file\.[0-9a-f]{8}\.incomplete", temporary)
    assert path.read_text() == "first"
    write_text(str(path), "second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(str(path), "first")

    def full_disk(self, text, encoding):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_text", full_disk)
        with pytest.raises(OSError, match="No space") as raised:
            write_text(str(path), "second")
    assert raised.value.filename == str(path)  # which Python's error of an open file lacks
    assert path.read_text() == "first"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    with written_whole(f"{folder}/") as temporary:
        os.makedirs(f"{temporary}/inside")
        assert not folder.exists()
    assert (folder / "inside").is_dir()

    def interrupted():
        with written_whole(str(folder)) as temporary:
            os.makedirs(f"{temporary}/other")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_to_an_empty_folder_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with written_whole(str(tmp_path / "link")) as temporary:
        os.makedirs(f"{temporary}/inside")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "inside").is_dir()


def test_two_writers_never_write_to_the_same_file(tmp_path):
    path = str(tmp_path / "file")
    with written_whole(path) as one, written_whole(path) as other:
        assert one != other
        pathlib.Path(one).write_text("one")
        pathlib.Path(other).write_text("other")
    assert pathlib.Path(path).read_text() == "one"  # it ended last


def test_what_killed_writers_left_is_removed(tmp_path):
    for name in ("a.json.0123abcd.incomplete", "kept.json", "mine.incomplete"):
        (tmp_path / name).touch()
    (tmp_path / "export.0123abcd.incomplete").mkdir()  # another process may be writing it
    remove_leftovers(str(tmp_path))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["export.0123abcd.incomplete", "kept.json", "mine.incomplete"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_an_error_while_a_file_is_open_names_it():
    with pytest.raises(OSError, match="No space left on device: 'metrics'") as raised:
        fill("metrics")
    assert raised.value.errno == 28


def fill(name):
    with whole_files.naming(name), open("/dev/full", "w") as file:
        file.write("text")


def test_a_folder_replaces_another_only_when_complete(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "old").touch()

    def write(fail):
        with written_whole(str(folder), replaces_folder=True) as temporary:
            pathlib.Path(temporary).mkdir()
            pathlib.Path(temporary, "new").touch()
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(fail=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "old"]
    write(fail=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "new"]


class Interrupted(KeyboardInterrupt):
    """Of a test."""


@pytest.mark.parametrize("at", range(4))
def test_interrupted_anywhere_in_an_exchange_one_whole_folder_is_left(tmp_path, monkeypatch, at):
    """After the earlier one is away, after the new one is there, and twice in the clearing away."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "old").touch()
    calls = []

    def interrupted(original):
        def call(*arguments, **options):
            calls.append(original)
            number = len(calls)
            if original is shutil.rmtree and number == at + 1:
                raise Interrupted
            original(*arguments, **options)
            if number == at + 1:
                raise Interrupted

        return call

    monkeypatch.setattr(whole_files.os, "replace", interrupted(os.replace))
    monkeypatch.setattr(whole_files.shutil, "rmtree", interrupted(shutil.rmtree))

    def write():
        with written_whole(str(folder), replaces_folder=True) as temporary:
            pathlib.Path(temporary).mkdir()
            pathlib.Path(temporary, "new").touch()

    if at < 3:
        with pytest.raises(Interrupted):
            write()
    else:
        write()
    left = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    expected = "old" if at == 0 else "new"
    assert left == [pathlib.Path("export"), pathlib.Path("export", expected)]


def test_files_get_into_a_folder_together_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("earlier")

    def write(fail):
        with written_together(str(tmp_path)) as folder:
            for name in ("a", "b"):
                pathlib.Path(folder, name).write_text("new")
            if fail:
                raise Interrupted

    with pytest.raises(Interrupted):
        write(fail=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "earlier")]
    write(fail=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_leftover_folders_are_removed_where_that_is_asked_for(tmp_path):
    (tmp_path / "files.0123abcd.incomplete" / "deep").mkdir(parents=True)
    remove_leftovers(str(tmp_path), folders=True)
    assert not list(tmp_path.iterdir())
