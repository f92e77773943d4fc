"""Layers and networks are the same after they have been written down and made again."""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_names import ALEXNETS

import nets
from nets.layers import SpatialSqueeze
from nets.pooling import AuxiliaryPooling2D

# Every class of a layer that there is, so that a new one needs no line here.
LAYERS = {
    kind.__name__: kind
    for module in pkgutil.iter_modules(nets.__path__, "nets.")
    for kind in vars(importlib.import_module(module.name)).values()
    if inspect.isclass(kind)
    and issubclass(kind, keras.layers.Layer)
    and kind.__module__ == module.name
}

# A value for each argument of a constructor, and never its default if there is another.
VALUES = {
    "activation": "tanh",
    "activity_regularizer": keras.regularizers.L2(0.3),
    "alpha": 0.1,
    "axis": -1,
    "beta": 0.6,
    "beta_constraint": keras.constraints.NonNeg(),
    "beta_initializer": keras.initializers.RandomUniform(0.1, 1, seed=3),
    "beta_regularizer": keras.regularizers.L1(0.4),
    "bias": 0.5,
    "bias_constraint": keras.constraints.NonNeg(),
    "bias_initializer": keras.initializers.RandomUniform(0.1, 1, seed=1),
    "bias_regularizer": keras.regularizers.L1(0.2),
    "center": True,
    "data_format": "channels_last",
    "decays": False,
    "depth_multiplier": 2,
    "depth_radius": 1,
    "depthwise_constraint": keras.constraints.MaxNorm(2.5),
    "depthwise_initializer": keras.initializers.RandomUniform(-1, 1, seed=7),
    "depthwise_regularizer": keras.regularizers.L2(0.4),
    "dilation_rate": (2, 2),
    "dtype": keras.DTypePolicy("mixed_bfloat16"),
    "epsilon": 0.01,
    "filters": 4,
    "folds_in_float32": True,
    "gamma_constraint": keras.constraints.MaxNorm(9),
    "gamma_initializer": keras.initializers.RandomUniform(0.5, 2, seed=4),
    "gamma_regularizer": keras.regularizers.L2(0.2),
    "groups": 2,
    "keep_prob": 0.3,
    "kernel_constraint": keras.constraints.MaxNorm(1.5),
    "kernel_initializer": keras.initializers.RandomUniform(-1, 1, seed=2),
    "kernel_regularizer": keras.regularizers.L2(0.1),
    "kernel_size": 3,
    "momentum": 0.6,
    "moving_mean_initializer": keras.initializers.RandomUniform(-1, 1, seed=5),
    "moving_variance_initializer": keras.initializers.RandomUniform(0.5, 2, seed=6),
    "name": "a_layer",
    "padding": "same",
    "pointwise_constraint": keras.constraints.MaxNorm(3.5),
    "pointwise_initializer": keras.initializers.RandomUniform(-1, 1, seed=8),
    "pointwise_regularizer": keras.regularizers.L2(0.5),
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.7,
    "rescale_in_training": False,
    "scale": True,
    "size": 2,
    "strides": 2,
    "synchronized": False,
    "total_training_steps": 5,
    "trainable": False,
    "units": 4,
    "use_bias": True,
    "window": 5,
}
# Where one excludes another.
EXCEPTIONS = {"Conv2D": {"strides": (1, 1)}, "SeparableConv2D": {"strides": (1, 1)}}
# What it hands on to Keras' layer.
HANDED_ON = {
    "DepthwiseConv2D": {
        "bias_constraint": VALUES["bias_constraint"],
        "bias_regularizer": VALUES["bias_regularizer"],
        "depthwise_constraint": VALUES["kernel_constraint"],
        "depthwise_initializer": VALUES["kernel_initializer"],
        "depthwise_regularizer": VALUES["kernel_regularizer"],
    },
}
HANDED_ON["BatchNormalization"] = {
    name: VALUES[name]
    for name in inspect.signature(keras.layers.BatchNormalization.__init__).parameters
    if name in VALUES
}
HANDED_ON["SeparableConv2D"] = HANDED_ON["DepthwiseConv2D"] | {
    "pointwise_constraint": VALUES["kernel_constraint"],
    "pointwise_initializer": VALUES["kernel_initializer"],
    "pointwise_regularizer": VALUES["kernel_regularizer"],
}
# Any layer takes maps; these take maps of one position, and as Inception has them at 299 pixels.
MAPS = {SpatialSqueeze.__name__: (1, 1, 4), AuxiliaryPooling2D.__name__: (17, 17, 4)}


def arguments(kind):
    """What the constructor of a layer takes by name, and what any layer does."""
    _, *own = inspect.signature(kind.__init__).parameters.values()
    names = {argument.name for argument in own if argument.kind != argument.VAR_KEYWORD}
    # Keras writes its own `autocast` down nowhere.
    return (names | {"activity_regularizer", "dtype", "name", "trainable"}) - {"autocast"}


def test_every_kind_of_layer_can_be_found_by_those_who_load_it():
    assert {"Conv2D", "Dropout", "LocallyConnected2D", "LocalResponseNormalization"} <= set(LAYERS)
    for name, kind in LAYERS.items():
        assert keras.saving.get_registered_object(f"slimzoo>{name}") is kind


@pytest.fixture
def model(request):
    """A layer of the kind that a test is about, with every argument, in a model of its own."""
    kind = LAYERS[request.param]
    known = {**VALUES, **EXCEPTIONS.get(request.param, {})}
    own = {name: known[name] for name in arguments(kind)}
    layer = kind(**HANDED_ON.get(request.param, {}) | own)
    images = keras.Input(MAPS.get(request.param, (6, 6, 4)))
    return keras.Model(images, layer(images))


def from_config(model, tmp_path):
    images = keras.Input(model.input_shape[1:])
    layer = model.get_layer("a_layer")
    copy = keras.Model(images, type(layer).from_config(layer.get_config())(images))
    copy.set_weights(model.get_weights())
    return copy


def cloned(model, tmp_path):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("again", [from_config, cloned, saved_and_loaded])
@pytest.mark.parametrize("model", LAYERS, indirect=True)
def test_a_layer_that_is_made_again_is_the_same(model, again, tmp_path):
    layer = model.get_layer("a_layer")
    copy = again(model, tmp_path)
    config = layer.get_config()
    assert set(config) >= arguments(type(layer))
    assert copy.get_layer("a_layer").get_config() == config
    for weight, other in zip(model.weights, copy.weights, strict=True):
        assert other.path == weight.path
        assert describe(other) == describe(weight)
        if not weight.name.startswith("moving_"):
            assert describe(weight)["regularizer"]
            assert describe(weight)["constraint"]
    images = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    outputs, others = (tf.cast(one(images), tf.float32) for one in (model, copy))
    np.testing.assert_array_equal(others, outputs)
    for one in (model, copy):
        one.get_layer("a_layer").trainable = True  # as those of fixed weights do not count
    # Of each weight, and of the outputs just now.
    assert len(model.losses) == len(model.trainable_weights) + 1
    assert values(copy.losses) == values(model.losses)


def values(losses):
    return [float(loss) for loss in losses]


def describe(weight):
    """What holds a weight, as Keras writes it down."""
    return {
        "regularizer": keras.regularizers.serialize(weight.regularizer),
        "constraint": keras.constraints.serialize(weight.constraint),
        "trainable": weight.trainable,
        "dtype": weight.dtype,
    }


@pytest.mark.parametrize("again", [cloned, saved_and_loaded])
@pytest.mark.parametrize("name", [*ALEXNETS, "mobilenet_v2"])
def test_a_network_that_is_made_again_keeps_its_weight_decay(name, again, narrow, tmp_path):
    model = narrow(name, weight_decay=5e-4).model
    copy = again(model, tmp_path)
    kernels = [weight for weight in model.weights if weight.regularizer]
    assert kernels
    assert len(model.losses) == len(kernels)
    assert values(copy.losses) == values(model.losses)
