import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from record_writers import (
    imagenet_record,
    photo_records,
    record,
    write_flowers,
    write_labels,
    write_records,
)
from tiny_network import CLASSES, encode_photo

from image_datasets import tfrecord_counts
from image_datasets.dataset_factory import (
    class_names,
    default_validation_split,
    get_dataset,
    is_named_by_folder,
    respects_exif,
    short_name,
    split_sizes,
)
from image_datasets.label_names import imagenet_classes
from preprocessing import decoding


@pytest.fixture
def flowers(tmp_path):
    return write_flowers(tmp_path / "flowers_records")


@pytest.fixture
def write(tmp_path):
    """Writes records of one split, and returns their folder."""

    def write(*records, split="train", labels=("a", "b", "c"), compression=""):
        write_records(tmp_path / f"a_{split}.tfrecord", records, compression)
        if labels:
            write_labels(tmp_path, labels)
        return str(tmp_path)

    return write


def rows_of(dataset, stored=True):
    examples = dataset.stored_examples() if stored else dataset.examples()
    return list(examples.as_numpy_iterator())


def test_images_and_labels_are_those_that_were_written(flowers):
    dataset = get_dataset("tfrecord", "train", flowers)
    assert (dataset.num_examples, dataset.class_names) == (30, CLASSES)
    for index, row in enumerate(rows_of(dataset)):
        assert row["index"] == index
        assert row["label"] == index % 3
        assert row["image"] == encode_photo(index % 3, index // 3)


def test_files_are_read_by_turns_and_every_example_keeps_its_position(tmp_path):
    for shard in range(3):
        records = [record(b"%d" % (20 * shard + one), shard) for one in range(20)]
        write_records(tmp_path / f"train-{shard:05}-of-00003", records)
    write_labels(tmp_path, "abc")
    dataset = get_dataset("tfrecord", "train", str(tmp_path))
    rows = rows_of(dataset, stored=False)
    assert all(int(row["image"]) == row["index"] for row in rows)
    assert sorted(row["index"] for row in rows) == list(range(60))
    assert {row["label"] for row in rows[:40]} == {0, 1, 2}  # mixed, though written by class
    assert [row["index"] for row in rows] == [
        row["index"] for row in rows_of(dataset, stored=False)
    ]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train[7:12]", range(7, 12)),
        ("train[:50%]", range(15)),
        ("train[28:]+validation[:2]", [28, 29, 100, 101]),
        ("val[20:]", [120]),
    ],
)
def test_slices_are_counted_over_the_files(flowers, split, expected):
    whole = {
        0: rows_of(get_dataset("tfrecord", "train", flowers)),
        100: rows_of(get_dataset("tfrecord", "validation", flowers)),
    }
    dataset = get_dataset("tfrecord", split, flowers)
    images = [whole[100 * (one >= 100)][one % 100]["image"] for one in expected]
    assert [row["image"] for row in rows_of(dataset)] == images
    assert sorted(row["image"] for row in rows_of(dataset, stored=False)) == sorted(images)
    assert [row["index"] for row in dataset.stored_examples(1)] == list(range(1, len(images)))
    assert int(dataset.examples().cardinality()) == dataset.num_examples == len(images)


def test_an_image_is_named_by_its_file_and_record(flowers):
    dataset = get_dataset("tfrecord", "train[9:]+validation[8:]", flowers)
    assert [dataset.describe(index).replace(flowers, "") for index in (0, 1, 11, 20, 21)] == [
        "record 9 of /flowers_train_00000-of-00003.tfrecord",
        "record 0 of /flowers_train_00001-of-00003.tfrecord",
        "record 0 of /flowers_train_00002-of-00003.tfrecord",
        "record 9 of /flowers_train_00002-of-00003.tfrecord",
        "record 1 of /flowers_validation_00001-of-00003.tfrecord",
    ]


def test_splits_overlap_as_those_of_other_sources_do(flowers):
    first = get_dataset("tfrecord", "train[:20]", flowers)
    assert first.num_shared(get_dataset("tfrecord", "train[15:]", flowers)) == 5
    assert first.num_shared(get_dataset("tfrecord", "validation", flowers)) == 0
    assert default_validation_split("tfrecord", flowers) == "validation"
    assert split_sizes("tfrecord", flowers) == {"train": 30, "validation": 21}


def test_what_is_not_asked_for_is_not_counted(flowers, monkeypatch):
    counted = []
    original = tfrecord_counts.labelled_records
    monkeypatch.setattr(
        tfrecord_counts,
        "labelled_records",
        lambda path, progress: counted.append(os.path.basename(path)) or original(path, progress),
    )
    assert default_validation_split("tfrecord", flowers) == "validation"
    assert class_names("tfrecord", flowers) == CLASSES
    assert counted == []
    get_dataset("tfrecord", "validation[:80%]", flowers)
    assert {name.partition("_0")[0] for name in counted} == {"flowers_validation"}


def test_a_fingerprint_goes_by_files_and_slices_and_not_by_the_place(flowers):
    fingerprints = {
        get_dataset("tfrecord", split, flowers).fingerprint
        for split in ("train", "train[:10]", "validation")
    }
    assert len(fingerprints) == 3
    moved = os.path.join(os.path.dirname(flowers), "moved")
    os.rename(flowers, moved)
    for path in pathlib.Path(moved).glob("flowers*"):
        os.utime(path)
    assert get_dataset("tfrecord", "train", moved).fingerprint in fingerprints
    write_records(f"{moved}/flowers_train_00000-of-00003.tfrecord", photo_records(3))
    assert get_dataset("tfrecord", "train", moved).fingerprint not in fingerprints


@pytest.mark.parametrize("where", ["{}", "{}/", "{}/flowers_%s_*.tfrecord"])
def test_what_is_made_of_records_is_called_after_their_folder(flowers, where):
    where = where.format(flowers)
    assert short_name("tfrecord", where) == "flowers_records"
    assert is_named_by_folder("tfrecord", where)
    assert not respects_exif("tfrecord", where)  # TF-Slim never turned a photo
    assert get_dataset("tfrecord", "train", where).num_examples == 30


def test_a_pattern_is_called_after_the_folder_that_it_begins_with(monkeypatch, tmp_path):
    assert short_name("tfrecord", "data/birds/%s/*.rec") == "birds"
    monkeypatch.chdir(tmp_path)
    assert short_name("tfrecord", "%s-*") == tmp_path.name


def test_a_pattern_without_a_split_is_all_of_one(flowers):
    dataset = get_dataset("tfrecord", "train", f"{flowers}/*.tfrecord")
    assert dataset.num_examples == 51
    one = f"{flowers}/flowers_train_00001-of-00003.tfrecord"
    assert get_dataset("tfrecord", "train[2:4]", one).num_examples == 2


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_compressed_records_are_recognized(write, compression):
    folder = write(*photo_records(2), compression=compression)
    dataset = get_dataset("tfrecord", "train[1:]", folder)
    assert [row["image"] for row in rows_of(dataset)] == [
        encode_photo(label, number) for number in range(2) for label in range(3)
    ][1:]
    assert dataset.find_damage() is None


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", [b"raw", b"RAW"])
def test_raw_pixels_become_an_image_of_the_same_pixels(write, channels, name):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, channels), np.uint8)
    folder = write(record(pixels.tobytes(), 1, name, height=7, width=5))
    (row,) = rows_of(get_dataset("tfrecord", "train", folder))
    np.testing.assert_array_equal(tf.io.decode_png(row["image"]), pixels)
    expected = np.repeat(pixels, 3, axis=-1) if channels == 1 else pixels[..., :3]
    np.testing.assert_array_equal(decoding.decode(row["image"]), expected)


@pytest.mark.parametrize("sides", [(7, 6), (0, 0), (35, 2), (-7, -5), (1 << 40, 1 << 40)])
def test_raw_pixels_that_are_not_as_many_as_their_sides_say_cannot_be_decoded(write, sides):
    folder = write(record(bytes(7 * 5 * 3), 1, b"raw", *sides))
    (row,) = rows_of(get_dataset("tfrecord", "train", folder))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(row["image"])


def test_a_format_that_is_not_told_or_not_true_does_not_matter(write):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    png = tf.io.encode_png(pixels).numpy()
    folder = write(record(png, 1, None), record(png, 2, b"jpeg", height=None, width=None))
    for row in rows_of(get_dataset("tfrecord", "train", folder)):
        np.testing.assert_array_equal(tf.io.decode_png(row["image"]), pixels)


def test_records_of_imagenet_have_the_ids_of_tfds_and_a_background_class(tmp_path):
    ids = class_names("imagenet2012")
    for split, labels in (("train", [1, 1000]), ("validation", [517])):
        records = [imagenet_record(encode_photo(0, 0), one, ids[one - 1]) for one in labels]
        write_records(tmp_path / f"{split}-00000-of-00001", records)
    write_labels(tmp_path, ["background", "tench, Tinca tinca", "..."])  # whatever is in there
    dataset = get_dataset("tfrecord", "validation", str(tmp_path))
    assert dataset.class_names == imagenet_classes()
    (row,) = rows_of(dataset)
    assert dataset.class_names[row["label"]] == ids[516]


def test_without_a_label_file_classes_are_numbers_which_all_splits_decide(write, capsys):
    write(record(b"", 0), record(b"", 3), labels=None)
    folder = write(record(b"", 5), split="test", labels=None)
    assert get_dataset("tfrecord", "train", folder).class_names == tuple("012345")
    assert class_names("tfrecord", folder) == tuple("012345")
    said = capsys.readouterr().out
    assert said == (
        f"There is no labels.txt in {folder}: its 6 classes are called by their numbers.\n"
    )


def test_without_a_label_file_labels_from_1_have_a_background_class(write, capsys):
    folder = write(record(b"", 1), record(b"", 2), labels=None)
    assert class_names("tfrecord", folder) == ("background", "1", "2")
    assert "numbers, of which 0 is taken for a background class." in capsys.readouterr().out


@pytest.mark.parametrize("label", [3, 1 << 40])
def test_a_label_without_a_name_is_named_with_its_record(write, label):
    folder = write(record(b"", 2), record(b"", label))
    message = (
        rf"Record 1 of .*a_train\.tfrecord has the label {label}\. .*labels\.txt has names for"
    )
    with pytest.raises(ValueError, match=message):
        get_dataset("tfrecord", "train[:1]", folder)
    write_labels(folder, "abcd")
    if label == 3:
        assert get_dataset("tfrecord", "train", folder).num_classes == 4


def test_a_class_that_is_not_told_is_minus_one(write):
    folder = write(record(b"", -1), record(b"", 0))
    rows = rows_of(get_dataset("tfrecord", "train", folder))
    assert [row["label"] for row in rows] == [-1, 0]


def test_contents_that_were_changed_are_found_with_the_record(write):
    """TensorFlow compares the checksum of the contents, when it reads them."""
    folder = write(*photo_records(2))
    path = pathlib.Path(folder, "a_train.tfrecord")
    contents = bytearray(path.read_bytes())
    contents[-100] ^= 1  # of the last image
    path.write_bytes(contents)
    dataset = get_dataset("tfrecord", "train", folder)
    with pytest.raises(tf.errors.DataLossError):
        rows_of(dataset)
    damage = dataset.find_damage()
    assert damage.startswith(f"{path} is damaged: record 5 cannot be read. Replace that file")


def test_a_file_that_lost_records_since_it_was_counted_is_named(write):
    folder = write(*photo_records(2))
    dataset = get_dataset("tfrecord", "train", folder)
    write(*photo_records(1))
    assert "a_train.tfrecord has 3 records, and had 6" in dataset.find_damage()


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("trian", "Unknown split of the records .*a_%s.*'trian'.*Did you mean 'train'"),
        ("train[9:]", "reaches outside the records .*these examples: train 3"),
        ("train[", "cannot be read"),
    ],
)
def test_a_split_that_is_wrong_is_explained(write, split, message):
    folder = write(*photo_records(1))
    with pytest.raises(ValueError, match=message):
        get_dataset("tfrecord", split, folder)


def test_the_folder_is_to_be_given():
    with pytest.raises(ValueError, match="'tfrecord' needs --dataset_dir"):
        get_dataset("tfrecord", "train")
