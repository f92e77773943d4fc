"""The pipelines of Caffe, torchvision, cuda-convnet and the released code of 2012."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing.alexnet_preprocessing import (
    ILSVRC_2012_COLOR_COMPONENTS,
    ILSVRC_2012_COLOR_DEVIATIONS,
    ILSVRC_2012_MEAN_RGB,
)
from preprocessing.preprocessing_factory import get_preprocessing


@pytest.fixture
def mean_image(tmp_path):
    """`mean_image(side)`: the path of a mean image, and the image."""

    def make(side):
        image = np.random.default_rng(side).uniform(90, 130, (side, side, 3)).astype(np.float32)
        path = tmp_path / f"mean{side}.npy"
        np.save(path, image)
        return str(path), image

    return make


def batch(pixels, **more):
    return {"image": tf.constant(pixels[np.newaxis]), **more}


def test_2012_divides_what_is_left_of_pixels_and_noise_by_1_1_while_noise_is_on():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    z = np.array([0.5, -1.0, 2.0], np.float32)
    noise = np.array(ILSVRC_2012_COLOR_COMPONENTS) @ (0.1 * z * ILSVRC_2012_COLOR_DEVIATIONS)
    rest = pixels - np.array(ILSVRC_2012_MEAN_RGB)
    example = batch(pixels, color_noise=tf.constant(z[np.newaxis]))
    trained = get_preprocessing("alexnet_2012", True).device(example)[0]
    np.testing.assert_allclose(trained, (rest + noise) / 1.1, atol=1e-4)
    silent = get_preprocessing("alexnet_2012", True, color_noise_scale=0.0).device(example)[0]
    np.testing.assert_allclose(silent, rest, atol=1e-4)
    evaluated = get_preprocessing("alexnet_2012").device(batch(pixels))[0]
    np.testing.assert_allclose(evaluated, rest, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "side", "output", "channels"),
    [("alexnet_2012", 256, 224, slice(None)), ("caffe", 256, 227, slice(None, None, -1))],
)
@pytest.mark.parametrize("is_training", [False, True])
def test_the_centre_of_the_mean_image_is_subtracted(
    name, side, output, channels, is_training, mean_image, texture
):
    path, mean = mean_image(side)
    options = {"color_noise_scale": 0.0} if name == "alexnet_2012" else {}
    pipeline = get_preprocessing(name, is_training, mean_image=path, **options)
    host = pipeline.host(texture(300, 280), output, output, seed=[1, 2])
    given = pipeline.device({key: value[tf.newaxis] for key, value in host.items()})[0]
    edge = (side - output) // 2
    centre = mean[edge : edge + output, edge : edge + output]
    expected = (host["image"].numpy() - centre)[..., channels]
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_ten_crops_each_lose_the_centre_of_the_mean_image(mean_image, texture):
    path, mean = mean_image(32)
    pipeline = get_preprocessing("cuda_convnet", mean_image=path)
    crops = pipeline.host(texture(32, 32), 24, 24, num_crops=10)["image"]
    given = pipeline.device({"image": crops[tf.newaxis]})[0]
    np.testing.assert_allclose(given, crops.numpy() - mean[4:28, 4:28], atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((128, 128, 3)), r"\[128, 128, 3\].*256x256.*--image_size=256"),
        (np.zeros((256, 256)), r"\[256, 256\]"),
        (np.full((256, 256, 3), np.nan), "NaNs"),
        (np.array([{"a": 1}], dtype=object), "cannot be read as a NumPy file"),
    ],
)
def test_another_mean_image_is_refused(content, message, tmp_path, texture):
    path = tmp_path / "mean.npy"
    np.save(path, content, allow_pickle=True)
    pipeline = get_preprocessing("alexnet_2012", mean_image=str(path))
    with pytest.raises(ValueError, match=message):
        pipeline(texture(256, 256), 224, 224)
    with pytest.raises(ValueError, match=r"nowhere\.npy cannot be read"):
        get_preprocessing("caffe", mean_image="nowhere.npy")(texture(256, 256), 227, 227)


def test_caffe_squeezes_to_a_square_and_gives_bgr():
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, :200, 0] = 200  # red on the left half
    pixels[:, 200:, 2] = 100  # blue on the right
    given = get_preprocessing("caffe", mean_rgb=(1.0, 2.0, 3.0))(pixels, 227, 227).numpy()
    np.testing.assert_allclose(given[113, 10], [-3, -2, 199])
    np.testing.assert_allclose(given[113, 216], [97, -2, -1])
    rgb = get_preprocessing("caffe", mean_rgb=(1.0, 2.0, 3.0), channel_order="rgb")
    np.testing.assert_array_equal(rgb(pixels, 227, 227), given[..., ::-1])
    # The whole width is there: the border between the halves is in the middle.
    assert abs(int((given[113, :, 2] > 100).sum()) - 113) <= 1


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (256, 256), (180, 240)])
def test_torchvision_resizes_and_crops_as_pil_does(shape, texture):
    pixels = texture(*shape)
    pixels = np.asarray(pixels)
    _height, _width = shape
    short = min(shape)
    tall, wide = (256 * n // short for n in shape)
    resized = Image.fromarray(pixels).resize((wide, tall), Image.Resampling.BILINEAR)
    top, left = (round((n - 224) / 2) for n in (tall, wide))
    expected = np.asarray(resized)[top : top + 224, left : left + 224].astype(np.float64)
    given = get_preprocessing("torchvision")(pixels, 224, 224).numpy()
    given = (given * (0.229, 0.224, 0.225) + (0.485, 0.456, 0.406)) * 255
    assert np.abs(given - expected).max() < 1.5  # PIL rounds twice, and in integers
    assert np.abs(given - expected).mean() < 0.25


def test_torchvisions_training_crops_have_the_areas_and_ratios_it_draws_from():
    # Columns count up in red, rows in green: the corners of a crop say where it was cut.
    rows, columns = np.mgrid[0:200, 0:240]
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    pipeline = get_preprocessing("torchvision", is_training=True)
    areas, ratios, mirrored = [], [], 0
    for number in range(200):
        crop = pipeline.host(pixels, 64, 64, seed=[0, number])["image"].numpy().astype(float)
        span_x = (crop[32, -1, 0] - crop[32, 0, 0]) * 64 / 63
        span_y = (crop[-1, 32, 1] - crop[0, 32, 1]) * 64 / 63
        mirrored += span_x < 0
        areas.append(abs(span_x) * span_y / (200 * 240))
        ratios.append(abs(span_x) / span_y)
    assert 0.07 < min(areas) < 0.2
    assert 0.8 < max(areas) <= 1.05
    assert 0.7 < min(ratios) < 0.85
    assert 1.2 < max(ratios) < 1.4
    assert 70 < mirrored < 130


def test_cuda_convnets_leaves_its_own_size_alone_and_crops_and_mirrors_smaller_ones(texture):
    image = np.asarray(texture(32, 32))
    whole = get_preprocessing("cuda_convnet", is_training=True)
    np.testing.assert_array_equal(whole.host(image, 32, 32, seed=[1, 1])["image"], image)
    windows = {
        image[top : top + 24, left : left + 24][:, ::step].tobytes()
        for top in range(9)
        for left in range(9)
        for step in (1, -1)
    }
    crops = {
        whole.host(image, 24, 24, seed=[1, number])["image"].numpy().tobytes()
        for number in range(100)
    }
    assert crops <= windows
    assert len(crops) > 60
    centre = get_preprocessing("cuda_convnet").host(image, 24, 24)["image"]
    np.testing.assert_array_equal(centre, image[4:28, 4:28])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("caffe", {"resize_side": 200}, "resize_side is 200, too small to crop 224 pixels"),
        ("caffe", {"resize_side": -1}, "resize_side is -1"),
        ("caffe", {"channel_order": "gbr"}, "Unknown channel_order 'gbr'. Did you mean 'rgb'"),
        ("torchvision", {"resize_side": 200}, "too small"),
        ("torchvision", {"deviation_rgb": (1, 0, 1)}, "each must be positive"),
        ("cuda_convnet", {"image_side": 0}, "image_side is 0"),
        ("cuda_convnet", {"mean_rgb": (1, 2)}, "three numbers"),
    ],
)
def test_bad_options_are_refused(name, options, message, texture):
    with pytest.raises(ValueError, match=message):
        get_preprocessing(name, **options)(texture(300, 300), 224, 224)


def test_a_jpeg_goes_through_each(texture):
    encoded = io.BytesIO()
    Image.fromarray(np.asarray(texture(120, 90))).save(encoded, "JPEG")
    for name, size in (("caffe", 227), ("torchvision", 224), ("cuda_convnet", 24)):
        for is_training in (False, True):
            pipeline = get_preprocessing(name, is_training)
            assert pipeline(encoded.getvalue(), size, size, seed=[1, 2]).shape == (size, size, 3)
