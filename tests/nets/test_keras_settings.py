"""Keras' own settings: those that these networks cannot run with, and those that do not matter."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from network_names import ALEXNETS

from nets import keras_settings, nets_factory
from nets.nets_factory import get_network_fn

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path):
    """Writes a keras.json, and gives the environment in which Keras reads it."""

    def write(**values):
        (tmp_path / "keras.json").write_text(json.dumps(values))
        environment = {key: os.environ[key] for key in os.environ if key != "KERAS_BACKEND"}
        return {**environment, "KERAS_HOME": str(tmp_path)}

    return write


def python(program, environment):
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_in_the_environment_is_named_with_what_to_set(backend, settings):
    ended = python("import nets", {**settings(), "KERAS_BACKEND": backend})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: These networks need Keras on TensorFlow, and the environment variable "
        f"KERAS_BACKEND is '{backend}'. Unset it, or set KERAS_BACKEND=tensorflow."
    )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_in_keras_json_is_named_with_its_path(backend, settings, tmp_path):
    ended = python("import nets.nets_factory", settings(backend=backend))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: These networks need Keras on TensorFlow, and {tmp_path}/keras.json has "
        f'"backend": "{backend}". Write "backend": "tensorflow" there, or set the environment '
        "variable KERAS_BACKEND=tensorflow."
    )


@pytest.mark.parametrize(
    ("in_file", "in_environment"),
    [
        ('{"backend": "tensorflow"}', ""),
        ('{"backend": "jax"}', "tensorflow"),  # the environment counts
        ("{}", ""),
        ("damaged", ""),  # Keras takes no notice of it
        (None, ""),
    ],
)
def test_tensorflow_and_no_backend_at_all_are_welcome(
    in_file, in_environment, tmp_path, monkeypatch
):
    if in_file is not None:
        (tmp_path / "keras.json").write_text(in_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", in_environment)
    monkeypatch.delitem(sys.modules, "keras")
    assert keras_settings.require_tensorflow() is None  # or it raises


def test_what_keras_was_imported_with_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    imported = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", imported)
    with pytest.raises(
        ImportError, match=r"imported with the backend 'jax'.*before it is imported"
    ):
        keras_settings.require_tensorflow()


def test_settings_are_looked_for_where_keras_has_them():
    from keras.src.backend.config import keras_home

    assert keras_settings._settings_path() == os.path.join(keras_home(), "keras.json")


@pytest.fixture
def channels_first():
    """`with channels_first():` what Keras is told by a keras.json."""

    @contextlib.contextmanager
    def set_format():
        keras.config.set_image_data_format("channels_first")
        try:
            yield
            assert keras.config.image_data_format() == "channels_first"
        finally:
            keras.config.set_image_data_format("channels_last")

    return set_format


@pytest.mark.parametrize("name", [*ALEXNETS, "mobilenet_v2"])
def test_channels_first_changes_no_network(name, outlined, channels_first):
    expected = outlined(name)
    with channels_first(), keras.StatelessScope(initialize_variables=False):
        network_fn = get_network_fn(name)
    assert nets_factory.parameter_counts(network_fn) == nets_factory.parameter_counts(expected)
    size = network_fn.default_image_size
    shapes, others = (
        built._model_with_end_points.compute_output_shape((1, size, size, 3))
        for built in (network_fn, expected)
    )
    assert shapes == others


def test_channels_first_changes_no_value(noise, channels_first):
    with channels_first():
        network_fn = get_network_fn("cifarnet_18pct")
        logits, _ = network_fn(noise(2, 32))
    expected = get_network_fn("cifarnet_18pct")
    expected.model.set_weights(network_fn.model.get_weights())
    np.testing.assert_array_equal(logits, expected(noise(2, 32))[0])


def test_a_failing_build_leaves_the_format_as_it_was(channels_first):
    with channels_first(), pytest.raises(ValueError, match="middle layer"):
        get_network_fn("alexnet", without_layer="conv1")


@pytest.mark.slow
def test_channels_first_in_keras_json_works(settings):
    program = """
import keras
from nets.nets_factory import get_network_fn
assert keras.config.image_data_format() == "channels_first"
print(get_network_fn("alexnet_cifar")(keras.ops.ones([1, 32, 32, 3]))[0].shape)
"""
    ended = python(program, settings(image_data_format="channels_first"))
    assert ended.stdout == "(1, 10)\n", ended.stderr
