"""A few steps of a small network, on one device or on two that share its last layers."""

import keras
import numpy as np
import tensorflow as tf

from nets.nets_factory import get_network_fn
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import make_train_step
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state

BATCH_SIZE = 8


def make(
    model,
    hybrid=None,
    dtype_policy="float32",
    network_options=None,
    trainable_scopes=(),
    **settings,
):
    """The state, the step and the strategy of a network of three classes; two devices if hybrid."""
    keras.utils.set_random_seed(0)
    strategy = devices.make_strategy("hybrid", 2) if hybrid else devices.make_strategy()
    state = make_training_state(
        lambda: get_network_fn(model, 3, dtype_policy=dtype_policy, **(network_options or {})),
        OptimizerSettings(**{"weight_decay": 0.01, **settings}),
        strategy,
        trainable_scopes=trainable_scopes,
        hybrid=hybrid,
    )
    preprocessing = get_preprocessing(state.network_fn.preprocessing_name, is_training=False)
    step = make_train_step(state, preprocessing, strategy, hybrid, batch_size=BATCH_SIZE)
    return state, step, strategy


def make_batch(strategy):
    """Random pixels, of 32x32 images."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, 32, 32, 3))
    examples = {
        "image": pixels.astype(np.uint8),
        "label": np.arange(BATCH_SIZE) % 3,
        "weight": np.ones(BATCH_SIZE, np.float32),
    }
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(BATCH_SIZE)
    return next(iter(strategy.experimental_distribute_dataset(batches)))


def weights_after_steps(model, hybrid=None, rate=0.001, **options):
    """Every weight by its name, after three steps."""
    state, step, strategy = make(model, hybrid, **options)
    batch = make_batch(strategy)
    for number in range(3):
        step(batch, tf.constant(rate), tf.constant(number))
    return {name: one.numpy() for name, one in state.network_fn.variables.items()}


def assert_close(found, expected):
    """Whether two sets of weights are the same, but for rounding."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
