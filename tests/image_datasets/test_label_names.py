import pytest
from record_writers import imagenet_record, record, write_labels, write_records

from image_datasets.dataset_factory import class_names
from image_datasets.label_names import (
    has_imagenet_labels,
    imagenet_classes,
    numbers_as_names,
    read_label_file,
)
from image_datasets.wordnet_names import imagenet_names


def write(folder, text, encoding="utf-8"):
    (folder / "labels.txt").write_text(text, encoding=encoding)
    return str(folder)


def test_names_are_read_as_tf_slim_wrote_them(tmp_path):
    assert read_label_file(str(tmp_path)) is None
    write_labels(tmp_path, ["daisy", "tench, Tinca tinca", "2:1"])
    assert read_label_file(str(tmp_path)) == ("daisy", "tench, Tinca tinca", "2:1")


@pytest.mark.parametrize("text", ["1:b\n0:a\n", "\ufeff0:a\r\n\r\n1:b", " 0 : a \n1:b\n"])
def test_order_and_spaces_do_not_matter(tmp_path, text):
    assert read_label_file(write(tmp_path, text)) == ("a", "b")


def test_labels_that_begin_with_1_have_a_background_class_before_them(tmp_path):
    write_labels(tmp_path, ["cat", "dog"], first=1)
    assert read_label_file(str(tmp_path)) == ("background", "cat", "dog")


@pytest.mark.parametrize("background", [[], ["background"]])
def test_imagenets_classes_in_words_are_known_though_two_are_called_crane(tmp_path, background):
    words = [f"{name}, and other words" for name in imagenet_names().values()]
    write_labels(tmp_path, [*background, *words])
    expected = (*background, *class_names("imagenet2012"))
    assert read_label_file(str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:a\nb\n", "Line 2 of .*labels.txt is 'b'; a label and its name are expected"),
        ("0:a\n1:\n", "Line 2 of .* is '1:'"),
        ("0:a\n-1:b\n", "Line 2 of .* is '-1:b'"),
        ("0:a\n2:b\n", "has no name for the label 1"),
        ("0:a\n1:b\n1:c\n", "has two names for the label 1"),
        ("0:a\n1:b\n2:a\n", "calls both 0 and 2 'a'"),
        ("", "has no name for the label"),
        ("0:a\n", "has no name for the label 1"),
    ],
)
def test_a_label_file_that_is_wrong_is_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_label_file(write(tmp_path, text))


def test_a_label_file_that_is_not_text_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"labels\.txt cannot be read as UTF-8"):
        read_label_file(write(tmp_path, "0:caf\xe9\n1:b\n", "latin-1"))


def test_numbers_begin_with_a_background_class_if_no_image_has_the_label_0():
    assert numbers_as_names(0, 2, "/data") == ("0", "1", "2")
    assert numbers_as_names(1, 2, "/data") == ("background", "1", "2")
    with pytest.raises(ValueError, match="have labels to 1,000,000, which cannot be"):
        numbers_as_names(0, 1_000_000, "/data")


def test_imagenet_is_known_by_the_ids_of_its_records(tmp_path):
    ids = class_names("imagenet2012")
    assert imagenet_classes() == ("background", *ids)
    path = str(tmp_path / "train-00000-of-00001")
    write_records(path, [imagenet_record(b"", label, ids[label - 1]) for label in (1, 517, 1000)])
    assert has_imagenet_labels(path)
    write_records(path, [imagenet_record(b"", 1, ids[0]), imagenet_record(b"", 2, ids[9])])
    assert not has_imagenet_labels(path)
    write_records(path, [record(b"", 1)])
    assert not has_imagenet_labels(path)
    write_records(path, [])
    assert not has_imagenet_labels(path)
