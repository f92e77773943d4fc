import gzip
import pathlib

import pytest
import tensorflow as tf
from record_writers import record, write_records

from image_datasets.tfrecord_reading import compression_of, labelled_records


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a_train.tfrecord")


def labels_in(path):
    return [one.label for one in labelled_records(path)]


def cut(path, num_bytes):
    pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:num_bytes])


def change(path, position):
    contents = bytearray(pathlib.Path(path).read_bytes())
    contents[position] ^= 4
    pathlib.Path(path).write_bytes(contents)


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_labels_and_ids_are_read_as_tensorflow_wrote_them(path, compression):
    others = [{}, {"class_synset": b"n01440764"}, {}]
    records = [record(b"image", label, **other) for label, other in enumerate(others)]
    write_records(path, records, compression)
    assert compression_of(path) == compression
    told = []
    found = list(labelled_records(path, told.append))
    assert [one.label for one in found] == [0, 1, 2]
    assert [one.synset for one in found] == ["", "n01440764", ""]
    assert sum(told) == pathlib.Path(path).stat().st_size


def test_a_record_as_long_as_a_gzip_file_begins_is_not_taken_for_one(path):
    # The length, little-endian, begins with the bytes 1f 8b.
    base = len(record(b"", 0))
    encoded = b"x" * (0x18B1F - base)
    while len(record(encoded, 0)) > 0x18B1F:  # lengths within the record take bytes too
        encoded = encoded[:-1]
    write_records(path, [record(encoded, 5)])
    assert pathlib.Path(path).read_bytes()[:2] == b"\x1f\x8b"
    assert compression_of(path) == ""
    assert labels_in(path) == [5]


def test_a_file_without_records_is_empty(path):
    pathlib.Path(path).touch()
    assert labels_in(path) == []


@pytest.mark.parametrize(
    "contents", [b"\xff\xd8\xff" * 20, b"label,image\n" * 9, gzip.compress(b"x" * 99)]
)
def test_what_is_no_file_of_records_is_named(path, contents):
    pathlib.Path(path).write_bytes(contents)
    with pytest.raises(ValueError, match=r"a_train\.tfrecord is no TFRecord file, plain or"):
        labels_in(path)


@pytest.mark.parametrize("compression", ["", "GZIP"])
@pytest.mark.parametrize("lost", [1, 4, 5])
def test_a_file_that_was_cut_is_named_with_the_record(path, compression, lost):
    write_records(path, [record(bytes(range(200)), label) for label in range(3)], compression)
    cut(path, -lost)
    with pytest.raises(ValueError, match=r"a_train\.tfrecord is cut off .* record [23]\. Replace"):
        labels_in(path)


@pytest.mark.parametrize("left", [3, 11, 12, 40])
def test_a_file_that_was_cut_in_its_second_record_is_named(path, left):
    records = [record(b"image", label) for label in range(2)]
    write_records(path, records)
    cut(path, len(records[0]) + 16 + left)
    with pytest.raises(ValueError, match=r"a_train\.tfrecord is cut off or damaged in record 1\."):
        labels_in(path)


def test_a_length_that_was_changed_is_found_by_its_checksum(path):
    records = [record(b"image", label) for label in range(2)]
    write_records(path, records)
    change(path, len(records[0]) + 16)
    with pytest.raises(ValueError, match=r"is damaged behind record 0\. Replace that file"):
        labels_in(path)


def test_checksums_are_those_that_tensorflow_compares(path):
    """TensorFlow reads what this module takes, and the other way round."""
    write_records(path, [b"x" * length for length in range(1, 300, 7)])
    assert len(list(tf.data.TFRecordDataset(path))) == 43
    with pytest.raises(ValueError, match=r"Record 0 of .* is damaged, or no tf\.train\.Example"):
        labels_in(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoded": None}, "Record 1 of .* has no image/encoded.*image/class/label, image/form"),
        ({"label": None}, "Record 1 of .* has no image/class/label of the kind int64_list, where"),
        ({"label": [1, 2]}, "Record 1 of .* has 2 values of image/class/label"),
        ({"label": b"daisy"}, "Record 1 of .* has no image/class/label of the kind int64_list"),
        ({"label": -2}, "Record 1 of .* has the label -2"),
    ],
)
def test_a_record_without_an_image_or_a_label_is_named(path, values, message):
    bad = record(**{"encoded": b"image", "label": 0, **values})
    write_records(path, [record(b"image", -1), bad])
    with pytest.raises(ValueError, match=message):
        labels_in(path)


def test_records_of_something_else_say_what_they_have(path):
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(b"png")
    write_records(path, [example.SerializeToString()])
    with pytest.raises(ValueError, match=r"no image/encoded .*It has image\. Records as TF-Slim"):
        labels_in(path)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone cannot be read: No such file"):
        labels_in(str(tmp_path / "gone"))
