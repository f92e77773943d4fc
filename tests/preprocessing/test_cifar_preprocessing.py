import numpy as np
import pytest
import tensorflow as tf

from preprocessing import cifar_preprocessing as cifar
from preprocessing.preprocessing_factory import get_preprocessing


@pytest.fixture(scope="module")
def image(texture):
    return texture(32, 32) // 2 + 64  # nowhere black, so that the padding can be told apart


def test_evaluation_is_the_image_itself(image):
    np.testing.assert_array_equal(get_preprocessing("cifar").host(image, 32, 32)["image"], image)


def test_channels_are_standardised_with_the_statistics_of_cifar10():
    white = np.full((1, 2, 2, 3), 255, np.uint8)
    output = get_preprocessing("cifar").device({"image": white}).numpy()
    expected = (1 - np.array([0.49140, 0.48216, 0.44653])) / [0.24703, 0.24348, 0.26159]
    np.testing.assert_allclose(output, np.broadcast_to(expected, output.shape), rtol=1e-5)


def test_options_leave_the_pixels_as_they_are(image):
    output = get_preprocessing("cifar", mean_rgb=(0, 0, 0), deviation_rgb=(1, 1, 1))(image, 32, 32)
    np.testing.assert_array_equal(output, image)


def test_training_shifts_by_up_to_four_pixels_each_way_and_mirrors(image):
    pipeline = get_preprocessing("cifar", is_training=True)
    padded = np.pad(image, [(4, 4), (4, 4), (0, 0)])
    positions = {
        view.tobytes(): (top, left, mirrored)
        for top in range(9)
        for left in range(9)
        for mirrored in (False, True)
        for view in [padded[top : top + 32, left : left + 32][:, :: -1 if mirrored else 1]]
    }
    assert len(positions) == 9 * 9 * 2
    dataset = tf.data.Dataset.range(2000).map(
        lambda step: pipeline.host(image, 32, 32, seed=tf.stack([step, step]))["image"]
    )
    drawn = [positions[view.tobytes()] for view in dataset.as_numpy_iterator()]
    counts = np.zeros((9, 9, 2))
    np.add.at(counts, tuple(np.array(drawn).T.astype(int)), 1)
    assert counts.min() > 0
    # 161 degrees of freedom: one set of draws in 10,000 would exceed this by chance.
    assert ((counts - 2000 / 162) ** 2 / (2000 / 162)).sum() < 235


def test_without_augmentation_training_is_evaluation(image):
    training = get_preprocessing("cifar", True, augment=False)(image, 32, 32, seed=[1, 2])
    np.testing.assert_array_equal(training, get_preprocessing("cifar")(image, 32, 32))


def test_another_size_is_resized(texture):
    resized = get_preprocessing("cifar").host(texture(64, 64), 32, 32)["image"].numpy()
    expected = texture(64, 64).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resized, expected, atol=0.5)


def test_the_constants_are_on_the_scale_of_the_pixels():
    np.testing.assert_allclose(cifar.CIFAR10_MEAN_RGB, [125.307, 122.951, 113.865], atol=1e-3)
    np.testing.assert_allclose(cifar.CIFAR10_DEVIATION_RGB, [62.993, 62.087, 66.705], atol=1e-3)


def test_ten_crops_of_the_whole_image_are_refused(image):
    with pytest.raises(ValueError, match="must be 1"):
        get_preprocessing("cifar").host(image, 32, 32, num_crops=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": -1}, "padding is -1; it must be"),
        ({"padding": 1.5}, "padding is 1.5; it must be"),
        ({"mean_rgb": (1, 2)}, "mean_rgb is .* three numbers"),
        ({"deviation_rgb": (1, 0, 1)}, "deviation_rgb is .* positive"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        get_preprocessing("cifar", **options)
