import numpy as np
import pytest
import tensorflow as tf

from preprocessing import windows


def test_reducing_averages_areas_and_rounds():
    image = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    blocks = image.reshape(6, 2, 10, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_array_equal(windows.resize(image, 6, 10), np.floor(blocks + 0.5))


def test_enlarging_is_cubic_and_clips_its_overshoot():
    step = np.zeros((8, 8, 3), np.uint8)
    step[:, 4:] = 255
    enlarged = windows.resize(step, 16, 16).numpy()
    cubic = tf.image.resize(step, [16, 16], "bicubic").numpy()
    assert cubic.min() < -1
    assert cubic.max() > 256
    np.testing.assert_array_equal(enlarged, np.clip(np.round(cubic), 0, 255))


def test_resizing_to_the_same_size_changes_nothing(texture):
    image = texture(30, 40)
    np.testing.assert_array_equal(windows.resize(image, 30, 40), image)


def test_ten_crops_are_the_corners_the_centre_and_their_mirrors(coordinates):
    crops = windows.ten_crops(tf.constant(coordinates()), 224, 224).numpy()
    first_pixels = [(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in crops[:5]]
    assert first_pixels == [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[4], coordinates()[16:240, 16:240])


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_named_seeds_differ_and_repeat(dtype):
    seed = tf.constant([5, 7], dtype)
    seeds = windows.independent_seeds(seed, "a", "b", "c")
    assert len({tuple(one.numpy()) for one in seeds.values()}) == 3
    again = windows.independent_seeds(seed, "a", "b", "c")
    for name in seeds:
        np.testing.assert_array_equal(seeds[name], again[name])
