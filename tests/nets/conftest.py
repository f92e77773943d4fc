"""Networks that the tests share, in three forms, because 61 million parameters take seconds."""

import functools
import random

import keras
import pytest
import tensorflow as tf
from tiny_network import get_narrow_network_fn

from nets import nets_factory


@pytest.fixture(scope="session")
def built():
    """`built(name)` is that network with a weight decay of 5e-4, made once."""
    return functools.cache(lambda name: nets_factory.get_network_fn(name, weight_decay=5e-4))


@pytest.fixture(scope="session")
def outlined():
    """`outlined(name, ...)` is `get_network_fn(name, ...)` whose variables have shapes alone.

    Layers, numbers of parameters and maps are those of the network itself, in no time.
    """

    @functools.cache
    def outline(name, *arguments, **options):
        with keras.StatelessScope(initialize_variables=False):
            return nets_factory.get_network_fn(name, *arguments, **options)

    return outline


@pytest.fixture(scope="session")
def narrow():
    """`narrow(name, ...)` is `get_narrow_network_fn(name, ...)`, made once.

    Its initial values are the same each time.
    """

    @functools.cache
    def build(name, *arguments, **options):
        state = random.getstate()
        random.seed(0)  # Keras' initializers draw their seeds from it
        try:
            return get_narrow_network_fn(name, *arguments, **options)
        finally:
            random.setstate(state)

    return build


@pytest.fixture(scope="session")
def traced_shapes():
    """Gives the shapes of logits and end points for a size of image, without computing them."""

    @functools.cache
    def trace(network_fn, height, width=None):
        images = tf.TensorSpec([1, height, width or height, network_fn.channels])
        logits, end_points = (
            tf.function(network_fn).get_concrete_function(images).structured_outputs
        )
        return tuple(logits.shape), {name: tuple(end_points[name].shape) for name in end_points}

    return trace
