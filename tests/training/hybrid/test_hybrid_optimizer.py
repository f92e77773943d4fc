"""Optimizers of one's own over several devices: each updates as on one, or is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import HybridTrainStep
from training.hybrid.schemes import HybridSettings
from training.optimizers import OptimizerSettings, PerVariable, optimizers
from training.train_step import TrainStep
from training.training_state import make_training_state

BATCH_SIZE = 4


class Lion(PerVariable, keras.optimizers.Lion):
    is_elementwise = True


class Lamb(PerVariable, keras.optimizers.Lamb):
    """Its rate depends on the norm of a whole variable."""


class Nadam(PerVariable, keras.optimizers.Nadam):
    """Elementwise, but for a product that it updates once for all variables."""

    is_elementwise = True


class Applying(PerVariable, keras.optimizers.SGD):
    is_elementwise = True

    def apply(self, grads, trainable_variables=None):
        super().apply([tf.sign(one) for one in grads], trainable_variables)


class Scaled(PerVariable, keras.optimizers.SGD):
    is_elementwise = True

    def __init__(self, **options):
        super().__init__(loss_scale_factor=128.0, **options)


def weights_after_steps(optimizer, hybrid=None):
    """Those of `tiny` after three steps with an optimizer, on two devices if `hybrid`."""
    keras.utils.set_random_seed(0)
    strategy = devices.make_strategy("hybrid", 2) if hybrid else devices.make_strategy()
    with optimizers.restored():
        optimizers.register("own")(lambda settings, **options: optimizer(**options))
        state = make_training_state(
            lambda: get_network_fn("tiny", 3, dropout_keep_prob=1.0),
            OptimizerSettings(optimizer="own", weight_decay=0.01),
            strategy,
            hybrid=hybrid,
        )
    arguments = (state, get_preprocessing("cuda_convnet", is_training=False), strategy)
    step = (
        HybridTrainStep(*arguments, hybrid, batch_size=BATCH_SIZE)
        if hybrid
        else TrainStep(*arguments, batch_size=BATCH_SIZE)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, 32, 32, 3))
    examples = {
        "image": pixels.astype(np.uint8),
        "label": np.arange(BATCH_SIZE) % 3,
        "weight": np.ones(BATCH_SIZE, np.float32),
    }
    batches = tf.data.Dataset.from_tensor_slices(examples).batch(BATCH_SIZE)
    batch = next(iter(strategy.experimental_distribute_dataset(batches)))
    for number in range(3):
        step(batch, tf.constant(0.001), tf.constant(number))
    return {name: one.numpy() for name, one in state.network_fn.variables.items()}


def test_an_elementwise_optimizer_takes_the_steps_of_one_device():
    expected = weights_after_steps(Lion)
    found = weights_after_steps(Lion, HybridSettings())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (Lamb, "optimizer Lamb does not say that it is elementwise.* is_elementwise = True"),
        (Nadam, "optimizer Nadam has a method _backend_update_step of its own"),
        (Applying, "optimizer Applying has a method apply of its own"),
        (Scaled, "optimizer Scaled was made with loss_scale_factor, which .*hybrid cannot do"),
    ],
)
def test_what_would_train_otherwise_is_refused(optimizer, message):
    with pytest.raises(ValueError, match=f"{message}.*--distribution_strategy=mirrored"):
        weights_after_steps(optimizer, HybridSettings())
