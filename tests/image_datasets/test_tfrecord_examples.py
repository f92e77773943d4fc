import numpy as np
import pytest
import tensorflow as tf
from record_writers import (
    photo_records,
    record,
    write_labels,
    write_records,
)
from tiny_network import CLASSES, encode_photo

from image_datasets.dataset_factory import (
    get_dataset,
)
from preprocessing import decoding


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


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_compressed_records_are_recognized(write_split, compression):
    folder = write_split(*photo_records(2), compression=compression)
    dataset = get_dataset("tfrecord", "train[1:]", folder)
    assert [row["image"] for row in rows_of(dataset)] == [
        encode_photo(label, number) for number in range(2) for label in range(3)
    ][1:]
    assert dataset.find_damage() is None


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", [b"raw", b"RAW"])
def test_raw_pixels_become_an_image_of_the_same_pixels(write_split, channels, name):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, channels), np.uint8)
    folder = write_split(record(pixels.tobytes(), 1, name, height=7, width=5))
    (row,) = rows_of(get_dataset("tfrecord", "train", folder))
    np.testing.assert_array_equal(tf.io.decode_png(row["image"]), pixels)
    expected = np.repeat(pixels, 3, axis=-1) if channels == 1 else pixels[..., :3]
    np.testing.assert_array_equal(decoding.decode(row["image"]), expected)


@pytest.mark.parametrize("sides", [(7, 6), (0, 0), (35, 2), (-7, -5), (1 << 40, 1 << 40)])
def test_raw_pixels_that_are_not_as_many_as_their_sides_say_cannot_be_decoded(write_split, sides):
    folder = write_split(record(bytes(7 * 5 * 3), 1, b"raw", *sides))
    (row,) = rows_of(get_dataset("tfrecord", "train", folder))
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(row["image"])


def test_a_format_that_is_not_told_or_not_true_does_not_matter(write_split):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    png = tf.io.encode_png(pixels).numpy()
    folder = write_split(record(png, 1, None), record(png, 2, b"jpeg", height=None, width=None))
    for row in rows_of(get_dataset("tfrecord", "train", folder)):
        np.testing.assert_array_equal(tf.io.decode_png(row["image"]), pixels)
