"""`cifarnet_18pct` against cuda-convnet's layers-18pct.cfg."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from nets.nets_factory import get_network_fn


@pytest.fixture(scope="module")
def network_fn():
    return get_network_fn("cifarnet_18pct", num_classes=10)


def test_parameters_are_those_of_the_source(network_fn):
    assert nets_factory.parameter_counts(network_fn) == {
        "conv1": 5 * 5 * 3 * 32 + 32,
        "conv2": 5 * 5 * 32 * 32 + 32,
        "conv3": 5 * 5 * 32 * 64 + 64,
        "fc10": 4 * 4 * 64 * 10 + 10,
    }
    assert network_fn.model.count_params() == 89_578


def test_pools_round_up(network_fn, traced_shapes):
    _, shapes = traced_shapes(network_fn, 32)
    assert shapes == {
        "cifarnet_18pct/conv1": (1, 32, 32, 32),
        "cifarnet_18pct/pool1": (1, 16, 16, 32),
        "cifarnet_18pct/norm1": (1, 16, 16, 32),
        "cifarnet_18pct/conv2": (1, 16, 16, 32),
        "cifarnet_18pct/pool2": (1, 8, 8, 32),
        "cifarnet_18pct/norm2": (1, 8, 8, 32),
        "cifarnet_18pct/conv3": (1, 8, 8, 64),
        "cifarnet_18pct/pool3": (1, 4, 4, 64),
        "cifarnet_18pct/fc10": (1, 10),
    }


@pytest.mark.parametrize(
    ("before", "after", "aggregate"),
    [("conv1", "pool1", np.max), ("conv2", "pool2", np.mean), ("conv3", "pool3", np.mean)],
)
def test_the_last_windows_take_what_is_inside(network_fn, noise, before, after, aggregate):
    # cuda-convnet's windows start at the top left; an average counts no pixel past the edge.
    _, end_points = network_fn(noise(1, 32))
    inputs, outputs = (end_points[f"cifarnet_18pct/{name}"][0].numpy() for name in (before, after))
    for row, column in np.ndindex(outputs.shape[:2]):
        window = inputs[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        expected = aggregate(window, axis=(0, 1))
        np.testing.assert_allclose(outputs[row, column], expected, rtol=1e-4, atol=1e-9)


def test_rectifying_before_the_first_pool_is_rectifying_after_it(network_fn, noise):
    # The source pools first; conv1 alone has both signs.
    images = noise(1, 32)
    conv1 = network_fn.model.get_layer("conv1")
    linear = tf.nn.conv2d(images, conv1.kernel, 1, "SAME")
    assert np.min(linear) < 0 < np.max(linear)
    pooled = tf.nn.relu(tf.nn.max_pool2d(linear, 3, 2, "SAME"))
    _, end_points = network_fn(images)
    np.testing.assert_allclose(end_points["cifarnet_18pct/pool1"], pooled, atol=1e-6)


def test_norms_have_the_constants_of_the_source(network_fn):
    for name in ("norm1", "norm2"):
        norm = network_fn.model.get_layer(name)
        # scale=0.00005, which cuda-convnet divides by the 9 positions, and pow=.75.
        assert (norm.window, norm.bias, norm.beta) == (3, 1.0, 0.75)
        assert norm.alpha == pytest.approx(5e-5 / 9)


def test_weights_are_drawn_as_in_the_source(network_fn):
    stddevs = {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc10": 0.01}
    for layer, stddev in stddevs.items():
        weights = network_fn.variables[f"cifarnet_18pct/{layer}/weights"].numpy()
        # The error of a deviation estimated from n draws is 1 / sqrt(2n) of it.
        assert np.std(weights) == pytest.approx(stddev, rel=5 / np.sqrt(2 * weights.size))
        assert abs(np.mean(weights)) < 5 * stddev / np.sqrt(weights.size)
        assert not np.any(network_fn.variables[f"cifarnet_18pct/{layer}/biases"])


def test_larger_images_give_a_map_of_logits_or_their_mean(network_fn, noise):
    images = noise(2, 48, 64)
    maps = get_network_fn("cifarnet_18pct", 10, spatial_squeeze=False)
    pooled = get_network_fn("cifarnet_18pct", 10, global_pool=True)
    for other in (maps, pooled):
        other.model.set_weights(network_fn.model.get_weights())
    logits, _ = maps(images)
    mean, end_points = pooled(images)
    assert logits.shape == (2, 3, 5, 10)
    assert list(end_points)[-2:] == ["cifarnet_18pct/pool3", "cifarnet_18pct/fc10"]
    np.testing.assert_allclose(mean, np.mean(logits, axis=(1, 2)), atol=1e-6)
    small = noise(2, 32)
    np.testing.assert_allclose(pooled(small)[0], network_fn(small)[0], atol=1e-6)


def test_it_loads_as_saved(network_fn, noise, tmp_path):
    network_fn.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(noise(2, 32)), network_fn(noise(2, 32))[0])
