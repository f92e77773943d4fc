import os
import socket
import unicodedata

import pytest

from image_datasets.class_folders import (
    files_by_class,
    holds_classes,
    holds_image,
    images_below,
    visible_folders,
)


def test_what_is_no_readable_file_is_left_out_and_named(write_images, capsys):
    """Reading a pipe or /dev/zero would never end, and the rest would end the run."""
    root = write_images("cat/1.png", "cat/dir.jpg/2.png", "dog/1.png", "dog/3.png")
    (root / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "cat" / "itself.jpg").symlink_to("itself.jpg")
    (root / "cat" / "unmounted").symlink_to("/nowhere/at/all")
    (root / "horse").symlink_to("/nowhere/horses")
    os.mkfifo(root / "dog" / "pipe.jpg")
    (root / "dog" / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(root / "dog" / "socket.jpg"))  # whose path must be short
        files = files_by_class(str(root))
    assert {name: sorted(paths) for name, paths in files.items()} == {
        "cat": ["cat/1.png", "cat/dir.jpg/2.png"],
        "dog": ["dog/1.png", "dog/3.png"],
    }
    assert capsys.readouterr().out == (
        f"Not used: 4 broken links in {root}, such as horse.\n"
        f"Not used: 3 pipes, sockets or devices in {root}, such as dog/pipe.jpg.\n"
    )


def test_a_link_upwards_brings_no_images_of_other_classes(write_images, capsys):
    root = write_images("cat/1.png", "dog/1.png", "dog/deep/2.png")
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "self").symlink_to(".")
    (root / "dog" / "deep" / "top").symlink_to("/")
    (root / "all").symlink_to(".")
    assert {name: sorted(paths) for name, paths in files_by_class(str(root)).items()} == {
        "cat": ["cat/1.png"],
        "dog": ["dog/1.png", "dog/deep/2.png"],
    }
    assert "4 links to folders that are read already in" in capsys.readouterr().out


def test_links_to_files_and_folders_elsewhere_are_followed(write_images, tmp_path):
    root = write_images("photos/cat/1.png", "disk/dogs/1.png", "disk/2.png") / "photos"
    (root / "dog").symlink_to(tmp_path / "disk" / "dogs")
    (root / "cat" / "2.png").symlink_to(tmp_path / "disk" / "2.png")
    files = files_by_class(str(root), "train/")
    assert {name: sorted(paths) for name, paths in files.items()} == {
        "cat": ["train/cat/1.png", "train/cat/2.png"],
        "dog": ["train/dog/1.png"],
    }


def test_folders_that_differ_in_the_spelling_of_an_accent_are_one_class(write_images):
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    root = write_images(f"{one}/1.png", f"{two}/2.png", f"{two}/{two}.png")
    # The paths stay as they are on the disk.
    assert {name: sorted(paths) for name, paths in files_by_class(str(root)).items()} == {
        one: sorted([f"{one}/1.png", f"{two}/2.png", f"{two}/{two}.png"])
    }


@pytest.mark.parametrize("path", [b"caf\xe9/1.png", b"cat/caf\xe9.png", b"cat/caf\xe9/1.png"])
def test_names_that_are_not_utf8_are_refused(write_images, path):
    root = write_images("cat/1.png", os.fsdecode(path))
    with pytest.raises(ValueError, match=r"1 name is not in UTF-8 in .*caf\\xe9.*Rename"):
        files_by_class(str(root))


def test_names_that_are_not_utf8_do_not_matter_where_they_are_not_used(write_images):
    root = write_images("cat/1.png", os.fsdecode(b"empty\xe9/notes.txt"))
    assert list(files_by_class(str(root))) == ["cat"]


def test_a_folder_that_cannot_be_read_is_named(write_images, monkeypatch):
    root = write_images("cat/1.png", "dog/deep/1.png")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # as root may read everything
    with pytest.raises(ValueError, match=r"dog/deep cannot be read: Permission denied"):
        files_by_class(str(root))


def test_the_folder_of_a_file_system_and_hidden_ones_are_ignored(write_images, capsys):
    root = write_images("cat/1.png", "lost+found/1.png", ".cache/1.png")
    assert visible_folders(str(root)) == ["cat"]
    assert list(files_by_class(str(root))) == ["cat"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("paths", "holds"),
    [
        (["cat/1.png", "dog/1.png"], True),
        (["cat/1.png", "dog/deep/1.png", "stray.png"], True),
        (["cat/1.png"], False),  # one class is none
        (["cat/1.png", "notes/1.txt"], False),
        (["1.png", "2.png", "old/3.png", "new/4.png"], False),  # not more than beside them
        (["1.png", "2.png", "old/3.png", "new/4.png", "new/5.png"], True),
        (["1.png"], False),
    ],
)
def test_a_folder_of_classes_has_most_images_in_folders(write_images, paths, holds):
    root = str(write_images(*paths))
    assert holds_classes(root) == holds
    assert holds_image(root)


def test_a_folder_without_images_holds_none(write_images):
    root = str(write_images("a/notes.txt", ".hidden.png"))
    assert not holds_image(root)
    assert not holds_classes(root)


def test_images_are_found_at_any_depth_and_once(write_images, capsys):
    root = write_images("photos/b.png", "photos/2019/may/a.PNG", "photos/.hidden/c.png", "out.png")
    photos = root / "photos"
    (photos / "notes.txt").write_text("")
    (photos / "2019" / "again").symlink_to("may")
    (photos / "2019" / "up").symlink_to("..")
    (photos / "2019" / "top").symlink_to("../..")
    (photos / "linked").symlink_to(root / "elsewhere")
    expected = [f"{photos}/2019/may/a.PNG", f"{photos}/b.png"]
    assert images_below(str(photos)) == (expected, {})
    assert "Not used: 1 file that ends in .txt in" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["photos/", "photos", "photos/.", "photos/deep/..", "linked"])
def test_a_folder_may_be_called_in_any_way(write_images, name):
    root = write_images("photos/1.png", "photos/deep/2.png")
    (root / "photos" / "deep" / "linked").symlink_to("..")
    (root / "linked").symlink_to("photos")
    paths, problems = images_below(os.path.join(root, name))
    assert [os.path.basename(path) for path in paths] == ["1.png", "2.png"]
    assert not problems


def test_the_folder_that_one_is_in_may_be_meant(write_images, monkeypatch):
    monkeypatch.chdir(write_images("1.png", "deep/2.png"))
    assert images_below(".")[0] == ["./1.png", "./deep/2.png"]
    monkeypatch.chdir("deep")
    assert images_below("..")[0] == ["../1.png", "../deep/2.png"]


def test_a_folder_that_cannot_be_read_is_told_and_not_the_end(write_images, monkeypatch):
    root = write_images("1.png", "closed/2.png", "open/3.png")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # those who run tests may read everything
    paths, problems = images_below(str(root))
    assert paths == [f"{root}/1.png", f"{root}/open/3.png"]
    assert problems == {f"{root}/closed": "Permission denied"}
