import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.hybrid.fully_connected import FullyConnectedStage

DEVICES = ["CPU:0", "CPU:1", "CPU:2"]


def make_layers(hidden=6, outputs=4):
    """Of a model that has run, so that the layers are built."""
    keras.utils.set_random_seed(0)
    images = keras.Input([5])
    layers = [
        keras.layers.Dense(hidden, activation="relu", name="fc6"),
        keras.layers.Dense(hidden, activation="tanh", name="fc7"),
        keras.layers.Dense(outputs, name="fc8"),
        keras.layers.Reshape([outputs]),
    ]
    net = images
    for layer in layers:
        net = layer(net)
    return keras.Model(images, net), layers


@pytest.fixture
def inputs():
    return tf.random.stateless_normal([7, 5], [1, 2])


def test_logits_and_gradients_are_those_of_the_whole(inputs):
    model, layers = make_layers()
    stage = FullyConnectedStage(layers, DEVICES)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = model(inputs)
        loss = tf.reduce_sum(tf.square(logits))
    of_inputs, *of_weights = tape.gradient(loss, [inputs, *(w.value for w in model.weights)])
    for found in stage.logits([inputs] * 3):
        np.testing.assert_allclose(found, logits, atol=1e-6)
    variables = [one for of_layer in stage.variables.values() for one in of_layer]
    losses = [lambda value: tf.reduce_sum(value**2)] * 3
    gradients = stage.gradients([inputs] * 3, losses, stage.weights_now(), variables)
    np.testing.assert_allclose(sum(gradients.of_inputs), of_inputs, rtol=1e-5, atol=1e-5)
    for number, expected in enumerate(of_weights):
        found = np.concatenate([share[number] for share in gradients.of_weights], axis=-1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_variables_that_are_asked_for(inputs):
    model, layers = make_layers()
    layers[1].trainable = False
    stage = FullyConnectedStage(layers, DEVICES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(inputs)))
    wanted = [layers[2].bias, layers[0].kernel]
    expected = tape.gradient(loss, [one.value for one in wanted])
    losses = [lambda value: tf.reduce_sum(value**2)] * 3
    variables = [stage.variables["fc8"][1], stage.variables["fc6"][0]]
    gradients = stage.gradients([inputs] * 3, losses, stage.weights_now(), variables)
    for number, value in enumerate(expected):
        found = np.concatenate([share[number] for share in gradients.of_weights], axis=-1)
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5)


def test_layers_behind_the_last_weights_train_too(inputs):
    """Dropout there drops: here, all but what the seed keeps, in training alone."""
    _, layers = make_layers()
    layers.append(keras.layers.Dropout(0.999, seed=0))
    stage = FullyConnectedStage(layers, DEVICES)
    losses = [lambda value: tf.reduce_sum(value**2)] * 3
    found = stage.gradients([inputs] * 3, losses, stage.weights_now(), [])
    assert np.all(found.logits[0] == 0)
    assert np.all(stage.logits([inputs] * 3)[0] != 0)


def test_each_device_holds_its_units_and_no_others():
    model, layers = make_layers()
    stage = FullyConnectedStage(layers, DEVICES)
    kernel, bias = stage.variables["fc6"]
    assert (kernel.sizes, bias.sizes) == ([2, 2, 2], [2, 2, 2])
    assert stage.variables["fc8"][0].sizes == [2, 1, 1]  # as many classes as there are
    np.testing.assert_array_equal(kernel.numpy(), model.layers[1].kernel.numpy())


def test_of_the_layers_that_were_divided_nothing_is_left():
    model, layers = make_layers()
    kernel = weakref.ref(layers[0].kernel.value)
    stage = FullyConnectedStage(layers, DEVICES)
    del model, layers
    gc.collect()
    assert kernel() is None
    # Of fc6 and fc7 each device has 2 of 6 units, of fc8 the first has 2 of 4.
    assert stage.num_parameters() == (6 * 6 + 6 * 7 + 4 * 7, 2 * 6 + 2 * 7 + 2 * 7)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"hidden": 8},
            r"fc6 has 8 units, which 3 devices cannot share. .*--num_replicas \(2, 4\), or --dist",
        ),
        ({"outputs": 2}, r"fc8 has 2 units, which 3 devices .*--num_replicas \(2\), or --distrib"),
        ({"hidden": 7}, "fc6 has 7 units, which 3 devices cannot share. Give --distribution_strat"),
    ],
)
def test_widths_that_cannot_be_divided_are_said(sizes, message):
    with pytest.raises(ValueError, match=message):
        FullyConnectedStage(make_layers(**sizes)[1], DEVICES)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.BatchNormalization(name="norm"), "norm is a BatchNormalization, whose units"),
        (keras.layers.Conv2D(6, 1, groups=2, name="conv"), "Conv2D of several groups"),
        (keras.layers.SeparableConv2D(6, 1, name="conv"), "conv is a SeparableConv2D, whose units"),
        # As many inputs as outputs, so that only the order of the axes tells.
        (keras.layers.Conv2DTranspose(6, 1, name="conv"), "conv is a Conv2DTranspose, whose units"),
        (keras.layers.Dense(6, "softmax", name="fc"), "Dense with a softmax over all units, whose"),
        (
            keras.layers.Dense(6, name="fc", kernel_constraint=keras.constraints.MaxNorm(1)),
            "fc has the constraint MaxNorm on its kernel, which .* Build the network without it",
        ),
    ],
    ids=["no_units", "groups", "separable", "transposed", "softmax", "constraint"],
)
def test_layers_that_cannot_be_divided_are_said(layer, message):
    layer(keras.Input([1, 1, 6]))
    with pytest.raises(ValueError, match=message):
        FullyConnectedStage([layer], DEVICES)
