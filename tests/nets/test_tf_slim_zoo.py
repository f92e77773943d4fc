"""TF-Slim's networks against the numbers that the original code gave, in tf_slim/NAME.json.

These were taken from TF-Slim of 2020 under TensorFlow 2.21 in its v1 mode, with weights and images
of the rule below. Each file holds variables, end points, logits and facts of training.
"""

import fnmatch
import functools
import json
import zlib

import numpy as np
import pytest
import tensorflow as tf
from network_names import TF_SLIM_FACTS as FACTS

from nets.nets_factory import get_network_fn, networks
from slimzoo.configuration import TrainingConfig

SMALL = 8_000_000  # parameters: what CI computes; of the others the soak tests do


@functools.cache
def facts(name):
    return json.loads(FACTS[name].read_text())


def value_of(name, shape):
    """The rule for weights, by the last part of their full name."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    kind = name.rpartition("/")[2]
    if kind in ("moving_variance", "gamma"):
        value = generator.uniform(0.5, 1.5, shape)
    elif kind in ("biases", "beta", "moving_mean"):
        value = 0.1 * generator.standard_normal(shape)
    else:
        inputs = shape[:2] if kind == "depthwise_weights" else shape[:-1]
        value = generator.standard_normal(shape) * np.sqrt(2 / np.prod(inputs))
    return value.astype(np.float32)


# What the README's command looks at, one of each family but NASNet; the others, of which some take
# seconds to make, are for CI.
QUICK = {
    *("vgg_a", "overfeat", "inception_v1", "resnet_v1_50", "resnet_v2_50"),
    *("mobilenet_v1_025", "mobilenet_v2_035", "mobilenet_v3_small", "mobilenet_edgetpu_075"),
    *("lenet", "cifarnet"),
}


def mark(name):
    """How long its values take to compute."""
    if facts(name)["trainable_parameters"] > SMALL:
        return pytest.mark.soak
    return [] if name in QUICK else pytest.mark.slow


OUTLINED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FACTS]


def test_every_network_of_tf_slim_that_is_registered_has_its_numbers():
    assert set(FACTS) <= set(networks)


@pytest.mark.parametrize("name", OUTLINED)
def test_names_and_shapes_are_tf_slims(name, outlined, traced_shapes):
    expected = facts(name)
    network_fn = outlined(name, num_classes=expected["num_classes"], weight_decay=1e-4)
    shapes = {name: list(variable.shape) for name, variable in network_fn.variables.items()}
    assert shapes == expected["variables"]
    trained = [variable for variable in network_fn.variables.values() if variable.trainable]
    assert sum(np.prod(one.shape) for one in trained) == expected["trainable_parameters"]
    assert network_fn.num_classes == networks[name].num_classes == expected["num_classes"]
    assert network_fn.default_image_size == expected["default_image_size"]
    assert network_fn.channels == networks[name].channels == expected["channels"]
    logits, end_points = traced_shapes(network_fn, network_fn.default_image_size)
    assert logits[1:] == tuple(expected["logits"]["shape"][1:])
    assert list(end_points) == list(expected["end_points"])
    for end_point, numbers in expected["end_points"].items():
        assert end_points[end_point][1:] == tuple(numbers["shape"][1:]), end_point


@pytest.mark.parametrize("name", OUTLINED)
def test_without_classes_it_ends_in_tf_slims_features(name, outlined, traced_shapes):
    expected = facts(name)["no_classes"]
    network_fn = outlined(name, num_classes=None)
    features, end_points = traced_shapes(network_fn, network_fn.default_image_size)
    assert list(end_points) == expected["end_points"]
    assert features[1:] == tuple(expected["shape"][1:])


@pytest.mark.parametrize("name", OUTLINED)
def test_it_decays_and_normalises_as_tf_slims_does(name, outlined):
    expected = facts(name)["training"]
    options = {"num_classes": facts(name)["num_classes"], "weight_decay": 1e-4}
    if networks[name].differs_in_training:
        options["is_training"] = True
    network_fn = outlined(name, **options)
    decaying = [name for name, one in network_fn.variables.items() if one.regularizer]
    assert len(decaying) == expected["l2_terms"]
    assert sorted(network_fn.decaying) == sorted(decaying)  # what training goes by
    weights = {name for name in network_fn.variables if name.endswith("weights")}
    assert sorted(weights - set(decaying)) == sorted(expected["weights_without_decay"])
    epsilons = {layer.epsilon for layer in network_fn.layers if hasattr(layer, "moving_mean")}
    assert sorted(epsilons) == pytest.approx(sorted(expected["batch_norm_epsilon"]))


# Weight decay in training by default, and share of moving statistics that is kept at each step; the
# first pattern that fits counts.
DEFAULTS = {
    "lenet": (0.0, None),
    "cifarnet": (0.004, None),
    "vgg_*": (5e-4, None),
    "overfeat": (5e-4, None),
    "inception_*": (4e-5, 0.9997),
    "resnet_*": (1e-4, 0.997),
    "mobilenet_v1*": (4e-5, 0.9997),
    "mobilenet_*": (4e-5, 0.997),
    "nasnet_cifar": (5e-4, 0.9),
    "nasnet_mobile": (4e-5, 0.9997),
    "nasnet_large": (5e-5, 0.9997),
    "pnasnet_*": (4e-5, 0.9997),
}


@pytest.mark.parametrize("name", OUTLINED)
def test_it_is_trained_with_tf_slims_decays(name, outlined):
    pattern = next(pattern for pattern in DEFAULTS if fnmatch.fnmatch(name, pattern))
    weight_decay, momentum = DEFAULTS[pattern]
    network = networks[name]
    config = TrainingConfig(model_name=name).with_defaults(network.hyperparameters)
    assert config.weight_decay == weight_decay
    layers = outlined(name, num_classes=facts(name)["num_classes"]).layers
    found = {layer.momentum for layer in layers if hasattr(layer, "moving_mean")}
    assert found == ({momentum} if momentum else set())


@pytest.mark.parametrize("name", [pytest.param(name, marks=mark(name)) for name in FACTS])
def test_values_are_tf_slims(name):
    expected = facts(name)
    network_fn = get_network_fn(name, num_classes=expected["num_classes"])
    for variable_name, variable in network_fn.variables.items():
        variable.assign(value_of(variable_name, tuple(variable.shape)))
    size, channels = expected["default_image_size"], expected["channels"]
    generator = np.random.default_rng(zlib.crc32(b"images"))
    images = generator.uniform(-1, 1, [2, size, size, channels]).astype(np.float32)
    # In a graph, where MobileNets' normalisation is folded into convolutions; others take longer.
    call = tf.function(network_fn) if name.startswith("mobilenet") else network_fn
    logits, end_points = call(images)
    for end_point, numbers in expected["end_points"].items():
        value = end_points[end_point].numpy().astype(np.float64)
        tolerance = 1e-4 * numbers["l2"]
        assert np.linalg.norm(value) == pytest.approx(numbers["l2"], abs=tolerance), end_point
        np.testing.assert_allclose(value.ravel()[:4], numbers["first"], atol=tolerance)
        assert value.mean() == pytest.approx(numbers["mean"], abs=tolerance)
    if logits.shape.rank == 2:
        tolerance = 1e-4 * max(1, np.abs(expected["logits"]["head"]).max())
        np.testing.assert_allclose(logits[:, :8], expected["logits"]["head"], atol=tolerance)
