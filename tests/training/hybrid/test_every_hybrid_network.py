"""Every network that says where its convolutional stage ends, over two devices and over one."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import get_narrow_network_fn

from nets.nets_factory import get_network_fn, networks
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import make_train_step
from training.hybrid.schemes import HybridSettings
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state

NAMES = sorted(name for name in networks if networks[name].convolutions_end)


def test_these_are_the_networks_with_fully_connected_layers():
    assert {"alexnet", "alexnet_v2", "vgg_16", "overfeat", "lenet", "cifarnet"} <= set(NAMES)
    assert not {"resnet_v1_50", "inception_v3", "mobilenet_v1", "nasnet_mobile"} & set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_devices_take_the_step_of_one(name):
    values = []
    for hybrid in (None, HybridSettings()):
        keras.utils.set_random_seed(1)
        strategy = devices.make_strategy("hybrid", 2) if hybrid else devices.make_strategy()
        # An eighth of the 1,000 units of this one's fc8 is an odd number.
        build = get_network_fn if name == "alexnet_keras" else get_narrow_network_fn
        state = make_training_state(
            functools.partial(build, name, 6), OptimizerSettings(), strategy, hybrid=hybrid
        )
        network_fn = state.network_fn
        preprocessing = get_preprocessing(network_fn.preprocessing_name, is_training=False)
        step = make_train_step(state, preprocessing, strategy, hybrid, batch_size=4)
        size = network_fn.default_image_size
        pixels = np.random.default_rng(2).integers(0, 256, (4, size, size, network_fn.channels))
        examples = {
            "image": pixels.astype(np.uint8),
            "label": np.arange(4, dtype=np.int64),
            "weight": np.ones(4, np.float32),
        }
        batches = tf.data.Dataset.from_tensor_slices(examples).batch(4)
        batch = next(iter(strategy.experimental_distribute_dataset(batches)))
        loss = step(batch, tf.constant(0.01), tf.constant(0))["loss"]
        weights = {key: one.numpy() for key, one in network_fn.variables.items()}
        values.append({"loss": loss, **weights})
    one_device, two_devices = values
    assert list(one_device) == list(two_devices)
    for key, value in one_device.items():
        scale = np.abs(value).max() + 1e-6
        np.testing.assert_allclose(two_devices[key], value, atol=1e-5 * scale, err_msg=key)
