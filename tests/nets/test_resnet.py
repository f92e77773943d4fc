"""TF-Slim's ResNets: their options, and what the numbers of the original do not show."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import resnet_v1, resnet_v2
from nets.batch_normalization import BatchNormalization
from nets.layers import Conv2D
from nets.nets_factory import get_network_fn
from nets.resnet_parts import blocks

UNITS = (2, 2, 2, 2)
every_version = pytest.mark.parametrize("version", [1, 2])


def make_model(version, **options):
    """A narrow network of two units a block, as a model with its end points in a dictionary."""
    module = {1: resnet_v1, 2: resnet_v2}[version]
    build = getattr(module, f"resnet_v{version}")
    images = keras.Input([None, None, 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BASE_DEPTHS", (8, 16, 32, 64))
        outputs, end_points = build("resnet", UNITS, images, 3, **options)
    return keras.Model(images, {"outputs": outputs} | end_points)


def evaluated(version, images, like=None, **options):
    """Outputs and end points for images; with the weights of the model `like`, if one is given."""
    model = make_model(version, spatial_squeeze=False, **options)
    if like is not None:
        model.set_weights(like.get_weights())
    return model(images), model


@pytest.mark.parametrize(
    ("output_stride", "strides", "rates"),
    [
        (None, [2, 2, 2, 1], [1, 1, 1, 1]),
        (32, [2, 2, 2, 1], [1, 1, 1, 1]),
        (16, [2, 2, 1, 1], [1, 1, 1, 2]),
        (8, [2, 1, 1, 1], [1, 1, 2, 4]),
        (4, [1, 1, 1, 1], [1, 2, 4, 8]),
    ],
)
def test_dilation_takes_over_from_strides(output_stride, strides, rates):
    table = blocks(UNITS, (64, 128, 256, 512), output_stride)
    assert [block.stride for block in table] == strides
    assert [block.rate for block in table] == rates


@pytest.mark.parametrize("output_stride", [0, 2, 12, 24, 64])
@pytest.mark.parametrize("name", ["resnet_v1_50", "resnet_v2_50"])
def test_an_output_stride_that_no_block_has_is_refused(name, output_stride):
    with pytest.raises(ValueError, match=rf"output_stride is {output_stride}; it must be 4, 8, 16"):
        get_network_fn(name, output_stride=output_stride)


@every_version
def test_a_dense_map_holds_the_coarse_one(version, noise):
    images = noise(1, 34, 65) / 128
    coarse, model = evaluated(version, images, global_pool=False)
    dense, _ = evaluated(version, images, like=model, global_pool=False, output_stride=8)
    for end_point in ("resnet/block4", "outputs"):
        np.testing.assert_allclose(
            dense[end_point][:, ::4, ::4], coarse[end_point], rtol=1e-3, atol=1e-3
        )
    assert coarse["outputs"].shape[1:3] == (2, 3)
    assert dense["outputs"].shape[1:3] == (5, 9)


def test_activations_before_strides_change_nothing_after_them(noise):
    images = noise(1, 70, 64) / 128
    usual, model = evaluated(1, images)
    stored, _ = evaluated(1, images, like=model, store_non_strided_activations=True)
    assert usual["resnet/block1"].shape[1:3] == (9, 8)
    assert stored["resnet/block1"].shape[1:3] == (18, 16)
    for end_point in ("resnet/block1", "resnet/block3"):
        np.testing.assert_allclose(
            stored[end_point][:, ::2, ::2], usual[end_point], rtol=1e-3, atol=1e-3
        )
    np.testing.assert_allclose(stored["outputs"], usual["outputs"], rtol=1e-3, atol=1e-3)


@every_version
def test_without_a_global_pool_there_are_logits_for_each_position(version, noise):
    model = make_model(version, global_pool=False, spatial_squeeze=False)
    maps = model(noise(1, 64, 96))
    assert maps["outputs"].shape == (1, 2, 3, 3)
    np.testing.assert_array_equal(maps["predictions"], tf.nn.softmax(maps["outputs"]))
    assert not {"global_pool", "resnet/spatial_squeeze"} & set(maps)


@every_version
def test_squeezed_logits_of_several_positions_are_refused_for_any_size(version, outlined):
    network_fn = outlined(f"resnet_v{version}_50", global_pool=False)
    with pytest.raises(ValueError, match=r"2x3 positions.*spatial_squeeze=False"):
        network_fn(tf.zeros([1, 64, 96, 3]))
    # The network's own size does not fit this option either.
    expected = r"given images of 224x224 pixels, its own size\. Its logits have 7x7 positions"
    with pytest.raises(ValueError, match=expected):
        network_fn(tf.zeros([1, 224, 224, 3]))


def test_the_depth_multiplier_leaves_conv1_and_keeps_the_least_depth(outlined):
    shapes = {
        name.removeprefix("resnet_v1_50/"): tuple(variable.shape)
        for name, variable in outlined(
            "resnet_v1_50", depth_multiplier=0.25, min_base_depth=40
        ).variables.items()
        if name.endswith("weights")
    }
    assert shapes["conv1/weights"] == (7, 7, 3, 64)
    assert shapes["block1/unit_1/bottleneck_v1/conv2/weights"] == (3, 3, 40, 40)
    assert shapes["block4/unit_1/bottleneck_v1/conv3/weights"] == (1, 1, 128, 512)
    # Where the depth stays, the shortcut is the inputs, in the first unit of a block too.
    quarter = outlined("resnet_v1_50", depth_multiplier=0.25).variables
    shortcuts = {name.split("/")[1] for name in quarter if "/shortcut/" in name}
    assert shortcuts == {"block2", "block3", "block4"}


@every_version
def test_initial_values_and_normalisation_are_he_s_and_tf_slim_s(version):
    layers = make_model(version).layers
    convolutions = [layer for layer in layers if isinstance(layer, Conv2D)]
    for layer in convolutions:
        fan_in = np.prod(layer.kernel.shape[:-1])
        if layer.name != "logits":  # too few to measure
            np.testing.assert_allclose(np.std(layer.kernel), (2 / fan_in) ** 0.5, rtol=0.25)
        assert not layer.use_bias or not np.any(layer.bias)
    normalised = [layer for layer in layers if isinstance(layer, BatchNormalization)]
    assert {(layer.momentum, layer.epsilon) for layer in normalised} == {(0.997, 1e-5)}
    # conv1, three in each unit, a shortcut in each block, logits.
    assert len(convolutions) == 1 + 3 * sum(UNITS) + len(UNITS) + 1
    # v1: all but the logits. v2: before each unit, two in it, and the last.
    assert len(normalised) == (len(convolutions) - 1 if version == 1 else 3 * sum(UNITS) + 1)


@every_version
def test_a_dilated_step_in_bfloat16_gives_every_variable_a_gradient(version, narrow, noise):
    network_fn = narrow(f"resnet_v{version}_50", 3, dtype_policy="mixed_bfloat16", output_stride=8)
    variables = [variable.value for variable in network_fn.model.trainable_variables]
    with tf.GradientTape() as tape:
        logits, _ = network_fn(tf.cast(noise(2, 33), tf.bfloat16), is_training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1], logits))
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert np.isfinite(gradient).all(), variable.name
        assert np.any(gradient), variable.name
