"""Networks that the tests share, in three forms, because 61 million parameters take seconds."""

import functools
import random

import keras
import pytest
import tensorflow as tf

from nets import layers, nets_factory


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
    """`narrow(name, ...)` is `get_network_fn(name, ...)` with an eighth of the channels.

    For what does not depend on the width. Its last layers are whole, and its initial values are
    the same each time.
    """

    @functools.cache
    def build(name, *arguments, **options):
        heads = nets_factory.networks[name].heads

        def narrowed(layer_class):
            def make(filters, *arguments, name, **options):
                few = filters if name in heads else max(8, filters // 8)
                return layer_class(few, *arguments, name=name, **options)

            return make

        state = random.getstate()
        random.seed(0)  # Keras' initializers draw their seeds from it
        try:
            with pytest.MonkeyPatch.context() as patch:
                for kind in ("Conv2D", "LocallyConnected2D"):
                    patch.setattr(layers, kind, narrowed(getattr(layers, kind)))
                return nets_factory.get_network_fn(name, *arguments, **options)
        finally:
            random.setstate(state)

    return build


@pytest.fixture(scope="session")
def traced_shapes():
    """Gives the shapes of logits and end points for a size of image, without computing them."""

    @functools.cache
    def trace(network_fn, height, width=None):
        images = tf.TensorSpec([1, height, width or height, 3])
        logits, end_points = (
            tf.function(network_fn).get_concrete_function(images).structured_outputs
        )
        return tuple(logits.shape), {name: tuple(end_points[name].shape) for name in end_points}

    return trace
