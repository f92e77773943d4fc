"""What tests compare layers with: numbers drawn by a seed, and gradients by differences."""

import numpy as np
import tensorflow as tf


def uniform(*shape, low=-1.0, high=1.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def numpy_gradient(function, x, upstream, step=1e-4):
    """Of `sum(upstream * function(x))`, by central differences in float64."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        difference = function(x + shift) - function(x - shift)
        gradient[index] = (upstream * difference).sum() / (2 * step)
    return gradient


def value_and_gradient(function, x, upstream):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
    return outputs, tape.gradient(outputs, x, tf.cast(upstream, outputs.dtype))
