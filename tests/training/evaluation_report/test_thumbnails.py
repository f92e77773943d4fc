import base64
import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from told_answers import write_photos

from image_datasets.image_dataset import ImageDataset
from training.evaluation_report.thumbnails import thumbnails


def decoded(thumbnail):
    kind, _, text = thumbnail.url.partition(";base64,")
    pixels = tf.io.decode_image(base64.b64decode(text)).numpy()
    assert pixels.shape == (thumbnail.height, thumbnail.width, 3)
    return kind, pixels


def in_records(images):
    """A dataset whose images are no files of their own."""
    return ImageDataset(
        name="records",
        split="all",
        num_examples=len(images),
        class_names=("a",),
        make_examples=lambda: tf.data.Dataset.from_tensor_slices(
            {"image": images, "label": [0] * len(images), "index": np.arange(len(images))}
        ),
        describe=lambda index: f"example {index} of records, split all",
    )


def test_a_large_photo_is_made_small_and_keeps_its_shape(tmp_path):
    dataset = write_photos(tmp_path, ["a"], 1, side=900)
    kind, pixels = decoded(thumbnails(dataset, [0])[0])
    assert kind == "data:image/jpeg"
    assert pixels.shape == (158, 160, 3)
    assert pixels[80, 80].max() < 20  # black, as it was


def test_a_small_image_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = thumbnails(in_records(pixels), [2, 0])
    assert sorted(found) == [0, 2]
    for index, thumbnail in found.items():
        kind, shown = decoded(thumbnail)
        assert kind == "data:image/png"
        assert thumbnail.is_pixels
        np.testing.assert_array_equal(shown, pixels[index])


def test_of_records_no_more_are_read_than_to_the_last_that_is_shown():
    read = []

    def images():
        for number in range(100):
            read.append(number)
            yield np.full((8, 8, 3), number, np.uint8)

    def examples():
        pixels = tf.data.Dataset.from_generator(
            images, output_signature=tf.TensorSpec([8, 8, 3], tf.uint8)
        )
        return pixels.enumerate().map(lambda index, image: {"image": image, "index": index})

    dataset = dataclasses.replace(
        in_records(np.zeros((100, 8, 8, 3), np.uint8)), make_examples=examples
    )
    assert sorted(thumbnails(dataset, [3, 1])) == [1, 3]
    assert len(read) < 10


def test_what_cannot_be_shown_any_more_is_left_out(tmp_path):
    dataset = write_photos(tmp_path, ["a"], 4)
    os.remove(dataset.describe(1))
    with open(dataset.describe(2), "wb") as file:
        file.write(b"no image")
    assert sorted(thumbnails(dataset, [0, 1, 2, 3])) == [0, 3]


def test_images_beyond_the_limit_are_left_out(tmp_path):
    dataset = write_photos(tmp_path, ["a"], 2)
    assert not thumbnails(dataset, [0], max_image_pixels=20 * 30 - 1)
    assert thumbnails(dataset, [0], max_image_pixels=20 * 30)
    assert thumbnails(dataset, [0], max_image_pixels=0)


@pytest.mark.parametrize("side", [1, 3000])
def test_narrow_images_stay_visible(side):
    thumbnail = thumbnails(in_records(np.zeros((1, side, 1, 3), np.uint8)), [0])[0]
    assert thumbnail.width == 1
    assert thumbnail.height == min(side, 160)
