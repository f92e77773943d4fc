"""TF-Slim's `lenet` pipeline; its pixels of photos are compared in test_tf_slim_pixels.py."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.preprocessing_factory import get_options, get_preprocessing


def test_a_digit_goes_through_as_it_is_in_training_and_evaluation():
    digit = np.arange(28 * 28).reshape(28, 28, 1).astype(np.uint8)
    for is_training in (True, False):
        pipeline = get_preprocessing("lenet", is_training)
        for image in (digit, tf.io.encode_png(digit)):
            given = pipeline(image, 28, 28)
            np.testing.assert_array_equal(given, (digit.astype(np.float32) - 128) / 128)


@pytest.mark.parametrize("side", [20, 23])
def test_a_smaller_image_lies_in_black_and_of_a_larger_one_is_the_centre(side):
    image = np.random.default_rng(0).integers(0, 256, (side, 41, 1), dtype=np.uint8)
    given = get_preprocessing("lenet").host(image, 28, 28)["image"].numpy()
    top = (28 - side) // 2
    np.testing.assert_array_equal(given[top : top + side], image[:, 6:34])
    assert given.sum() == image[:, 6:34].astype(int).sum()


def test_it_gives_colours_to_a_network_that_takes_them():
    assert get_options("lenet")["use_grayscale"] is True
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    given = get_preprocessing("lenet", use_grayscale=False).host(image, 28, 28)["image"]
    np.testing.assert_array_equal(given, image)


@pytest.mark.parametrize("name", ["lenet", "cifarnet"])
def test_ten_crops_of_the_whole_image_are_refused(name):
    with pytest.raises(ValueError, match=r"num_crops .* must be 1"):
        get_preprocessing(name).host(np.zeros([40, 40, 3], np.uint8), 28, 28, num_crops=10)
