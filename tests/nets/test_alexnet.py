"""The two AlexNets against the numbers of the paper and of TF-Slim."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory
from nets.alexnet import INITIALIZATIONS

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


@pytest.fixture
def map_of_logits(narrow):
    """`alexnet_v2` that squeezes nothing."""
    return narrow("alexnet_v2", num_classes=5, spatial_squeeze=False)


def test_alexnet_has_the_papers_parameters(outlined):
    counts = nets_factory.parameter_counts(outlined("alexnet"))
    assert counts == {
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "fc8": 4_097_000,
    }
    assert sum(counts.values()) == 60_965_224


def test_alexnet_v2_has_the_parameters_of_tf_slim(outlined):
    counts = nets_factory.parameter_counts(outlined("alexnet_v2"))
    assert tuple(counts) == LAYERS
    assert sum(counts.values()) == 50_303_912


@pytest.mark.parametrize("size", [224, 227])
def test_alexnet_has_the_papers_maps(size, outlined, traced_shapes):
    logits, end_points = traced_shapes(outlined("alexnet"), size)
    assert logits == (1, 1000)
    assert end_points == {
        "alexnet/conv1": (1, 55, 55, 96),
        "alexnet/norm1": (1, 55, 55, 96),
        "alexnet/pool1": (1, 27, 27, 96),
        "alexnet/conv2": (1, 27, 27, 256),
        "alexnet/norm2": (1, 27, 27, 256),
        "alexnet/pool2": (1, 13, 13, 256),
        "alexnet/conv3": (1, 13, 13, 384),
        "alexnet/conv4": (1, 13, 13, 384),
        "alexnet/conv5": (1, 13, 13, 256),
        "alexnet/pool5": (1, 6, 6, 256),
        "alexnet/fc6": (1, 1, 1, 4096),
        "alexnet/fc7": (1, 1, 1, 4096),
        "alexnet/fc8": (1, 1000),
    }


def test_alexnet_v2_has_the_maps_of_tf_slim(outlined, traced_shapes):
    logits, end_points = traced_shapes(outlined("alexnet_v2"), 224)
    assert logits == (1, 1000)
    assert end_points == {
        "alexnet_v2/conv1": (1, 54, 54, 64),
        "alexnet_v2/pool1": (1, 26, 26, 64),
        "alexnet_v2/conv2": (1, 26, 26, 192),
        "alexnet_v2/pool2": (1, 12, 12, 192),
        "alexnet_v2/conv3": (1, 12, 12, 384),
        "alexnet_v2/conv4": (1, 12, 12, 384),
        "alexnet_v2/conv5": (1, 12, 12, 256),
        "alexnet_v2/pool5": (1, 5, 5, 256),
        "alexnet_v2/fc6": (1, 1, 1, 4096),
        "alexnet_v2/fc7": (1, 1, 1, 4096),
        "alexnet_v2/fc8": (1, 1000),
    }


@pytest.mark.parametrize(
    ("name", "expected"), [("alexnet", 724_406_816), ("alexnet_v2", 736_555_776)]
)
def test_an_image_costs_the_known_number_of_multiplications(
    name, expected, outlined, traced_shapes
):
    network_fn = outlined(name)
    _, end_points = traced_shapes(network_fn, 224)
    # A kernel holds the inputs of its own group only, and is applied at every position.
    products = {
        layer: np.prod(network_fn.variables[f"{name}/{layer}/weights"].shape)
        * np.prod(end_points[f"{name}/{layer}"][1:-1])
        for layer in LAYERS
    }
    assert sum(products.values()) == expected


def test_alexnet_has_two_towers_in_the_layers_of_the_paper(outlined):
    groups = {layer: outlined("alexnet").model.get_layer(layer).groups for layer in LAYERS[:5]}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}


def test_224_pixels_are_227_with_three_zero_rows_and_columns_at_the_bottom_and_right(built, noise):
    network_fn = built("alexnet")
    images = noise(2, 224)
    logits, _ = network_fn(images)
    padded, _ = network_fn(tf.pad(images, [[0, 0], [0, 3], [0, 3], [0, 0]]))
    elsewhere, _ = network_fn(tf.pad(images, [[0, 0], [3, 0], [3, 0], [0, 0]]))
    np.testing.assert_allclose(logits, padded, atol=1e-5)
    assert np.abs(logits - elsewhere).max() > 1e-3 * np.ptp(logits)


def test_alexnet_follows_the_papers_order_of_layers(built, noise):
    # ReLU, then response normalisation, then pooling; other versions swap them.
    _, end_points = built("alexnet")(noise(1, 224))
    for stage in ("1", "2"):
        conv, norm, pool = (
            end_points[f"alexnet/{kind}{stage}"] for kind in ("conv", "norm", "pool")
        )
        assert np.min(conv) == 0
        expected = tf.nn.local_response_normalization(conv, 2, bias=2.0, alpha=1e-4, beta=0.75)
        np.testing.assert_allclose(norm, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(pool, tf.nn.max_pool2d(norm, 3, 2, "VALID"))


@pytest.mark.parametrize(
    ("name", "smallest", "largest"), [("alexnet", 224, 255), ("alexnet_v2", 195, 226)]
)
def test_logits_can_be_squeezed_for_one_range_of_sizes(
    name, smallest, largest, outlined, traced_shapes
):
    network_fn = outlined(name)
    for size in (smallest, largest):
        assert traced_shapes(network_fn, size)[0] == (1, 1000)
    with pytest.raises(ValueError, match=f"it takes {smallest}x{smallest} or more"):
        network_fn(tf.zeros([1, smallest - 1, smallest - 1, 3]))
    with pytest.raises(ValueError, match=r"2x2 positions .*global_pool=True.*squeeze=False"):
        network_fn(tf.zeros([1, largest + 1, largest + 1, 3]))


def test_larger_images_give_a_map_of_logits(map_of_logits, traced_shapes):
    assert traced_shapes(map_of_logits, 300, 400)[0] == (1, 4, 7, 5)
    assert traced_shapes(map_of_logits, 224)[0] == (1, 1, 1, 5)


def test_a_window_of_a_larger_image_has_the_features_of_the_window_alone(map_of_logits, noise):
    # Up to pool1, whose step is 8 pixels; the padding of the layers behind it makes a difference.
    images = noise(1, 300, 400)
    _, whole = map_of_logits(images)
    _, window = map_of_logits(images[:, 32 : 32 + 224, 64 : 64 + 224])
    there, alone = whole["alexnet_v2/pool1"][:, 4 : 4 + 26, 8 : 8 + 26], window["alexnet_v2/pool1"]
    np.testing.assert_allclose(there, alone, rtol=1e-4, atol=1e-3)


def test_end_points_of_alexnet_v2_are_in_the_order_of_tf_slim(narrow, noise):
    before = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7"]
    before = [f"alexnet_v2/{name}" for name in before]
    _, end_points = narrow("alexnet_v2")(noise(1, 224))
    assert list(end_points) == [*before, "alexnet_v2/fc8"]
    _, end_points = narrow("alexnet_v2", None, global_pool=True)(noise(1, 224))
    assert list(end_points) == [*before, "global_pool"]


def test_the_global_pool_comes_before_the_last_layer(narrow, noise):
    network_fn = narrow("alexnet_v2", num_classes=5, global_pool=True)
    logits, end_points = network_fn(noise(1, 300, 400))
    assert list(end_points)[-3:] == ["alexnet_v2/fc7", "global_pool", "alexnet_v2/fc8"]
    assert logits.shape == (1, 5)
    assert end_points["global_pool"].shape == (1, 1, 1, 4096 // 8)
    kernel = network_fn.variables["alexnet_v2/fc8/weights"].numpy()[0, 0]
    expected = end_points["global_pool"][:, 0, 0] @ kernel
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "in_training", "at_test_time"), [("alexnet", 1, 0.5), ("alexnet_v2", 2, 1)]
)
def test_dropout_scales_as_its_source_says(name, in_training, at_test_time, narrow, noise):
    # The paper halves outputs at test time; TF-Slim doubles what is kept in training.
    network_fn = narrow(name)
    kernel, bias = (network_fn.variables[f"{name}/fc8/{kind}"] for kind in ("weights", "biases"))

    def fc8(inputs):
        return inputs[:, 0, 0] @ kernel[0, 0] + bias

    seed = tf.constant([1, 2])
    with layers.dropout_seed(seed):
        dropout = network_fn.model.get_layer("dropout7")
        kept = dropout(tf.ones([2, 1, 1, 4096 // 8]), training=True).numpy() > 0
    assert 0.42 < kept.mean() < 0.58  # five deviations
    for mode, factor in ((True, in_training * kept), (False, at_test_time)):
        logits, end_points = network_fn(noise(2, 224), is_training=mode, seed=seed)
        expected = fc8(end_points[f"{name}/fc7"] * np.float32(factor))
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def drawn(network_fn, layer):
    """The weights of a layer, and the one value of its biases."""
    weights, biases = (
        network_fn.variables[f"{network_fn.name}/{layer}/{kind}"].numpy()
        for kind in ("weights", "biases")
    )
    assert np.ptp(biases) == 0
    return weights, biases[0]


def about(stddev, count):
    """A deviation as `count` draws show it: their error is 1 / sqrt(2 * count) of it."""
    return pytest.approx(stddev, rel=5 / np.sqrt(2 * count))


EXPECTED_INITIALIZATIONS = {
    # Standard deviations of conv1 ... fc8; the bias of conv2, conv4, conv5, fc6 and fc7.
    "paper": ([0.01] * 8, 1),
    "released": ([0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01], 1),
    "caffe": ([0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01], 0.1),
}


def test_every_initialization_is_tested():
    assert set(INITIALIZATIONS) == set(EXPECTED_INITIALIZATIONS)


@pytest.mark.parametrize("initialization", EXPECTED_INITIALIZATIONS)
def test_alexnet_is_drawn_as_its_initialization_says(initialization, narrow):
    network_fn = narrow("alexnet", initialization=initialization)
    stddevs, one = EXPECTED_INITIALIZATIONS[initialization]
    biases = [0, one, 0, one, one, one, one, 0]
    for layer, stddev, bias in zip(LAYERS, stddevs, biases, strict=True):
        weights, drawn_bias = drawn(network_fn, layer)
        assert np.std(weights) == about(stddev, weights.size), layer
        assert drawn_bias == np.float32(bias), layer


def test_alexnet_trains_with_the_initialization_of_caffe_by_default(narrow):
    _, bias = drawn(narrow("alexnet"), "conv2")
    assert bias == np.float32(0.1)


def test_alexnet_v2_is_drawn_as_in_tf_slim(built):
    network_fn = built("alexnet_v2")
    for layer in LAYERS:
        weights, bias = drawn(network_fn, layer)
        if layer.startswith("conv"):
            fan_in, fan_out = (np.prod(weights.shape[:2]) * n for n in weights.shape[2:])
            limit = np.sqrt(6 / (fan_in + fan_out))
            stddev = limit / np.sqrt(3)
        else:
            # Cut at two deviations, a normal distribution keeps .8796 of its deviation.
            limit = 2 * 0.005
            stddev = 0.8796 * 0.005
        assert np.std(weights) == about(stddev, weights.size), layer
        assert 0.99 * limit < np.abs(weights).max() <= limit * (1 + 1e-6), layer
        assert bias == np.float32(0 if layer == "fc8" else 0.1), layer


def test_a_saved_model_gives_the_same_logits(map_of_logits, noise, tmp_path):
    map_of_logits.model.save(tmp_path / "alexnet_v2.keras")
    loaded = keras.saving.load_model(tmp_path / "alexnet_v2.keras")
    np.testing.assert_array_equal(loaded(noise(1, 224)), map_of_logits(noise(1, 224))[0])
