"""Options and initial values of the Inceptions; their numbers are in test_tf_slim_zoo.py."""

import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn

WITH_AUXILIARY = {
    "inception_v3": "InceptionV3/Logits/Conv2d_1c_1x1",
    "inception_v4": "InceptionV4/Logits/Logits",
    "inception_resnet_v2": "InceptionResnetV2/Logits/Logits",
}
POOLS = {"inception_v1": "AvgPool_0a_7x7", "inception_v2": "AvgPool_1a"}


@pytest.mark.parametrize("name", WITH_AUXILIARY)
def test_without_auxiliary_logits_nothing_of_them_is_left(name, outlined):
    network_fn = outlined(name, 7, create_aux_logits=False)
    assert network_fn.heads == (WITH_AUXILIARY[name],)
    assert not [variable for variable in network_fn.variables if "/AuxLogits/" in variable]
    assert network_fn.model.compute_output_shape([1, 75, 75, 3]) == (1, 7)
    with pytest.raises(ValueError, match="takes 75x75 or more"):
        network_fn(tf.zeros([1, 74, 75, 3]))
    with pytest.raises(ValueError, match="zero or negative"):
        network_fn.model.compute_output_shape([1, 74, 75, 3])


@pytest.mark.parametrize("name", WITH_AUXILIARY)
def test_auxiliary_logits_are_heads_and_want_the_map_they_are_made_for(name, outlined):
    network_fn = outlined(name, 7)
    assert network_fn.heads[0] == WITH_AUXILIARY[name]
    shapes = [network_fn.variables[f"{head}/biases"].shape for head in network_fn.heads]
    assert shapes == [(7,), (7,)]
    with pytest.raises(ValueError, match=r"has 7x7.*create_aux_logits=False"):
        network_fn(tf.zeros([1, 150, 150, 3]))


def test_the_largest_images_that_auxiliary_logits_take(outlined, traced_shapes):
    network_fn = outlined("inception_v3", 7, global_pool=True)
    _, end_points = traced_shapes(network_fn, 346)
    assert end_points["AuxLogits"] == (1, 7)
    assert end_points["global_pool"] == (1, 1, 1, 2048)
    with pytest.raises(ValueError, match="17 to 19"):
        network_fn(tf.zeros([1, 347, 347, 3]))


@pytest.mark.parametrize("name", POOLS)
def test_a_small_map_is_averaged_whole(name, outlined, traced_shapes):
    network_fn = outlined(name, 7)
    assert network_fn.model.compute_output_shape([1, 64, 64, 3]) == (1, 7)
    assert traced_shapes(network_fn, 32, 64)[1][POOLS[name]] == (1, 1, 1, 1024)


@pytest.mark.parametrize(("name", "positions"), [("inception_v1", 4), ("inception_v2", 2)])
def test_windows_move_over_a_large_map(name, positions, outlined, traced_shapes):
    logits, end_points = traced_shapes(outlined(name, 7, spatial_squeeze=False), 320)
    assert logits == end_points["Predictions"] == (1, positions, positions, 7)
    assert end_points[POOLS[name]] == (1, positions, positions, 1024)


@pytest.mark.parametrize("name", POOLS)
def test_global_pool_takes_any_map(name, outlined, traced_shapes):
    logits, end_points = traced_shapes(outlined(name, 7, global_pool=True), 320)
    assert logits == (1, 7)
    assert end_points["global_pool"] == (1, 1, 1, 1024)
    assert POOLS[name] not in end_points


def test_spatial_squeeze_is_for_auxiliary_logits_too(outlined, traced_shapes):
    network_fn = outlined("inception_v3", 7, spatial_squeeze=False)
    logits, end_points = traced_shapes(network_fn, 299)
    assert logits == end_points["AuxLogits"] == end_points["Predictions"] == (1, 1, 1, 7)


@pytest.mark.parametrize("name", ["inception_v2", "inception_v3"])
def test_depth_multiplier_narrows_all_but_the_logits(name, outlined, traced_shapes):
    network_fn = outlined(name, 7, depth_multiplier=0.1)
    logits, end_points = traced_shapes(network_fn, network_fn.default_image_size)
    first = network_fn.first_layer.partition("/")[2]
    assert end_points[first][3] == 16  # min_depth
    assert logits == (1, 7)
    convolutions = {
        key: variable.shape[3]
        for key, variable in network_fn.variables.items()
        if key.endswith("/weights") and key.rpartition("/")[0] not in network_fn.heads
    }
    assert min(convolutions.values()) == 16
    assert max(convolutions.values()) == {"inception_v2": 35, "inception_v3": 76}[name]
    wide = outlined(name, 7, depth_multiplier=0.1, min_depth=20)
    assert min(wide.variables[key].shape[3] for key in convolutions) == 20
    with pytest.raises(ValueError, match="depth_multiplier is 0; it must be positive"):
        get_network_fn(name, 7, depth_multiplier=0)


def test_the_first_convolution_of_v2_may_be_like_the_others(outlined, traced_shapes):
    network_fn = outlined("inception_v2", 7, weight_decay=1e-4, use_separable_conv=False)
    names = [name for name in network_fn.variables if "/Conv2d_1a_7x7/" in name]
    assert [name.partition("/Conv2d_1a_7x7/")[2] for name in names] == [
        "weights",
        "BatchNorm/beta",
        "BatchNorm/moving_mean",
        "BatchNorm/moving_variance",
    ]
    assert network_fn.variables[names[0]].shape == (7, 7, 3, 64)
    assert network_fn.variables[names[0]].regularizer
    assert traced_shapes(network_fn, 224)[1]["Conv2d_1a_7x7"] == (1, 112, 112, 64)


def test_narrow_separable_convolutions_have_no_more_channels_between_than_at_last(outlined):
    variables = outlined("inception_v2", 7, depth_multiplier=0.1).variables
    assert variables["InceptionV2/Conv2d_1a_7x7/depthwise_weights"].shape == (7, 7, 3, 5)
    assert variables["InceptionV2/Conv2d_1a_7x7/pointwise_weights"].shape == (1, 1, 15, 16)


def test_weight_decay_is_on_the_biases_of_inception_resnet_v2_alone(outlined):
    for name in ("inception_v2", "inception_resnet_v2"):
        network_fn = outlined(name, 7, weight_decay=1e-4)
        biases = [one for key, one in network_fn.variables.items() if key.endswith("/biases")]
        assert biases
        assert {bool(one.regularizer) for one in biases} == {name == "inception_resnet_v2"}
        assert not [
            key
            for key, one in network_fn.variables.items()
            if one.regularizer and "/BatchNorm/" in key
        ]


# Standard deviations; "scaling" is that of a variance of 2 / inputs, "Xavier" of 2 / (inputs +
# outputs).
INITIAL = {
    "inception_v1": {
        "Mixed_5c/Branch_1/Conv2d_0a_1x1": 0.01,
        "Logits/Conv2d_0c_1x1": "scaling",
    },
    "inception_v2": {
        "Mixed_5b/Branch_0/Conv2d_0a_1x1": "scaling",
        "Mixed_5b/Branch_1/Conv2d_0a_1x1": 0.09,
        "Mixed_5b/Branch_1/Conv2d_0b_3x3": "scaling",
        "Mixed_5b/Branch_2/Conv2d_0a_1x1": 0.09,
        "Mixed_5b/Branch_3/Conv2d_0b_1x1": 0.1,
        "Mixed_5a/Branch_0/Conv2d_0a_1x1": 0.09,
        "Conv2d_2b_1x1": 0.1,
        "Logits/Conv2d_1c_1x1": "scaling",
    },
    "inception_v3": {
        "Mixed_7c/Branch_1/Conv2d_0a_1x1": "scaling",
        "AuxLogits/Conv2d_1b_1x1": "scaling",
        "AuxLogits/Conv2d_2a_5x5": 0.01,
        "AuxLogits/Conv2d_2b_1x1": 0.001,
        "Logits/Conv2d_1c_1x1": "scaling",
    },
    "inception_v4": {
        "Mixed_7d/Branch_1/Conv2d_0a_1x1": "scaling",
        "AuxLogits/Conv2d_2a": "scaling",
        "AuxLogits/Aux_logits": "Xavier",
        "Logits/Logits": "Xavier",
    },
    "inception_resnet_v2": {
        "Conv2d_7b_1x1": "Xavier",
        "Repeat_1/block17_3/Conv2d_1x1": "Xavier",
        "AuxLogits/Conv2d_2a_5x5": "Xavier",
        "Logits/Logits": "Xavier",
    },
}


@pytest.mark.parametrize("name", INITIAL)
def test_initial_values(name, outlined):
    network_fn = outlined(name, 101)
    layers = {layer.name.replace(".", "/"): layer for layer in network_fn.layers}
    for scope, expected in INITIAL[name].items():
        shape = layers[scope].kernel.shape
        values = np.asarray(layers[scope].kernel_initializer(shape))
        inputs, area = shape[-2], np.prod(shape[:-2])
        if expected == "scaling":
            stddev = np.sqrt(2 / (inputs * area))
        elif expected == "Xavier":
            stddev = np.sqrt(2 / ((inputs + shape[-1]) * area))
        else:
            stddev = expected * 0.87962566  # of what is within two deviations
        assert values.std() == pytest.approx(stddev, rel=0.03), scope
    seeds = [
        layer.kernel_initializer.seed for layer in network_fn.layers if hasattr(layer, "kernel")
    ]
    assert len(set(seeds)) == len(seeds)


def test_residuals_are_scaled_and_the_last_is_not_rectified(outlined):
    network_fn = outlined("inception_resnet_v2", 7)
    layers = {layer.name: layer for layer in network_fn.layers}
    scales = [layer.scale for name, layer in layers.items() if name.endswith(".scale")]
    assert scales == [0.17] * 10 + [0.1] * 20 + [0.2] * 9 + [1.0]
    assert "Repeat_2.block8_9.relu" in layers
    assert "Block8.relu" not in layers


def test_images_that_auxiliary_logits_do_not_take_are_named(outlined):
    network_fn = outlined("inception_v3", 7)
    expected = "^inception_v3 was given images of 224x224 pixels; it is made for 299x299. Its auxil"
    with pytest.raises(ValueError, match=expected):
        network_fn(tf.zeros([1, 224, 224, 3]))
