"""NASNet and PNASNet: what their numbers in evaluation do not show."""

import numpy as np
import pytest
import tensorflow as tf

from nets.drop_path import DropPath
from nets.nets_factory import get_network_fn, networks

NARROW = {
    name: {"num_cells": 3, "num_conv_filters": 8}
    for name in ("nasnet_cifar", "nasnet_mobile", "nasnet_large", "pnasnet_mobile", "pnasnet_large")
}


@pytest.fixture(scope="module")
def cifar():
    """A narrow one for training."""
    options = {**NARROW["nasnet_cifar"], "dropout_keep_prob": 1.0}
    return get_network_fn("nasnet_cifar", 5, is_training=True, **options)


@pytest.fixture
def training(outlined):
    """`training(name)` is a narrow one as it is built for training, without values."""
    return lambda name: outlined(name, 7, is_training=True, **NARROW[name])


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("nasnet_cifar", 4),  # 16 positions a side, which are pooled to 4
        ("nasnet_mobile", 4),  # 14
        ("nasnet_large", 6),  # 21
        ("pnasnet_mobile", 4),
        ("pnasnet_large", 6),
    ],
)
def test_the_auxiliary_head_reads_all_positions_of_a_default_image(name, kernel, training):
    network_fn = training(name)
    assert network_fn.heads == ("final_layer/FC", "aux_1/aux_logits/FC")
    variables = network_fn.variables
    assert variables["aux_1/aux_logits/Conv/weights"].shape == (kernel, kernel, 128, 768)
    assert sum(key.startswith("aux_1/") for key in variables) == 12


@pytest.mark.parametrize("name", ["nasnet_cifar", "pnasnet_mobile"])
def test_auxiliary_logits_can_be_left_out_and_are_not_there_in_evaluation(name, outlined):
    for options in ({}, {"is_training": True, "use_aux_head": False}):
        network_fn = outlined(name, 7, **NARROW[name], **options)
        assert network_fn.heads == ("final_layer/FC",)
        assert not [key for key in network_fn.variables if "aux" in key]


def drop_paths(network_fn):
    return {
        layer.name: layer.keep_prob for layer in network_fn.layers if isinstance(layer, DropPath)
    }


def test_paths_are_dropped_the_more_often_the_deeper_they_are(training):
    """Three cells and two reductions; ImageNet's have two in the stem."""
    found = drop_paths(training("nasnet_cifar"))
    assert found["cell_0.comb_iter_0.left.drop_path"] == pytest.approx(1 - 0.4 / 5)
    assert found["reduction_cell_0.comb_iter_0.left.drop_path"] == pytest.approx(1 - 0.4 * 2 / 5)
    assert found["cell_2.comb_iter_0.left.drop_path"] == pytest.approx(0.6)
    found = drop_paths(training("nasnet_large"))
    assert found["cell_stem_0.comb_iter_0.left.drop_path"] == pytest.approx(1 - 0.3 / 7)
    assert found["cell_2.comb_iter_4.left.drop_path"] == pytest.approx(0.7)
    found = drop_paths(training("pnasnet_large"))
    assert found["cell_stem_0.comb_iter_0.left.drop_path"] == pytest.approx(1 - 0.4 / 5)
    assert found["cell_2.comb_iter_0.left.drop_path"] == pytest.approx(0.6)
    # Not the identity.
    assert "cell_2.comb_iter_4.right.drop_path" not in found
    assert not drop_paths(training("nasnet_mobile"))
    assert not drop_paths(training("pnasnet_mobile"))


def test_the_step_of_training_is_what_drops_paths(cifar, noise):
    images = noise(4, 32)

    def logits(**arguments):
        return cifar(images, is_training=True, seed=tf.constant([1, 2]), **arguments)[0].numpy()

    without = logits()
    np.testing.assert_allclose(logits(step=tf.constant(0)), without, rtol=1e-4, atol=1e-5)
    later = logits(step=tf.constant(937_500, tf.int64))
    assert np.abs(later - without).max() > 0.01
    np.testing.assert_allclose(
        logits(step=tf.constant(937_500, tf.int64)), later, rtol=1e-4, atol=1e-5
    )


def test_an_impossible_share_of_paths_is_refused():
    for keep_prob in (0, 1.5):
        with pytest.raises(ValueError, match=f"drop_path_keep_prob is {keep_prob}; it must be in"):
            get_network_fn("nasnet_cifar", drop_path_keep_prob=keep_prob)


def test_weights_are_scaled_by_their_outputs(cifar):
    """Variance scaling: two by the number of outputs, of a Gaussian that is cut off."""
    for name in ("aux_1/aux_logits/Conv/weights", "reduction_cell_1/1x1/weights"):
        weights = cifar.variables[name].numpy()
        height, width, _, filters = weights.shape
        expected = np.sqrt(2 / (height * width * filters))
        assert weights.std() == pytest.approx(expected, rel=0.1)
        assert np.abs(weights).max() < 2.3 * expected
    depthwise = "reduction_cell_1/comb_iter_0/right/separable_7x7_1/depthwise_weights"
    assert cifar.variables[depthwise].numpy().std() == pytest.approx(np.sqrt(2 / 49), rel=0.1)
    assert not np.any(cifar.variables["final_layer/FC/biases"])


def test_every_variable_has_a_gradient_in_bfloat16(noise):
    network_fn = get_network_fn(
        "nasnet_cifar", 5, 1e-4, True, "mixed_bfloat16", **NARROW["nasnet_cifar"]
    )
    with tf.GradientTape() as tape:
        logits, end_points = network_fn(noise(2, 32), seed=tf.constant([1, 2]), step=10)
        both = tf.reduce_mean(logits[:, 0]) + tf.reduce_mean(
            tf.cast(end_points["AuxLogits"][:, 1], tf.float32)
        )
        loss = both + network_fn.regularization_loss()
    trained = {name: one for name, one in network_fn.variables.items() if one.trainable}
    gradients = tape.gradient(loss, [variable.value for variable in trained.values()])
    for name, gradient in zip(trained, gradients, strict=True):
        assert np.isfinite(gradient).all(), name


@pytest.mark.parametrize(
    ("name", "size", "halvings"), [("nasnet_cifar", 4, 2), ("pnasnet_mobile", 75, 5)]
)
def test_images_of_other_sizes_are_taken(name, size, halvings, outlined, traced_shapes):
    network_fn = outlined(name, 7, **NARROW[name])
    assert size >= networks[name].minimum_image_size
    logits, end_points = traced_shapes(network_fn, size)
    assert logits == (1, 7)
    assert end_points["Cell_2"][1:3] == (-(-size // 2**halvings),) * 2


def test_larger_images_have_auxiliary_logits(cifar, traced_shapes):
    assert traced_shapes(cifar, 45)[1]["AuxLogits"] == (1, 5)
