"""ReLU and ReLU6 in bfloat16, against TensorFlow's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets.activations import Activation

VALUES = [-np.inf, -200.0, -3.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 5.9, 6.0, 6.1, 200.0, np.inf]


def value_and_gradient(function, values, upstream):
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = function(values)
    return outputs, tape.gradient(outputs, values, output_gradients=upstream)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_values_and_gradients_are_those_of_tensorflow(name, dtype):
    values = tf.constant(VALUES, dtype)
    upstream = tf.cast(tf.range(1, len(VALUES) + 1), dtype)
    layer = Activation(name, dtype=dtype)
    ours = value_and_gradient(lambda one: layer(one, training=True), values, upstream)
    theirs = value_and_gradient(getattr(tf.nn, name), values, upstream)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        np.testing.assert_array_equal(tf.cast(one, tf.float32), tf.cast(other, tf.float32))
    np.testing.assert_array_equal(layer(values), theirs[0])


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_gradients_have_gradients(name):
    values = tf.constant([-1.0, 0.5, 2.0, 7.0], tf.bfloat16)
    layer = Activation(name, dtype="bfloat16")
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            total = tf.reduce_sum(tf.square(layer(values, training=True)))
        first = inner.gradient(total, values)
    second = outer.gradient(first, values)
    np.testing.assert_array_equal(second, [0, 2, 2, 2 if name == "relu" else 0])


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_what_is_no_number_stays_none(name):
    values = tf.constant([np.nan, -np.nan], tf.bfloat16)
    outputs = Activation(name, dtype="bfloat16")(values, training=True)
    assert np.isnan(tf.cast(outputs, tf.float32)).all()


def test_it_is_kept_in_a_configuration():
    layer = Activation("relu6", name="clip")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is Activation
    assert again.activation is keras.activations.relu6
