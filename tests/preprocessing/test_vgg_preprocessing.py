import numpy as np
import pytest

from preprocessing.vgg_preprocessing import VGG_MEAN_RGB, VggPreprocessing

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def test_the_mean_is_subtracted_and_nothing_is_scaled():
    white = np.full((300, 400, 3), 255, np.uint8)
    image = VggPreprocessing(is_training=False)(white, 224, 224).numpy()
    np.testing.assert_allclose(image, np.broadcast_to(255 - np.array(VGG_MEAN_RGB), image.shape))


def test_training_draws_the_size_of_the_photo_between_two():
    """The width of stripes tells the size."""
    stripes = np.zeros((100, 100, 3), np.uint8)
    stripes[:, 50:] = 255
    pipeline = VggPreprocessing(is_training=True, resize_side_min=40, resize_side_max=80)
    seen = set()
    for seed in range(40):
        row = pipeline.host(stripes, 40, 40, seed=(0, seed))["image"].numpy()[20, :, 0]
        bright = int((row > 127).sum())
        seen.add(bright)
    assert len(seen) > 8  # a crop of 40 from 40 to 80 has 0 to 40 bright columns
    assert 20 in seen or 0 in seen


def test_images_larger_than_the_least_side_are_cut_from_larger_photos():
    pipeline = VggPreprocessing(is_training=False, resize_side_min=32)
    assert pipeline(NOISE, 64, 64).shape == (64, 64, 3)


def test_a_seed_repeats_all_choices_and_bytes_are_handed_over():
    pipeline = VggPreprocessing(is_training=True, resize_side_min=40, resize_side_max=80)
    one, again, other = (
        pipeline.host(NOISE, 32, 32, seed=(0, seed))["image"].numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    assert one.dtype == np.uint8


@pytest.mark.parametrize(
    "options",
    [{"resize_side_min": 0}, {"resize_side_min": 300, "resize_side_max": 256}, {"mean_rgb": (1,)}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(reversed(options))):
        VggPreprocessing(is_training=True, **options)
