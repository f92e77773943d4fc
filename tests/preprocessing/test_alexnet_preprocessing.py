import numpy as np
import pytest
import tensorflow as tf

from preprocessing import alexnet_preprocessing as alexnet
from preprocessing import decoding, windows
from preprocessing.preprocessing_factory import get_preprocessing

NUM_DRAWS = 2000


def resize_all_then_crop(image: np.ndarray, side: int = 256) -> np.ndarray:
    """The paper's order: the whole photo to a short side of 256, then its centre."""
    height, width = image.shape[:2]
    short = min(height, width)
    height, width = round(height * side / short), round(width * side / short)
    resized = np.asarray(windows.resize(image, height, width))
    top, left = (height - side) // 2, (width - side) // 2
    return resized[top : top + side, left : left + side]


@pytest.fixture(scope="module", params=[1, 2], ids=["prepared", "resized"])
def draws(request, coordinates):
    """What many seeds make of a 256x256 photo, and of one that has to be resized."""
    pipeline = get_preprocessing("alexnet", is_training=True)
    image = tf.constant(coordinates(request.param))

    def draw(step):
        example = pipeline.host(image, 224, 224, seed=tf.stack([tf.constant(11, tf.int64), step]))
        corners = tf.stack([example["image"][0, 0], example["image"][0, -1]])
        return tf.cast(corners, tf.int32), example["color_noise"]

    dataset = tf.data.Dataset.range(NUM_DRAWS).map(draw, num_parallel_calls=2).batch(NUM_DRAWS)
    corners, noise = next(iter(dataset))
    left, right = corners[:, 0, 1].numpy(), corners[:, 1, 1].numpy()
    return {
        "top": corners[:, 0, 0].numpy(),
        "left": np.minimum(left, right),
        "flipped": left > right,
        "width": np.abs(left - right) + 1,
        "noise": noise.numpy(),
    }


def test_crops_are_uniform_over_33_offsets_each_way(draws):
    for offsets in (draws["top"], draws["left"]):
        counts = np.bincount(offsets, minlength=33)
        assert counts.size == 33
        assert counts.min() > 0
        expected = offsets.size / 33
        # 32 degrees of freedom: one set of draws in 10,000 would exceed this by chance.
        assert ((counts - expected) ** 2 / expected).sum() < 71
    assert (draws["width"] == 224).all()


def test_half_of_the_crops_are_mirrored(draws):
    deviation = 0.5 / np.sqrt(draws["flipped"].size)
    assert abs(draws["flipped"].mean() - 0.5) < 4 * deviation


def test_the_choices_do_not_depend_on_each_other(draws):
    choices = np.stack([draws["top"], draws["left"], draws["flipped"], *draws["noise"].T])
    correlation = np.corrcoef(choices) - np.eye(len(choices))
    assert np.abs(correlation).max() < 4 / np.sqrt(choices.shape[1])


def test_color_noise_has_the_covariance_of_the_paper(draws):
    batch = {"image": np.zeros((NUM_DRAWS, 1, 1, 3), np.uint8), "color_noise": draws["noise"]}
    pipeline = get_preprocessing("alexnet", True, mean_rgb=(0, 0, 0))
    shifts = pipeline.device(batch).numpy()[:, 0, 0]
    components = np.array(
        [
            [-0.56351045, -0.71257945, 0.41795513],
            [-0.57618440, -0.02354167, -0.81698062],
            [-0.59200296, 0.70119634, 0.39731118],
        ]
    )
    deviations = 0.1 * np.array([121.78006, 37.09389, 19.72083])
    expected = components @ np.diag(deviations**2) @ components.T
    # Along the components, so that the small ones are tested as sharply as the large one.
    along = components.T @ np.cov(shifts.T) @ components / np.outer(deviations, deviations)
    np.testing.assert_allclose(along, np.eye(3), atol=0.1)
    np.testing.assert_allclose(np.cov(shifts.T), expected, atol=0.05 * expected.max())
    assert np.abs(shifts.mean(axis=0)).max() < 4 * np.sqrt(expected.max() / NUM_DRAWS)


def test_device_half_against_numpy():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    z = rng.normal(size=(3, 3)).astype(np.float32)
    output = get_preprocessing("alexnet", True).device({"image": image, "color_noise": z})
    for n in range(3):
        a, b, c = z[n] * 0.1 * np.array([121.78006, 37.09389, 19.72083])
        red = -0.56351045 * a - 0.71257945 * b + 0.41795513 * c - 127.305
        green = -0.57618440 * a - 0.02354167 * b - 0.81698062 * c - 119.715
        blue = -0.59200296 * a + 0.70119634 * b + 0.39731118 * c - 104.913
        np.testing.assert_allclose(output[n], image[n] + np.array([red, green, blue]), atol=1e-4)


def test_the_components_are_orthonormal():
    components = np.array(alexnet.ILSVRC_2012_COLOR_COMPONENTS)
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=1e-6)


def test_evaluation_subtracts_the_mean_and_adds_no_noise():
    black = np.zeros((256, 256, 3), np.uint8)
    output = get_preprocessing("alexnet")(black, 224, 224)
    expected = np.broadcast_to([-127.305, -119.715, -104.913], (224, 224, 3))
    np.testing.assert_allclose(output, expected, atol=1e-5)
    assert set(get_preprocessing("alexnet").host(black, 224, 224)) == {"image"}


def test_noise_of_scale_zero_is_none(coordinates):
    pipeline = get_preprocessing("alexnet", True, color_noise_scale=0.0, mean_rgb=(0, 0, 0))
    output = pipeline(coordinates(), 224, 224, seed=[1, 2])
    np.testing.assert_array_equal(output[..., 2], 7)


def test_evaluation_takes_the_centre(coordinates):
    for zoom in (1, 2):
        image = get_preprocessing("alexnet").host(coordinates(zoom), 224, 224)["image"]
        np.testing.assert_array_equal(image, coordinates()[16:240, 16:240])


def test_ten_crops_lead_through_both_halves(coordinates):
    pipeline = get_preprocessing("alexnet")
    example = pipeline.host(coordinates(), 224, 224, num_crops=10)
    np.testing.assert_array_equal(
        example["image"], windows.ten_crops(tf.constant(coordinates()), 224, 224)
    )
    views = pipeline.device({"image": example["image"][tf.newaxis]})
    assert views.shape == (1, 10, 224, 224, 3)
    np.testing.assert_array_equal(views[0, 4], pipeline(coordinates(), 224, 224))


@pytest.mark.parametrize("shape", [(256, 256), (256, 341), (300, 256)])
@pytest.mark.parametrize("is_training", [False, True])
def test_decoding_only_the_window_gives_the_pixels_of_decoding_all(texture, shape, is_training):
    pipeline = get_preprocessing("alexnet", is_training)
    contents = tf.io.encode_jpeg(texture(*shape), quality=90, chroma_downsampling=True)
    whole = decoding.decode(contents)
    for step in range(5):
        fast = pipeline.host(contents, 224, 224, seed=[0, step])["image"].numpy().astype(int)
        slow = pipeline.host(whole, 224, 224, seed=[0, step])["image"].numpy()
        difference = np.abs(fast - slow)
        assert difference[:, 1:-1].max() == 0
        assert difference.max() <= 32


@pytest.mark.parametrize("shape", [(300, 400), (256, 341), (200, 220)])
def test_resize_first_is_the_papers_order(texture, shape):
    pipeline = get_preprocessing("alexnet", resize_first=True, resize_side=256)
    image = texture(*shape)
    np.testing.assert_array_equal(
        pipeline.host(image, 256, 256)["image"], resize_all_then_crop(image)
    )
    np.testing.assert_array_equal(
        pipeline.host(image, 224, 224)["image"], resize_all_then_crop(image)[16:240, 16:240]
    )


def ramps(height: int, width: int) -> np.ndarray:
    """Brightness grows from left to right in red, from top to bottom in green."""
    image = np.zeros((height, width, 3))
    image[..., 0] = np.linspace(0, 255, width)
    image[..., 1] = np.linspace(0, 255, height)[:, np.newaxis]
    return np.round(image).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "ratio"), [((300, 300), 1), ((375, 500), 1), ((1100, 1100), 2), ((2113, 2500), 4)]
)
def test_crops_lie_where_the_papers_do_but_for_rounding(shape, ratio):
    height, width = shape
    contents = tf.io.encode_jpeg(ramps(*shape), quality=100, chroma_downsampling=False)
    fused = get_preprocessing("alexnet", True)
    paper = fused.replace(resize_first=True)
    for step in range(4):
        crops = [p.host(contents, 224, 224, seed=[3, step])["image"] for p in (fused, paper)]
        shift = np.mean(np.subtract(*(np.asarray(crop, float) for crop in crops)), axis=(0, 1))
        across, down = shift[0] * (width - 1) / 255, shift[1] * (height - 1) / 255
        # In pixels of the photo: half a pixel of what is decoded, the rounded size of the crop, a
        # last pixel that the decoder completes; and along the long side what the paper's order
        # itself rounds, the resized length and the offset of the centre.
        bound = 0.5 * ratio + 0.3 + 0.5 * (ratio - 1)
        assert abs(down) < bound
        assert abs(across) < bound + (width != height) * height / 256


def test_a_large_jpeg_is_reduced_while_it_is_decoded(texture):
    image = tf.image.resize(texture(300, 300), [1200, 1200], "bicubic")
    contents = tf.io.encode_jpeg(tf.saturate_cast(image, tf.uint8), quality=95)
    pipeline = get_preprocessing("alexnet")
    whole = pipeline.host(decoding.decode(contents), 224, 224)["image"].numpy().astype(int)
    reduced = pipeline.host(contents, 224, 224)["image"].numpy().astype(int)
    one_pixel = np.abs(whole[:, 1:] - whole[:, :-1]).mean()
    assert 0 < np.abs(whole - reduced).mean() < 0.4 * one_pixel


def test_cropping_first_is_the_papers_order_but_for_less_than_a_pixel(sample_photos):
    for contents in sample_photos.values():
        fused, paper = (
            get_preprocessing("alexnet", resize_first=first).host(contents, 224, 224)["image"]
            for first in (False, True)
        )
        fused, paper = np.asarray(fused, int), np.asarray(paper, int)
        one_pixel = np.abs(paper[:, 1:] - paper[:, :-1]).mean()
        assert np.abs(paper - fused).mean() < one_pixel


@pytest.mark.parametrize(
    ("output", "side"), [((224, 224), 256), ((227, 227), 256), ((112, 56), 128), ((32, 32), 37)]
)
def test_the_resized_square_follows_the_output(output, side, texture):
    image = texture(300, 400)
    default = get_preprocessing("alexnet").host(image, *output)["image"]
    explicit = get_preprocessing("alexnet", resize_side=side).host(image, *output)["image"]
    np.testing.assert_array_equal(default, explicit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize_side": 0}, "resize_side is 0; it must be a positive"),
        ({"resize_side": 25.6}, "resize_side is 25.6; it must be a positive"),
        ({"color_noise_scale": -1}, "color_noise_scale is -1; it must be zero"),
        ({"mean_rgb": 128}, "mean_rgb is 128; it must be three numbers"),
        ({"mean_rgb": (1, 2)}, r"mean_rgb is \(1, 2\); it must be three numbers"),
        ({"mean_rgb": (1, 2, float("nan"))}, "mean_rgb is .*; it must be three numbers"),
        ({"color_deviations": (1, 2, -3)}, "color_deviations is .* at least 0"),
        ({"color_components": ((1, 0, 0),)}, "color_components has 1 rows; it must have three"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        get_preprocessing("alexnet", **options)


def test_a_square_smaller_than_the_output_is_refused():
    image = np.zeros((300, 300, 3), np.uint8)
    with pytest.raises(ValueError, match="resize_side is 200, too small to crop 224 pixels"):
        get_preprocessing("alexnet", resize_side=200).host(image, 224, 224)


def test_training_without_the_noise_of_the_host_half_is_refused():
    batch = {"image": np.zeros((1, 8, 8, 3), np.uint8)}
    with pytest.raises(ValueError, match="no color_noise"):
        get_preprocessing("alexnet", True).device(batch)
