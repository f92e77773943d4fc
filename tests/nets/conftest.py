"""Networks that the tests share, because building one with 61 million parameters takes seconds."""

import functools

import keras
import pytest
import tensorflow as tf

from nets import nets_factory


@pytest.fixture(scope="session")
def built():
    """`built(name)` is that network for 1,000 classes with a weight decay of 5e-4, made once."""
    return functools.cache(
        lambda name: nets_factory.get_network_fn(name, num_classes=1000, weight_decay=5e-4)
    )


@pytest.fixture(scope="session")
def built_for_features():
    """`built_for_features(name)` ends in the mean of its features over positions, made once."""
    return functools.cache(
        lambda name: nets_factory.get_network_fn(name, num_classes=None, global_pool=True)
    )


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
def traced_shapes():
    """Gives the shapes of logits and end points for a size of image, without computing them."""

    def trace(network_fn, height, width=None):
        images = tf.TensorSpec([1, height, width or height, 3])
        logits, end_points = (
            tf.function(network_fn).get_concrete_function(images).structured_outputs
        )
        return tuple(logits.shape), {name: tuple(end_points[name].shape) for name in end_points}

    return trace


@pytest.fixture
def scratch_registry(monkeypatch):
    """Lets a test register networks that no other test sees."""
    entries = nets_factory.networks._entries
    monkeypatch.setattr(nets_factory.networks, "_entries", dict(entries))
