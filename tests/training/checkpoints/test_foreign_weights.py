import keras
import numpy as np
import pytest

from nets.nets_factory import get_network_fn
from training.checkpoints.restoring import restore_network


def values_of(network_fn):
    return {name: variable.numpy() for name, variable in network_fn.variables.items()}


def test_layouts_become_those_of_tensorflow(weight_file, layers):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    report = restore_network(network_fn, weight_file)
    assert len(report.restored) == 8
    values = values_of(network_fn)
    kernel, bias = layers["conv2"]
    np.testing.assert_array_equal(
        values["cifarnet_18pct/conv2/weights"], kernel.transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(values["cifarnet_18pct/conv2/biases"], bias)
    fc10 = layers["fc10"][0].reshape(10, 64, 4, 4)  # channels, rows, columns
    assert values["cifarnet_18pct/fc10/weights"][1, 2, 3, 4] == fc10[4, 3, 1, 2]


def test_bgr_to_rgb_reverses_the_first_layers_inputs_alone(weight_file):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    restore_network(network_fn, weight_file)
    before = values_of(network_fn)
    restore_network(network_fn, weight_file, bgr_to_rgb=True)
    after = values_of(network_fn)
    first = "cifarnet_18pct/conv1/weights"
    np.testing.assert_array_equal(after.pop(first), before.pop(first)[:, :, ::-1])
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name])


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
    report = restore_network(network_fn, path)
    assert len(report.restored) == 18
    assert not report.unexpected
    images = noise(2, 224) / 64
    expected = model(images).numpy()
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4 * np.ptp(expected))


def test_a_networks_own_keras_weights_load(noise, tmp_path):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    path = str(tmp_path / "own.weights.h5")
    network_fn.model.save_weights(path)
    other = get_network_fn("cifarnet_18pct", 10)
    restore_network(other, path)
    for name, value in values_of(network_fn).items():
        np.testing.assert_array_equal(values_of(other)[name], value)


def test_two_tensors_that_are_one_variable_are_refused(layers, write_safetensors, tmp_path):
    kernel = layers["conv2"][0]
    path = tmp_path / "twice.safetensors"
    path.write_bytes(write_safetensors({"conv2.weight": kernel, "module.conv2.weight": kernel}))
    with pytest.raises(ValueError, match="holds cifarnet_18pct/conv2/weights twice"):
        restore_network(get_network_fn("cifarnet_18pct", 10), str(path))
