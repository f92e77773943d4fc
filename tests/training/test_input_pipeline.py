import collections
import dataclasses
import itertools
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import NUM_TRAIN

from image_datasets.dataset_factory import get_dataset
from preprocessing.preprocessing_factory import get_preprocessing
from training import input_errors, input_pipeline

CHEAP = ("cuda_convnet", {"image_side": 36})  # random crops and flips, traced in half the time


@pytest.fixture
def dataset(photos):
    return get_dataset("folder", "train", photos)


def batches(dataset, count, batch_size=8, pipeline=CHEAP, **options):
    name, pipeline_options = pipeline
    stream = input_pipeline.training_batches(
        dataset,
        get_preprocessing(name, is_training=True, **pipeline_options),
        batch_size=batch_size,
        image_size=32,
        **options,
    )
    return list(itertools.islice(stream.as_numpy_iterator(), count))


def indexes(batches):
    return np.concatenate([batch["index"] for batch in batches])


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own(dataset):
    order = indexes(batches(dataset, 15, batch_size=6))  # three epochs of 30
    epochs = order.reshape(3, NUM_TRAIN)
    for epoch in epochs:
        assert sorted(epoch) == list(range(NUM_TRAIN))
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert (epochs[0] != np.arange(NUM_TRAIN)).any()


def test_a_batch_runs_on_into_the_next_epoch(dataset):
    counts = collections.Counter(indexes(batches(dataset, 15, batch_size=8)))  # four epochs
    assert set(counts.values()) == {4}


@pytest.mark.parametrize(
    ("start", "pipeline"),
    # Inside an epoch, across one, in the third. That of alexnet draws colors too.
    [(1, CHEAP), (4, ("alexnet", {})), (9, CHEAP)],
)
def test_taken_up_at_a_step_it_goes_on_bit_for_bit(dataset, start, pipeline):
    whole = batches(dataset, start + 3, seed=5, pipeline=pipeline)[start:]
    resumed = batches(dataset, 3, seed=5, start=divmod(start * 8, NUM_TRAIN), pipeline=pipeline)
    for one, other in zip(whole, resumed, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_cached_images_are_the_same_and_read_once(dataset, photos, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(photos, root)
    cached = get_dataset("folder", "train", str(root)).cached()
    expected = batches(dataset, 12, batch_size=10)
    first_epoch = batches(cached, 3, batch_size=10)
    shutil.rmtree(root)
    for one, other in zip(expected, first_epoch + batches(cached, 12, 10)[3:], strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_another_seed_or_epoch_augments_differently(dataset):
    def first_image(batches):
        rows = {i: image for b in batches for i, image in zip(b["index"], b["image"], strict=True)}
        return rows[0]

    epoch_0 = first_image(batches(dataset, 5, batch_size=6))
    assert (epoch_0 != first_image(batches(dataset, 5, batch_size=6, start=(1, 0)))).any()
    assert (epoch_0 != first_image(batches(dataset, 5, batch_size=6, seed=1))).any()


def test_labels_belong_to_their_images(dataset):
    for batch in batches(dataset, 3):
        brightest = batch["image"].mean(axis=(1, 2)).argmax(axis=-1)
        np.testing.assert_array_equal(batch["label"], 2 - brightest)


def test_labels_offset_leaves_the_first_classes_out(dataset):
    plain, shifted = batches(dataset, 3), batches(dataset, 3, labels_offset=1)
    for one, other in zip(plain, shifted, strict=True):
        np.testing.assert_array_equal(other["weight"], one["label"] > 0)
        np.testing.assert_array_equal(other["label"], np.maximum(one["label"] - 1, 0))


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64])
def test_evaluation_counts_every_example_once(dataset, batch_size):
    seen = collections.Counter()
    for batch in input_pipeline.evaluation_batches(
        dataset, get_preprocessing("cuda_convnet"), batch_size=batch_size, image_size=32
    ).as_numpy_iterator():
        assert batch["image"].shape == (batch_size, 32, 32, 3)
        seen.update(batch["index"][batch["weight"] == 1])
    assert seen == dict.fromkeys(range(NUM_TRAIN), 1)


@pytest.fixture
def damaged(photos, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    torn = pathlib.Path(root, "train", "green", "3.jpg")
    torn.write_bytes(torn.read_bytes()[:100])
    return get_dataset("folder", "train", str(root)), str(torn)


def test_a_corrupt_image_stops_or_is_left_out_and_can_be_named(damaged):
    dataset, path = damaged
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(dataset, 4)
    # That of alexnet decodes no more of an image than it crops.
    kept = batches(dataset, 5, 6, pipeline=("alexnet", {}), skip_corrupt_images=True)
    left_out = [
        dataset.describe(int(index))
        for batch in kept
        for index in batch["index"][batch["weight"] == 0]
    ]
    assert left_out == [path]
    assert sum(batch["weight"].sum() for batch in kept) == NUM_TRAIN - 1
    assert path in input_errors.find_unusable_image(dataset)


def test_leaving_out_changes_no_other_image(damaged, dataset):
    whole = batches(dataset, 4, skip_corrupt_images=True)
    for one, other in zip(whole, batches(dataset, 4), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    assert input_errors.find_unusable_image(dataset) is None


def test_an_image_is_corrupt_wherever_the_crop_that_failed_was(photos, tmp_path):
    root = tmp_path / "torn"
    shutil.copytree(photos, root)
    torn = pathlib.Path(root, "train", "green", "3.jpg")
    pixels = np.random.default_rng(0).integers(0, 256, size=(300, 400, 3), dtype=np.uint8)
    whole = tf.io.encode_jpeg(pixels).numpy()
    torn.write_bytes(whole[: len(whole) * 9 // 10])
    dataset = get_dataset("folder", "train", str(root))
    crop = get_preprocessing("alexnet", is_training=True).host
    fails = []
    for seed in range(20):
        try:
            crop(torn.read_bytes(), 32, 32, seed=(seed, 0))
            fails.append(False)
        except tf.errors.InvalidArgumentError:
            fails.append(True)
    assert 0 < sum(fails) < len(fails)
    assert str(torn) in input_errors.find_unusable_image(dataset)


def test_an_image_without_a_label_is_not_corrupt(dataset):
    without = dataclasses.replace(
        dataset,
        make_examples=lambda: dataset.examples().map(lambda e: {**e, "label": e["label"] - 9}),
    )
    assert input_errors.find_unusable_image(without) is None
