import keras
import numpy as np
import pytest

from nets.batch_normalization import BatchNormalization
from nets.nets_factory import get_network_fn, register_network
from training.normalization import NormalizationSettings
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state


@pytest.fixture(autouse=True)
def normalized_is_registered(registries_restored):
    @register_network(
        first_layer="conv1",
        head="fc2",
        default_image_size=16,
        minimum_image_size=16,
        preprocessing="cifarnet",
    )
    def normalized(images, num_classes=3):
        """A layer of ours, and one of Keras', as a user's own network has it."""
        net = keras.layers.Conv2D(4, 3, 2, use_bias=False, name="conv1")(images / 64)
        net = BatchNormalization(momentum=0.9997, name="ours")(net)
        net = keras.layers.BatchNormalization(momentum=0.9, name="keras")(net)
        net = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.ReLU()(net))
        logits = keras.layers.Dense(num_classes, name="fc2")(net)
        return logits, {"normalized/fc2": logits}


def make(name="normalized", trainable_scopes=(), **settings):
    return make_training_state(
        lambda: get_network_fn(name, 3),
        OptimizerSettings(),
        trainable_scopes=trainable_scopes,
        normalization=NormalizationSettings(**settings),
    )


def normalizations(state):
    layers = state.network_fn.layers
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_by_itself_each_layer_is_as_the_network_has_it():
    layers = normalizations(make())
    assert [layer.momentum for layer in layers] == [0.9997, 0.9]
    assert not any(layer.synchronized for layer in layers)


def test_settings_are_of_every_layer():
    layers = normalizations(make(batch_norm_decay=0.75, sync_batch_norm=True))
    assert [layer.momentum for layer in layers] == [0.75, 0.75]
    assert all(layer.synchronized for layer in layers)


def test_statistics_follow_with_the_decay_that_is_given():
    images = np.random.default_rng(0).normal(0, 64, (8, 16, 16, 3)).astype(np.float32)
    moved = {}
    for decay in (0.0, 0.75):
        state = make(batch_norm_decay=decay)
        variables = state.network_fn.variables
        variables["normalized/conv1/weights"].assign(np.ones((3, 3, 3, 4)) / 9)
        state.network_fn(images, is_training=True)
        moved[decay] = variables["normalized/ours/moving_mean"].numpy()
    assert np.abs(moved[0.0]).min() > 1e-3
    np.testing.assert_allclose(moved[0.75], moved[0.0] / 4, rtol=1e-5)


@pytest.mark.parametrize("freezes", [True, False])
def test_what_is_not_trained_keeps_its_statistics_or_moves_them_as_tf_slim_does(freezes):
    state = make(trainable_scopes=["normalized/fc2"], freeze_batch_norm=freezes)
    assert set(state.trainable) == {"normalized/fc2/weights", "normalized/fc2/biases"}
    before = {name: one.numpy() for name, one in state.network_fn.variables.items()}
    images = np.random.default_rng(0).normal(0, 64, (8, 16, 16, 3)).astype(np.float32)
    logits, _ = state.network_fn(images, is_training=True)
    moved = {
        name for name, one in state.network_fn.variables.items() if np.any(before[name] != one)
    }
    statistics = {name for name in before if "moving_" in name}
    assert moved == (set() if freezes else statistics)
    same, _ = state.network_fn(images[:4], is_training=True)
    # By the moving statistics an image has the same logits, whatever the batch is.
    assert np.allclose(logits[:4], same, rtol=1e-3) == freezes


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"sync_batch_norm": True}, "--sync_batch_norm"),
        ({"batch_norm_decay": 0.9}, "--batch_norm_decay"),
        (
            {"sync_batch_norm": True, "batch_norm_decay": 0.9, "freeze_batch_norm": False},
            "--sync_batch_norm and --batch_norm_decay",
        ),
    ],
)
def test_a_network_without_batch_normalization_is_named(settings, flags):
    with pytest.raises(ValueError, match=f"^cifarnet_18pct has no batch norm.*{flags} would be"):
        make("cifarnet_18pct", **settings)
    make("cifarnet_18pct", freeze_batch_norm=False)
