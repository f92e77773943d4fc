import numpy as np
import pytest
import tensorflow as tf

from preprocessing import windows
from preprocessing.decoding import Jpeg, Pixels


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


def test_the_whole_image_is_resized_before_its_centre_is_cut():
    image = np.random.default_rng(0).integers(0, 256, (60, 101, 3), dtype=np.uint8)
    for photo, axis in ((image, 1), (image.transpose(1, 0, 2), 0)):
        square = windows.short_side_center_square(photo, 20).numpy()
        # 101 * 20 / 60 = 33.67 pixels, rounded to 34, of which 7 are cut off before the centre.
        shape = (20, 34) if axis else (34, 20)
        resized = windows.resize(photo, *shape).numpy()
        np.testing.assert_array_equal(square, resized.take(range(7, 27), axis=axis))


def test_the_long_side_is_rounded_up_at_half_a_pixel():
    image = np.arange(12 * 15 * 3, dtype=np.uint8).reshape(12, 15, 3)
    square = windows.short_side_center_square(image, 2)  # 15 * 2 / 12 = 2.5
    np.testing.assert_array_equal(square, windows.resize(image, 2, 3)[:, :2])


def test_a_square_is_resized_and_one_of_the_right_size_is_kept(texture):
    image = texture(30, 30)
    np.testing.assert_array_equal(windows.short_side_center_square(image, 30), image)
    np.testing.assert_array_equal(
        windows.short_side_center_square(image, 64), windows.resize(image, 64, 64)
    )


def test_a_strip_does_not_fill_the_memory():
    strip = np.zeros((2, 60_000, 3), np.uint8)
    strip[:, 29_990:30_010] = 200  # would be 7.7 million pixels wide
    square = windows.short_side_center_square(strip, 256).numpy()
    assert square.shape == (256, 256, 3)
    np.testing.assert_array_equal(square, 200)


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


def test_the_nearest_pixel_is_that_of_tensorflow_1(texture):
    for photo in ((90, 120), (299, 1), (377, 500)):
        image = texture(*photo)
        expected = tf.compat.v1.image.resize_nearest_neighbor(image[np.newaxis], (299, 224))[0]
        found = windows.resize_nearest_from_corners(tf.constant(image), 299, 224)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("photo", [(90, 120), (161, 67)])
@pytest.mark.parametrize("side", [64, 67, 90, 180, 300])
def test_a_window_of_a_resized_photo_is_cut_from_it(photo, side, texture):
    source = Jpeg(tf.io.encode_jpeg(texture(*photo), chroma_downsampling=True))
    height, width = size = np.round(np.array(photo) * side / min(photo)).astype(np.int32)
    whole = source.window(0, 0, *photo)
    resized = windows.resize_bilinear_from_corners(whole, height, width).numpy()
    for top, left in ((0, 0), (height - 50, width - 60), (0, 3), ((height - 50) // 2, 1)):
        window = windows.window_of_resized(source, size, top, left, 50, 60)
        expected = resized[top : top + 50, left : left + 60]
        np.testing.assert_allclose(window, expected, atol=0.02)


def test_the_window_of_a_resized_photo_can_be_all_of_it():
    pixels = np.array([[[10, 20, 30]]], np.uint8)
    window = windows.window_of_resized(Pixels(tf.constant(pixels)), tf.constant([4, 4]), 0, 0, 4, 4)
    np.testing.assert_array_equal(window, np.broadcast_to(pixels, (4, 4, 3)))
