"""Every network of the zoo against the numbers of its source, one row each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_names import ALEXNETS

from nets import nets_factory
from nets.nets_factory import get_network_fn

ALEXNET = [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
WIDE_CONV4 = [23_296, 307_392, 663_936, 1_327_488, 884_992, 26_218_496, 16_781_312, 4_097_000]
ONE_TOWER = [23_296, 307_392, 663_936, 884_992, 590_080, 37_752_832, 16_781_312, 4_097_000]
AT_224 = {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv5": 13, "pool5": 6, "fc6": 1}

# name: classes, parameters of each layer, all of them, sides of maps at the default image size.
NETWORKS = {
    "alexnet": (1000, ALEXNET, 60_965_224, AT_224),
    "alexnet_2012": (1000, ALEXNET, 60_965_224, AT_224),
    "alexnet_owt": (1000, ONE_TOWER, 61_100_840, AT_224),
    "alexnet_torchvision": (1000, ONE_TOWER, 61_100_840, {**AT_224, "avgpool": 6}),
    "alexnet_v2": (
        1000,
        WIDE_CONV4,
        50_303_912,
        {"conv1": 54, "pool1": 26, "conv2": 26, "pool2": 12, "conv5": 12, "pool5": 5, "fc6": 1},
    ),
    "bvlc_alexnet": (1000, ALEXNET, 60_965_224, AT_224),
    "caffenet": (1000, ALEXNET, 60_965_224, AT_224),
    # Counted by hand from the layers that are copied; the source is no paper.
    "alexnet_keras": (
        1000,
        [
            34_944,
            2_973_952,
            885_120,
            1_327_488,
            884_992,
            1_052_672,
            16_781_312,
            4_097_000,
            1_001_000,
        ],
        29_038_480,
        {"conv1": 54, "pool1": 27, "conv2": 17, "pool2": 8, "conv5": 2, "pool5": 1, "fc6": 1},
    ),
    "alexnet_cifar": (
        10,
        [14_208, 1_204_480, 885_120, 1_327_488, 884_992, 4_198_400, 16_781_312, 40_970],
        25_336_970,
        {"conv1": 16, "pool1": 8, "conv2": 8, "pool2": 4, "conv5": 4, "pool5": 2, "fc6": 1},
    ),
    "cifarnet_18pct": (
        10,
        [2_432, 25_632, 51_264, 10_250],
        89_578,
        {"conv1": 32, "pool1": 16, "pool2": 8, "pool3": 4},
    ),
    "cifarnet_13pct": (
        10,
        [4_864, 102_464, 664_704, 332_928, 11_530],
        1_116_490,
        {"conv1": 24, "pool1": 12, "pool2": 6, "local3": 6, "local4": 6},
    ),
    "cifarnet_11pct": (
        10,
        [4_864, 102_464, 1_329_408, 664_704, 11_530],
        2_112_970,
        {"conv1": 24, "pool1": 12, "pool2": 6, "local3": 6, "local4": 6},
    ),
}


def test_each_registered_network_has_a_row():
    assert set(NETWORKS) == set(ALEXNETS)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_maps_are_those_of_its_source(name, outlined, traced_shapes):
    num_classes, per_layer, total, maps = NETWORKS[name]
    network_fn = outlined(name)
    assert list(nets_factory.parameter_counts(network_fn).values()) == per_layer
    assert network_fn.model.count_params() == sum(per_layer) == total
    logits, end_points = traced_shapes(network_fn, network_fn.default_image_size)
    assert logits == (1, num_classes)
    assert network_fn.num_classes == num_classes
    sides = {layer: end_points[f"{name}/{layer}"][1:3] for layer in maps}
    assert sides == {layer: (side, side) for layer, side in maps.items()}


def test_one_tower_of_2012_is_the_half_network(outlined, traced_shapes):
    half = outlined("alexnet_2012", towers=1)
    assert half.model.count_params() == 59_798_312
    _, end_points = traced_shapes(half, 224)
    products = sum(
        int(np.prod(variable.shape)) * int(np.prod(end_points[name.removesuffix("/weights")][1:-1]))
        for name, variable in half.variables.items()
        if name.endswith("/weights")
    )
    assert products == 391_514_384
    with pytest.raises(ValueError, match="towers is 3; the network has 2, or 1"):
        get_network_fn("alexnet_2012", towers=3)


@pytest.mark.parametrize(
    ("name", "layer", "deviation", "bias"),
    [
        ("alexnet_2012", "conv1", 0.01, 0),
        ("alexnet_2012", "conv2", 0.01, 1),
        ("alexnet_2012", "conv3", 0.03, 0),
        ("alexnet_2012", "conv5", 0.03, 1),
        ("alexnet_2012", "fc7", 0.01, 1),
        ("alexnet_owt", "conv4", 0.03, 1),
        ("alexnet_owt", "fc8", 0.01, -7),
        ("bvlc_alexnet", "conv4", 0.01, 0.1),
        ("bvlc_alexnet", "fc7", 0.005, 0.1),
        ("caffenet", "conv2", 0.01, 1),
        ("caffenet", "fc7", 0.005, 1),
        ("cifarnet_18pct", "conv1", 1e-4, 0),
        ("cifarnet_13pct", "local3", 0.04, 0),
        ("cifarnet_11pct", "local4", 0.04, 0),
    ],
)
def test_initial_values_are_those_of_its_source(name, layer, deviation, bias, narrow):
    variables = narrow(name).variables
    weights = variables[f"{name}/{layer}/weights"].numpy()
    assert abs(weights.mean()) < 5 * deviation / np.sqrt(weights.size)
    assert weights.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * weights.size))
    assert np.abs(weights).max() > 2 * deviation  # a uniform distribution ends at 1.73
    np.testing.assert_allclose(variables[f"{name}/{layer}/biases"], bias)


def test_torchvisions_initial_values_are_pytorchs(narrow):
    variables = narrow("alexnet_torchvision").variables
    for layer, inputs in (("conv1", 363), ("conv3", 1728), ("fc7", 4096)):
        for kind in ("weights", "biases"):
            values = variables[f"alexnet_torchvision/{layer}/{kind}"].numpy()
            assert np.abs(values).max() <= inputs**-0.5
            tolerance = 5 / np.sqrt(values.size)
            assert values.std() == pytest.approx((3 * inputs) ** -0.5, rel=tolerance)


@pytest.mark.parametrize("name", ["alexnet_2012", "alexnet_owt"])
def test_conv1_is_linear_and_its_relu_follows_the_pool(name, narrow, noise):
    _, end_points = narrow(name)(noise(1, 224))
    conv1, norm1, pool1, relu1 = (
        end_points[f"{name}/{layer}"].numpy() for layer in ("conv1", "norm1", "pool1", "relu1")
    )
    assert conv1.min() < 0
    assert pool1.min() < 0
    np.testing.assert_array_equal(relu1, np.maximum(pool1, 0))
    towers = 2 if name == "alexnet_2012" else 1
    expected = np.concatenate(
        [
            tf.nn.local_response_normalization(part, 2, bias=2.0, alpha=2e-5, beta=0.75)
            for part in np.split(conv1, towers, axis=-1)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(norm1, expected, rtol=1e-4, atol=1e-4)


def test_2012_normalises_conv2_twice(narrow, noise):
    _, end_points = narrow("alexnet_2012")(noise(1, 224))
    conv2, norm2, spatial = (
        end_points[f"alexnet_2012/{layer}"].numpy() for layer in ("conv2", "norm2", "spatial_norm2")
    )
    assert conv2.min() == 0
    squares = np.pad(np.square(norm2.astype(np.float64)), [(0, 0), (2, 2), (2, 2), (0, 0)])
    sums = sum(squares[:, i : i + 27, j : j + 27] for i in range(5) for j in range(5))
    np.testing.assert_allclose(spatial, norm2 / (1 + 4e-5 * sums) ** 0.75, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("bvlc_alexnet", "conv1", "norm1"), ("caffenet", "pool1", "norm1")],
)
def test_caffe_normalises_with_k_1(name, before, after, narrow, noise):
    _, end_points = narrow(name)(noise(1, 227))
    expected = tf.nn.local_response_normalization(
        end_points[f"{name}/{before}"], 2, bias=1.0, alpha=2e-5, beta=0.75
    )
    np.testing.assert_allclose(end_points[f"{name}/{after}"], expected, rtol=1e-4, atol=1e-5)


def test_torchvision_takes_any_size_and_gives_one_row(narrow, noise):
    network_fn = narrow("alexnet_torchvision")
    for height, width in ((63, 63), (224, 300), (300, 230)):
        logits, end_points = network_fn(noise(1, height, width))
        assert logits.shape == (1, 1000)
        pooled = end_points["alexnet_torchvision/avgpool"].numpy()
        map_ = end_points["alexnet_torchvision/pool5"].numpy()
        for row, column in ((0, 0), (2, 5), (5, 3)):
            # PyTorch's windows: from floor(i * n / 6) to ceil((i + 1) * n / 6).
            rows, columns = (
                slice(i * n // 6, -(-(i + 1) * n // 6))
                for i, n in ((row, map_.shape[1]), (column, map_.shape[2]))
            )
            mean = map_[:, rows, columns].mean(axis=(1, 2))
            np.testing.assert_allclose(pooled[:, row, column], mean, rtol=1e-4, atol=1e-6)


ABLATIONS = {
    "no response normalisation": ({"response_normalization": False}, 60_965_224),
    "pools that do not overlap": ({"pool_size": 2}, 60_965_224),
    "tanh": ({"activation": "tanh"}, 60_965_224),
    "no dropout": ({"dropout_keep_prob": 1.0}, 60_965_224),
    "no conv2": ({"without_layer": "conv2"}, 60_965_224 - 307_456 - 160 * 9 * 384),
    "no conv3": ({"without_layer": "conv3"}, 60_965_224 - 885_120 - 64 * 9 * 384),
    "no conv4": ({"without_layer": "conv4"}, 60_965_224 - 663_936),
    "no conv5": ({"without_layer": "conv5"}, 60_965_224 - 442_624 + 128 * 36 * 4096),
    "no fc6": ({"without_layer": "fc6"}, 60_965_224 - 16_781_312),
    "no fc7": ({"without_layer": "fc7"}, 60_965_224 - 16_781_312),
}


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablations_of_the_paper_change_what_they_say_and_keep_the_maps(
    name, ablation, outlined, traced_shapes
):
    options, parameters = ABLATIONS[ablation]
    network_fn = outlined(name, **options)
    assert network_fn.model.count_params() == parameters
    logits, end_points = traced_shapes(network_fn, 224)
    assert logits == (1, 1000)
    assert end_points[f"{name}/pool2"][1:3] == (13, 13)
    assert end_points[f"{name}/pool5"][1:3] == (6, 6)
    removed = options.get("without_layer")
    assert f"{name}/{removed}" not in end_points
    check_options(network_fn, options)


def check_options(network_fn, options):
    """Options of ablations against the layers that were built."""
    layers = network_fn.model.layers
    assert any("norm" in layer.name for layer in layers) == options.get(
        "response_normalization", True
    )
    activations = {
        layer.activation.__name__
        for layer in layers
        if hasattr(layer, "activation") and layer.name not in ("fc8", "fc10")
    } - {"linear"}  # of conv1 in the released networks, whose activation is a layer behind its pool
    assert activations == {options.get("activation", "relu")}
    pools = {layer.pool_size for layer in layers if isinstance(layer, keras.layers.MaxPooling2D)}
    if "pool_size" in options:
        assert pools == {(options["pool_size"],) * 2}
    if "dropout_keep_prob" in options:
        kept = {layer.keep_prob for layer in layers if "dropout" in layer.name}
        assert kept == {options["dropout_keep_prob"]}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifarnet_18pct", {"activation": "tanh"}),
        ("cifarnet_18pct", {"response_normalization": False}),
        ("cifarnet_11pct", {"response_normalization": False}),
        ("alexnet_cifar", {"response_normalization": False}),
    ],
)
def test_what_the_experiments_on_cifar_compare(name, options, outlined):
    changed, plain = outlined(name, **options), outlined(name)
    check_options(changed, options)
    check_options(plain, {})
    assert changed.model.count_params() == plain.model.count_params()


def test_alexnet_for_cifar_100(outlined):
    network_fn = outlined("alexnet_cifar", 100)
    assert network_fn.model.output_shape == (None, 100)
    assert network_fn.model.count_params() == 25_336_970 + 90 * 4097


def test_a_layer_that_is_not_in_the_middle_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"Unknown middle layer 'conv1'.*conv2, conv3"):
        get_network_fn("alexnet", without_layer="conv1")
    with pytest.raises(ValueError, match="Unknown middle layer"):
        get_network_fn("alexnet", without_layer=[1])


def test_ablations_that_are_none_say_what_there_is():
    with pytest.raises(ValueError, match=r"activation is 'relux'.*relu or tanh"):
        get_network_fn("cifarnet_18pct", activation="relux")
    with pytest.raises(ValueError, match="pool_size is 0; the paper compares 3 and 2"):
        get_network_fn("alexnet", pool_size=0)


def test_networks_of_one_size_say_so(outlined, noise):
    with pytest.raises(ValueError, match=r"given images of 32x32 pixels; it takes 24x24 alone"):
        outlined("cifarnet_13pct")(noise(1, 32))
