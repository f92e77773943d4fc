"""TF-Slim's `cifarnet` pipeline; its pixels of photos are compared in test_tf_slim_pixels.py."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.preprocessing_factory import get_preprocessing


def test_training_shifts_by_four_pixels_and_mirrors(texture):
    image = np.maximum(texture(32, 32), 1)
    padded = np.pad(image, [(4, 4), (4, 4), (0, 0)])
    windows = {
        padded[top : top + 32, left : left + 32][:, ::step].tobytes()
        for top in range(9)
        for left in range(9)
        for step in (1, -1)
    }
    pipeline = get_preprocessing("cifarnet", is_training=True)
    crops = {
        pipeline.host(image, 32, 32, seed=[1, number])["image"].numpy().tobytes()
        for number in range(100)
    }
    assert crops <= windows
    assert len(crops) > 60


def test_it_does_what_tensorflows_own_operations_do_with_the_contrast_that_was_drawn(texture):
    pipeline = get_preprocessing("cifarnet", is_training=True)
    examples = [pipeline.host(texture(32, 32, i), 32, 32, seed=[2, i]) for i in range(40)]
    contrasts = np.array([example["contrast"] for example in examples])
    assert 0.2 <= contrasts.min() < 0.4
    assert 1.6 < contrasts.max() <= 1.8
    batch = {key: tf.stack([example[key] for example in examples]) for key in examples[0]}
    for given, example in zip(pipeline.device(batch), examples, strict=True):
        image = tf.cast(example["image"], tf.float32)
        # TF-Slim's order; whatever the brightness is, standardisation takes it away.
        image = tf.image.adjust_contrast(image + 63, example["contrast"])
        np.testing.assert_allclose(given, tf.image.per_image_standardization(image), atol=1e-4)


def test_an_image_of_one_colour_gives_zeros_not_nans():
    image = np.full((32, 32, 3), 200, np.uint8)
    np.testing.assert_array_equal(get_preprocessing("cifarnet")(image, 32, 32), 0)


def test_grey_images_have_one_channel_in_training_and_evaluation(texture):
    for is_training in (True, False):
        pipeline = get_preprocessing("cifarnet", is_training, use_grayscale=True)
        given = pipeline(texture(40, 36), 32, 32, seed=[1, 2]).numpy()
        assert given.shape == (32, 32, 1)
        assert (given.mean(), given.std()) == pytest.approx((0, 1), abs=1e-4)


@pytest.mark.parametrize("padding", [-1, 1.5, "4", 10**6])
def test_padding_is_a_number_of_pixels(padding):
    with pytest.raises(ValueError, match=r"padding is .*; it must be a number of pixels, or 0"):
        get_preprocessing("cifarnet", padding=padding)
