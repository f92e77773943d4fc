"""Names and layouts of other frameworks; the files themselves are the tests of `weight_formats`."""

import keras
import numpy as np
import pytest

from nets.nets_factory import get_network_fn
from training.checkpoints.foreign_weights import converted
from weight_formats import WeightFile, read_weights


@pytest.fixture
def network_fn():
    return get_network_fn("cifarnet_18pct", 10)


def test_layouts_become_those_of_tensorflow(network_fn, cifarnet_file, cifarnet_layers):
    values, found = converted(network_fn, read_weights(cifarnet_file))
    assert values.keys() == network_fn.variables.keys()
    assert not found.unexpected
    kernel, bias = cifarnet_layers["conv2"]
    np.testing.assert_array_equal(
        values["cifarnet_18pct/conv2/weights"], kernel.transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(values["cifarnet_18pct/conv2/biases"], bias)
    fc10 = cifarnet_layers["fc10"][0].reshape(10, 64, 4, 4)  # channels, rows, columns
    assert values["cifarnet_18pct/fc10/weights"][1, 2, 3, 4] == fc10[4, 3, 1, 2]


def test_bgr_to_rgb_reverses_the_first_layers_inputs_alone(network_fn, cifarnet_file):
    weights = read_weights(cifarnet_file)
    before, _ = converted(network_fn, weights)
    after, _ = converted(network_fn, weights, bgr_to_rgb=True)
    first = "cifarnet_18pct/conv1/weights"
    np.testing.assert_array_equal(after.pop(first), before.pop(first)[:, :, ::-1])
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name])


def test_the_same_numbers_of_numpy_lie_position_by_position(network_fn, cifarnet_layers):
    """A flattened map of channels-last frameworks, [rows * columns * channels, out]."""
    matrix = cifarnet_layers["fc10"][0].T.copy()
    weights = WeightFile("a.npz", "numpy", {"fc10/weights": matrix})
    values, _ = converted(network_fn, weights)
    kernel = values["cifarnet_18pct/fc10/weights"]
    assert kernel[1, 2, 3, 4] == matrix[(1 * 4 + 2) * 64 + 3, 4]


@pytest.mark.parametrize(
    "name",
    ["conv2.weight", "conv2/weights", "conv2/kernel", "module.conv2.weight", "conv2/W", "conv2/0"],
)
def test_a_layers_weights_are_known_by_the_names_of_each_framework(network_fn, name):
    values, found = converted(
        network_fn, WeightFile("a", "numpy", {name: np.zeros((5, 5, 32, 32))})
    )
    assert list(values) == ["cifarnet_18pct/conv2/weights"]
    assert not found.unexpected


def test_what_the_network_has_not_is_named_as_the_file_calls_it(network_fn):
    tensors = {"conv9.weight": np.zeros(2), "conv2.running_mean": np.zeros(2)}
    values, found = converted(network_fn, WeightFile("a", "torch", tensors))
    assert (values, found.unexpected) == ({}, ["conv9.weight", "conv2.running_mean"])


def test_two_tensors_that_are_one_variable_are_refused(network_fn, cifarnet_layers):
    kernel = cifarnet_layers["conv2"][0]
    tensors = {"conv2.weight": kernel, "module.conv2.weight": kernel}
    with pytest.raises(ValueError, match="holds cifarnet_18pct/conv2/weights twice"):
        converted(network_fn, WeightFile("twice", "safetensors", tensors))


def test_a_copied_keras_alexnet_loads_by_the_order_of_its_layers(noise, tmp_path):
    keras.utils.set_random_seed(0)
    lively = {"kernel_initializer": "he_normal", "bias_initializer": "normal"}
    conv = lambda *arguments: keras.layers.Conv2D(*arguments, activation="relu", **lively)  # noqa: E731
    dense = lambda units: keras.layers.Dense(units, activation="relu", **lively)  # noqa: E731
    model = keras.Sequential(
        [
            keras.Input([224, 224, 3]),
            *(conv(96, 11, 4), keras.layers.MaxPooling2D(2, 2)),
            *(conv(256, 11), keras.layers.MaxPooling2D(2, 2)),
            *(conv(384, 3), conv(384, 3), conv(256, 3), keras.layers.MaxPooling2D(2, 2)),
            keras.layers.Flatten(),
            *(dense(4096), keras.layers.Dropout(0.4), dense(4096), keras.layers.Dropout(0.4)),
            *(dense(1000), keras.layers.Dropout(0.4), keras.layers.Dense(17, **lively)),
        ]
    )
    path = str(tmp_path / "copied.weights.h5")
    model.save_weights(path)
    network_fn = get_network_fn("alexnet_keras", 17)
    assert network_fn.model.count_params() == model.count_params()
    values, found = converted(network_fn, read_weights(path))
    assert not found.unexpected
    assert values.keys() == network_fn.variables.keys()
    for name, value in values.items():
        network_fn.variables[name].assign(value)
    images = noise(1, 224) / 64
    expected = model(images).numpy()
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4 * np.ptp(expected))


def test_a_networks_own_keras_weights_load(network_fn, tmp_path):
    path = str(tmp_path / "own.weights.h5")
    network_fn.model.save_weights(path)
    values, found = converted(get_network_fn("cifarnet_18pct", 10), read_weights(path))
    assert not found.unexpected
    assert values.keys() == network_fn.variables.keys()
    for name, variable in network_fn.variables.items():
        np.testing.assert_array_equal(values[name], variable.numpy())


@pytest.mark.parametrize("file_format", ["numpy", "safetensors", "torch"])
@pytest.mark.parametrize("place", ["", "module.", "model.net._orig_mod.", "cifarnet_18pct."])
def test_wrappers_occur_in_every_format_of_names(network_fn, cifarnet_layers, file_format, place):
    channels_first = file_format != "numpy"
    tensors = {}
    for layer, (kernel, bias) in cifarnet_layers.items():
        last = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        tensors[f"{place}{layer}.weight"] = kernel if channels_first else last
        tensors[f"{place}{layer}.bias"] = bias
    values, found = converted(network_fn, WeightFile("a", file_format, tensors))
    assert values.keys() == network_fn.variables.keys()
    assert found.taken == (f"names without {place}" if place else "")


def test_a_keras_model_in_a_model_gives_its_layers(network_fn, tmp_path):
    """As of a model that normalizes first: the layers that count are in the model inside."""
    inner = keras.Sequential(
        [
            keras.Input([32, 32, 3]),
            keras.layers.Conv2D(32, 5, padding="same"),
            keras.layers.MaxPooling2D(3, 2),
            keras.layers.Conv2D(32, 5, padding="same"),
            keras.layers.MaxPooling2D(3, 2),
            keras.layers.Conv2D(64, 5, padding="same"),
            keras.layers.AveragePooling2D(3, 2, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    images = keras.Input([32, 32, 3])
    outer = keras.Model(images, inner(keras.layers.Normalization()(images)))
    path = str(tmp_path / "outer.weights.h5")
    outer.save_weights(path)
    values, found = converted(network_fn, read_weights(path))
    kernels = [layer.kernel for layer in inner.layers if layer.weights]
    assert "names without sequential" in found.taken
    np.testing.assert_array_equal(values["cifarnet_18pct/conv2/weights"], kernels[1])
    np.testing.assert_array_equal(
        values["cifarnet_18pct/fc10/weights"].ravel(), np.ravel(kernels[3])
    )
    assert values.keys() <= network_fn.variables.keys()
