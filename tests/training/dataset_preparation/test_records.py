import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation import records
from training.dataset_preparation.pixel_statistics import pixel_products


def image_of(position, label=0, encoded=b"encoded"):
    pixels = np.full((4, 4, 3), position, np.uint8)
    return records.PreparedImage(
        position, pixels, pixel_products(pixels).numpy(), encoded or pixels.tobytes(), label
    )


def left_out(position):
    return records.PreparedImage(position, None, np.zeros((3, 3), np.int64), b"", 0)


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "unlabelled-test.tfrecord-00000-of-00001"
    return records.Shard(path, tmp_path / "sums" / "test-00000.npz", 0, 3)


def test_a_shard_keeps_its_records_and_sums_and_gives_each_image_on(shard):
    images = [image_of(7, label=2), left_out(8), image_of(9)]
    assert list(shard.write(images, 4)) == images
    assert shard.is_complete()
    examples = [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(str(shard.path)).as_numpy_iterator()
    ]
    assert [one.features.feature["label"].int64_list.value[0] for one in examples] == [2, 0]
    sums, positions = shard.read_sums()
    assert (sums.num_images, positions) == (2, [8])
    np.testing.assert_array_equal(sums.positions, np.full((4, 4, 3), 7 + 9))
    np.testing.assert_array_equal(sums.products, np.full((3, 3), 16 * (49 + 81)))


def test_a_shard_may_be_left_empty(shard):
    list(shard.write([left_out(0)], 4))
    sums, positions = shard.read_sums()
    assert (sums.num_images, positions) == (0, [0])
    assert not list(tf.data.TFRecordDataset(str(shard.path)))


@pytest.mark.parametrize("written", [1, 2])
def test_a_shard_that_is_left_is_not_there(shard, written):
    """Also where all its images were given, because then its sums are not written."""
    writing = shard.write([image_of(0), image_of(1)], 4)
    for _ in range(written):
        next(writing)
    writing.close()
    assert not shard.is_complete()
    assert not shard.path.exists()
    list(shard.write([image_of(0), image_of(1)], 4))
    assert shard.is_complete()
    assert shard.read_sums()[0].num_images == 2


def test_the_same_image_is_the_same_record():
    assert records.serialized_example(b"a", 1) == records.serialized_example(b"a", 1)
    assert records.serialized_example(b"a", 1) != records.serialized_example(b"a", 2)


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_features_are_of_one_size_and_raw_pixels_are_bytes(encoding):
    features = records.make_features(4, encoding, ["a", "b"])
    assert features["image"].shape == (4, 4, 3)
    assert isinstance(features["image"], tfds.features.Image) == (encoding == "jpeg")
    assert features["label"].names == ["a", "b"]


def test_images_without_a_label_keep_the_label_minus_one(tmp_path):
    folder = tmp_path / "unlabelled" / "1.0.0"
    folder.mkdir(parents=True)
    path = folder / "unlabelled-test.tfrecord-00000-of-00001"
    shard = records.Shard(path, folder / "sums" / "test-00000.npz", 0, 1)
    list(shard.write([image_of(0, label=-1, encoded=None)], 4))
    features = records.make_features(4, "raw", ["a", "b"])
    records.write_metadata(folder, features, {"test": [1]}, {"test": [shard]})
    (row,) = get_dataset("unlabelled", "test", str(tmp_path)).examples()
    assert row["label"] == -1


def test_pixels_arrive_as_they_are_kept(finished):
    data_dir = str(finished.folder.parents[1])
    dataset = get_dataset("photos_test", "train[5:20]", data_dir)
    row = next(iter(dataset.examples()))
    assert (row["image"].dtype, row["image"].shape) == (tf.uint8, (36, 36, 3))
    by_turns = [int(row["index"]) for row in dataset.examples()]
    assert by_turns == list(range(15))
    # In several files only `stored_examples` has the order in which slices count.
    for position, row in enumerate(dataset.stored_examples(4), 4):
        assert row["index"] == position
        if position % 3 == 1:
            split = f"train[{5 + position}:{6 + position}]"
            one = next(iter(get_dataset("photos_test", split, data_dir).examples()))
            np.testing.assert_array_equal(row["image"], one["image"])
