"""A few steps of a network by one device or several, and how far their weights are apart."""

import keras
import numpy as np
import tensorflow as tf

from nets.nets_factory import get_network_fn
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import make_train_step
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state

BATCH_SIZE = 16
CLASSES = 5

# With it, what several devices compute is what one does.
WITHOUT_DROPOUT = {"dropout_keep_prob": 1.0}


def make_batch(seed):
    generator = np.random.default_rng(seed)
    return {
        "image": tf.constant(generator.integers(0, 256, (BATCH_SIZE, 32, 32, 3)), tf.uint8),
        "label": tf.constant(generator.integers(0, CLASSES, BATCH_SIZE), tf.int64),
        "weight": tf.constant([*[1.0] * (BATCH_SIZE - 1), 0.0]),
    }


class Run:
    """A few steps of a network, by one device or several.

    Attributes:
      losses: of the steps so far.
      initial: values of the network's variables before them.
    """

    def __init__(
        self,
        replicas=1,
        hybrid=None,
        dtype_policy="float32",
        settings=None,
        network_options=None,
        averages=False,
        model="cifarnet",
        **options,
    ):
        keras.utils.set_random_seed(0)
        name = "hybrid" if hybrid else "mirrored"
        self.strategy = devices.make_strategy(name, num_replicas=replicas)
        self.state = make_training_state(
            lambda: get_network_fn(
                model, CLASSES, dtype_policy=dtype_policy, **(network_options or {})
            ),
            OptimizerSettings(**{"weight_decay": 0.004, **(settings or {})}),
            self.strategy,
            hybrid=hybrid,
            keep_averages=averages,
            **options,
        )
        preprocessing = get_preprocessing(
            self.state.network_fn.preprocessing_name, is_training=False
        )
        step_options = {"batch_size": BATCH_SIZE, "moving_average_decay": 0.5 if averages else 0.0}
        self.step = make_train_step(
            self.state, preprocessing, self.strategy, hybrid, **step_options
        )
        if averages:
            self.state.start_averages()
        self.losses = []
        self.initial = self.values()

    def take(self, steps=3, start=0, rate=0.01):
        for number in range(start, start + steps):
            self.take_one(make_batch(number), number, rate)
        return self

    def take_one(self, batch, number=0, rate=0.01):
        """Takes one step and returns its loss."""
        outcome = self.step(self.distributed(batch), tf.constant(rate), tf.constant(number))
        self.losses.append(float(outcome["loss"]))
        return self.losses[-1]

    def distributed(self, batch):
        """The batch, shared among the devices."""
        examples = tf.data.Dataset.from_tensors(batch).unbatch().batch(BATCH_SIZE)
        return next(iter(self.strategy.experimental_distribute_dataset(examples)))

    def values(self):
        return {name: one.numpy() for name, one in self.state.network_fn.variables.items()}

    def changes(self):
        """What the steps so far have added to each variable."""
        return {name: value - self.initial[name] for name, value in self.values().items()}


def weights_after_steps(model, hybrid=None, rate=0.001, **options):
    """Every weight by its name after three steps, of two devices if hybrid."""
    return Run(2 if hybrid else 1, hybrid, model=model, **options).take(rate=rate).values()


def assert_close(found, expected):
    """Whether two sets of weights are the same, but for rounding."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def difference(found, expected):
    """The largest distance of two values of a variable, by the norm of the second."""
    assert list(found) == list(expected)
    return max(
        np.linalg.norm(found[name] - value) / (np.linalg.norm(value) + 1e-9)
        for name, value in expected.items()
    )
