import numpy as np
import pytest
import tensorflow as tf

from preprocessing import windows
from preprocessing.decoding import Jpeg
from preprocessing.inception_preprocessing import InceptionPreprocessing

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def prepared(image=NOISE, size=32, seed=None, **options):
    options = {"is_training": True, **options}
    return InceptionPreprocessing(**options)(image, size, size, seed=seed).numpy()


def test_evaluation_takes_the_central_part():
    image = np.zeros((80, 160, 3), np.uint8)
    image[5:75, 10:150] = 255  # seven eighths
    assert prepared(image, is_training=False).min() == 1
    assert prepared(image, is_training=False, central_fraction=1.0).min() == -1


def test_a_seed_repeats_all_choices_and_another_changes_them():
    np.testing.assert_array_equal(prepared(seed=(1, 2)), prepared(seed=(1, 2)))
    assert np.any(prepared(seed=(1, 2)) != prepared(seed=(1, 3)))


@pytest.mark.parametrize("fast_mode", [True, False])
def test_colours_are_changed_within_the_range_of_images(fast_mode):
    colored = np.full((60, 60, 3), (200, 100, 50), np.uint8)
    seen = np.stack(
        [prepared(colored, 8, (0, seed), fast_mode=fast_mode)[4, 4] for seed in range(40)]
    )
    assert seen.min() >= -1
    assert seen.max() <= 1
    plain = prepared(colored, 8, (0, 0), distort_color=False)
    np.testing.assert_allclose(plain[4, 4], np.array([200, 100, 50]) / 127.5 - 1, atol=1e-6)
    assert len(np.unique(seen.round(2), axis=0)) > 30
    # Hue alone can make another channel than red the brightest.
    assert (seen.argmax(axis=1) != 0).any() == (not fast_mode)


# TF-Slim's, by what our first round holds.
COLOR_ORDERS = {
    ("brightness", "saturation", "hue"): ("brightness", "saturation", "hue", "contrast"),
    ("saturation",): ("saturation", "brightness", "contrast", "hue"),
    ("hue", "contrast"): ("contrast", "hue", "brightness", "saturation"),
    ("saturation", "hue"): ("hue", "saturation", "contrast", "brightness"),
}


@pytest.mark.parametrize("fast_mode", [True, False])
def test_colours_are_changed_in_tf_slims_orders(fast_mode):
    pipeline = InceptionPreprocessing(is_training=True, fast_mode=fast_mode)
    names = ("brightness", "saturation", "hue", "contrast")[: 2 if fast_mode else 4]
    seen = set()
    for seed in range(16):
        example = pipeline.host(NOISE, 24, 32, seed=(5, seed))
        numbers = {name: example[name].numpy() for name in names}
        no_change = {name: float(name in ("saturation", "contrast")) for name in names}
        first = tuple(name for name in names if numbers[name][0] != no_change[name])
        order = next(
            order
            for ours, order in COLOR_ORDERS.items()
            if first == tuple(name for name in ours if name in names)
        )
        expected = tf.cast(example["image"], tf.float32) / 255
        for name in order:
            if name in names:
                number = numbers[name][numbers[name] != no_change[name]].item()
                expected = getattr(tf.image, f"adjust_{name}")(expected, number)
        expected = tf.clip_by_value(expected, 0, 1) * 2 - 1
        found = pipeline.device({key: value[tf.newaxis] for key, value in example.items()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        seen.add(order)
    assert len(seen) == (2 if fast_mode else 4)


def test_training_needs_the_numbers_that_the_host_drew():
    image = tf.zeros([1, 8, 8, 3], tf.uint8)
    with pytest.raises(ValueError, match="no brightness, saturation, hue, contrast"):
        InceptionPreprocessing(is_training=True).device({"image": image})


def test_every_part_of_the_photo_is_taken_and_mirrored_half_of_the_time():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, np.newaxis], (100, 256, 3))
    columns = [prepared(ramp, 16, (3, seed), distort_color=False)[8, :, 0] for seed in range(60)]
    falls = np.mean([column[0] > column[-1] for column in columns])
    assert 0.3 < falls < 0.7
    assert min(column.min() for column in columns) < -0.9
    assert max(column.max() for column in columns) > 0.9
    widths = np.abs([column[-1] - column[0] for column in columns])
    assert widths.max() > 2 * widths.min()


def test_ten_crops_are_of_the_central_part():
    batch = InceptionPreprocessing(is_training=False).host(NOISE, 28, 28, num_crops=10)
    assert batch["image"].shape == (10, 28, 28, 3)
    np.testing.assert_array_equal(batch["image"][5:], windows.mirror(batch["image"][:5]))


def test_a_window_has_the_pixels_of_the_whole_photo_in_every_column():
    contents = tf.io.encode_jpeg(NOISE, chroma_downsampling=True)
    source = Jpeg(contents)
    whole = source.window(0, 0, 90, 120).numpy()
    for left, width in ((0, 40), (31, 50), (80, 40), (0, 120)):
        window = windows.exact_window(source, tf.constant(7), tf.constant(left), 60, width)
        np.testing.assert_array_equal(window, whole[7:67, left : left + width])


@pytest.mark.parametrize("options", [{"central_fraction": 0}, {"area_min": 1.5}])
def test_shares_are_shares(options):
    with pytest.raises(ValueError, match="it must be a share, above 0 and at most 1"):
        InceptionPreprocessing(is_training=True, **options)
