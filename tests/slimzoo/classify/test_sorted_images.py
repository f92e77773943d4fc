import os
import pathlib

import pytest

from slimzoo.classify.sorted_images import SortedImages, folder_names


@pytest.fixture
def image(tmp_path):
    """`image(name, content)`: the path of a new file."""

    def write(name, content="x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)
        return str(path)

    return write


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


def test_images_of_one_name_get_numbers_and_nothing_is_overwritten(image, tmp_path):
    image("sorted/cat/1.jpg", "an old one")
    images = SortedImages(str(tmp_path / "sorted"), ["cat", "dog"])
    for name, label in (("a/1.jpg", 0), ("b/1.jpg", 0), ("c/1.jpg", 1), ("d/1.tar.gz", 0)):
        images.put(image(name, name), label)
    expected = {
        "cat/1.jpg": "an old one",
        "cat/1-2.jpg": "a/1.jpg",
        "cat/1-3.jpg": "b/1.jpg",
        "cat/1.tar.gz": "d/1.tar.gz",
        "dog/1.jpg": "c/1.jpg",
    }
    assert contents(tmp_path / "sorted") == expected
    assert (images.num_new, images.num_there) == (4, 0)
    assert (tmp_path / "a" / "1.jpg").exists()  # copied, not moved


@pytest.mark.parametrize("link", [True, False])
def test_the_same_command_again_adds_nothing(image, tmp_path, link):
    same = [image("a/1.jpg"), image("b/1.jpg")]  # of the same contents, and two images
    for counts in ((2, 0), (0, 2)):
        images = SortedImages(str(tmp_path / "sorted"), ["cat"], link=link)
        places = [images.put(path, 0) for path in same]
        assert [os.path.basename(place) for place in places] == ["1.jpg", "1-2.jpg"]
        assert (images.num_new, images.num_there) == counts
    assert len(contents(tmp_path / "sorted")) == 2


@pytest.mark.parametrize("link", [True, False])
def test_an_image_whose_class_was_another_before_is_noted(image, tmp_path, link):
    folder = str(tmp_path / "sorted")
    same, other, twin = image("a/1.jpg", "1"), image("a/2.jpg", "2"), image("b/1.jpg", "1")

    def put(answers):
        images = SortedImages(folder, ["cat", "dog"], link=link)
        for path, label in answers.items():
            images.put(path, label)
        return {
            os.path.relpath(place, folder): os.path.relpath(before, folder)
            for place, before in images.moved.items()
        }

    assert put({same: 0, other: 0}) == {}
    assert put({same: 0, other: 1}) == {"dog/2.jpg": "cat/2.jpg"}
    assert put({same: 0, other: 1}) == {"dog/2.jpg": "cat/2.jpg"}  # until somebody removes one
    # A copy tells of no more than what is in it; a link, which image it is.
    assert put({twin: 1}) == ({} if link else {"dog/1.jpg": "cat/1.jpg"})


def test_a_copy_has_the_time_of_its_image(image, tmp_path):
    path = image("1.jpg")
    os.utime(path, (1e9, 1e9))
    assert os.stat(SortedImages(str(tmp_path / "s"), ["cat"]).put(path, 0)).st_mtime == 1e9


def test_a_link_leads_to_the_image_from_anywhere(image, tmp_path, monkeypatch):
    image("photos/1.jpg", "the image")
    monkeypatch.chdir(tmp_path)
    SortedImages("sorted", ["cat"], link=True).put("photos/1.jpg", 0)
    place = tmp_path / "sorted" / "cat" / "1.jpg"
    assert place.is_symlink()
    assert place.read_text() == "the image"


def test_a_link_takes_no_place_of_a_broken_one(image, tmp_path):
    (tmp_path / "s" / "cat").mkdir(parents=True)
    (tmp_path / "s" / "cat" / "1.jpg").symlink_to("nowhere")
    for link in (True, False):
        place = SortedImages(str(tmp_path / "s"), ["cat"], link=link).put(image("1.jpg"), 0)
        assert os.path.basename(place) != "1.jpg"
    assert os.readlink(tmp_path / "s" / "cat" / "1.jpg") == "nowhere"


def test_a_file_in_the_place_of_a_folder_is_named(image, tmp_path):
    image("s/cat", "kept")
    with pytest.raises(ValueError, match=r"1\.jpg cannot be copied to .*cat: File exists"):
        SortedImages(str(tmp_path / "s"), ["cat"]).put(image("1.jpg"), 0)
    assert (tmp_path / "s" / "cat").read_text() == "kept"


@pytest.mark.parametrize(
    ("class_names", "folders"),
    [
        (
            ["roses", "été", "猫", "tench, Tinca tinca"],
            ["roses", "été", "猫", "tench, Tinca tinca"],
        ),
        (["a/b", "a\\b", "..", ".", ""], ["a_b", "a_b-2", "_", "_-2", "_-3"]),
        (["Cat", "cat", "CAT"], ["Cat", "cat-2", "CAT-3"]),
        ([".hidden", " x. ", "con", "Nul.x", "q?\n"], ["_hidden", "x", "_con", "_Nul.x", "q__"]),
    ],
)
def test_classes_have_folders_that_any_file_system_takes(class_names, folders):
    assert folder_names(class_names) == folders


def test_long_names_are_cut_between_letters_and_stay_apart(tmp_path):
    names = folder_names(["猫" * 200 + "a", "猫" * 200 + "b"])
    assert len(set(names)) == 2
    for name in names:
        (tmp_path / name).mkdir()
        assert set(name) <= set("猫-2")
