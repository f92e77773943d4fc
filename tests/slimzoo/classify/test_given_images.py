import io
import os
import pathlib
import types

import pytest

from slimzoo.classify import given_images
from slimzoo.classify.given_images import find_images

JPEG = b"\xff\xd8\xff\xe0 the rest"


@pytest.fixture
def found(tmp_path, monkeypatch):
    """`found(*names, stdin=b"")`: what is found in a folder with a few files."""
    for name in ("a.jpg", "b.png", "notes.txt", "deep/c.jpg", "deep/er/d.JPEG", "empty/x.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "photos")

    def find(*names, stdin=b""):
        stream = io.BytesIO(stdin)
        monkeypatch.setattr(given_images.sys, "stdin", types.SimpleNamespace(buffer=stream))
        return find_images(names, str(tmp_path / "temporary"))

    return find


def test_files_and_folders_keep_their_order_and_come_once(found):
    images = found("b.png", "deep", "./b.png", "a.jpg", "deep/c.jpg")
    assert images.paths == ["b.png", "deep/c.jpg", "deep/er/d.JPEG", "a.jpg"]
    assert not images.problems
    assert images.folders == ["deep"]


def test_a_file_that_is_named_is_taken_whatever_its_ending(found):
    assert found("notes.txt").paths == ["notes.txt"]


def test_what_cannot_be_taken_is_told_beside_the_rest(found):
    os.mkfifo("pipe.jpg")
    images = found("gone.jpg", "a.jpg", "pipe.jpg", "empty", "nothing*")
    assert images.paths == ["a.jpg"]
    assert {name: why[:25] for name, why in images.problems.items()} == {
        "gone.jpg": "cannot be read: No such f",
        "pipe.jpg": "is a pipe, socket or devi",
        "empty": "is a folder without an im",
        "nothing*": "matches no image",
    }


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "deep/c.jpg"]),
        ("d*/**/*.*", ["deep/c.jpg", "deep/er/d.JPEG"]),
        ("deep/**", ["deep/c.jpg", "deep/er/d.JPEG"]),
        ("**/er/**/d.*", ["deep/er/d.JPEG"]),
        ("?.*", ["a.jpg", "b.png"]),  # images only, where the ending is left open
        ("*.txt", ["notes.txt"]),  # and what is asked for, where it is not
        ("deep/*", ["deep/c.jpg", "deep/er/d.JPEG"]),
        ("[ab].*", ["a.jpg", "b.png"]),
    ],
)
def test_a_pattern_that_the_shell_has_left_is_expanded(found, pattern, paths):
    assert found(pattern).paths == paths


def test_a_pattern_means_hidden_files_only_where_it_says_so(found):
    for name in (".a.jpg", ".deep/a.jpg"):
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        pathlib.Path(name).write_bytes(b"x")
    assert found("**/a.jpg").paths == ["a.jpg"]
    assert found("**/*a.jpg").paths == ["a.jpg"]
    assert found(".deep/**/*.jpg", "**/.a.jpg").paths == [".deep/a.jpg", ".a.jpg"]
    assert found("**/.deep/./a.*").paths == [".deep/a.jpg"]


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_exists(found):
    pathlib.Path("a[1].jpg").write_bytes(b"x")
    pathlib.Path("a1.jpg").write_bytes(b"x")
    assert found("a[1].jpg").paths == ["a[1].jpg"]


def test_links_in_a_circle_come_to_an_end(found):
    os.symlink("..", "deep/up")
    os.symlink(".", "deep/self")
    assert found(".").paths == ["./a.jpg", "./b.png", "./deep/c.jpg", "./deep/er/d.JPEG"]
    assert found("**/*.jpg").paths == ["a.jpg", "deep/c.jpg"]


@pytest.mark.parametrize(
    "listed",
    [
        b"a.jpg\ndeep\nb [1].png\n",
        b"a.jpg\r\n\r\ndeep\r\nb [1].png",
        b"a.jpg\0deep\0b [1].png\0",
    ],
)
def test_standard_input_lists_names(found, listed):
    pathlib.Path("b [1].png").write_bytes(b"x")
    images = found("-", "b.png", stdin=listed)
    assert images.paths == ["a.jpg", "deep/c.jpg", "deep/er/d.JPEG", "b [1].png", "b.png"]
    assert images.piped is None


def test_a_name_in_a_list_may_be_of_any_bytes_and_is_no_pattern(found):
    pathlib.Path(os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    images = found("-", stdin=b"caf\xe9.jpg\n*.jpg\n")
    assert [os.fsencode(path) for path in images.paths] == [b"caf\xe9.jpg"]
    assert list(images.problems) == ["*.jpg"]


def test_standard_input_may_be_an_image(found):
    images = found("a.jpg", "-", stdin=JPEG)
    assert images.paths == ["a.jpg", images.piped]
    assert pathlib.Path(images.piped).read_bytes() == JPEG
    assert [images.shown_name(path) for path in images.paths] == ["a.jpg", "-"]
    assert os.path.basename(images.piped) == "standard_input.jpg"


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n", b"\0"])
def test_an_empty_standard_input_is_explained(found, content):
    with pytest.raises(ValueError, match="Standard input is empty"):
        found("-", stdin=content)


def test_a_closed_standard_input_is_explained(found, monkeypatch, tmp_path):
    monkeypatch.setattr(given_images.sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input, which is closed"):
        find_images(["-"], str(tmp_path))


@pytest.mark.parametrize("noise", [bytes(range(1, 256)) * 20, b"a" * 5000, b"ab\x01\0" * 300])
def test_what_is_neither_an_image_nor_names_is_said_in_short(found, noise):
    with pytest.raises(ValueError, match=r"neither an image .* nor names of files") as error:
        found("-", stdin=noise)
    assert len(str(error.value)) < 200
