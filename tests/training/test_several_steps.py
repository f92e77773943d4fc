"""Steps in one call are the steps one by one: weights, averages and outcomes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.optimizers import OptimizerSettings
from training.several_steps import SeveralSteps
from training.train_step import TrainStep
from training.training_state import make_training_state

COUNT, BATCH_SIZE = 3, 4
RATES = (0.05, 0.02, 0.01)


def outcome_of(replicas, dtype_policy, together):
    """The values after COUNT steps of `tiny`, and the losses and counts of each."""
    keras.utils.set_random_seed(0)
    strategy = devices.make_strategy(num_replicas=replicas)
    state = make_training_state(
        lambda: nets_factory.get_network_fn("tiny", num_classes=3, dtype_policy=dtype_policy),
        OptimizerSettings(),
        strategy,
        keep_averages=True,
    )
    preprocessing = get_preprocessing("alexnet", is_training=False)
    step = TrainStep(
        state, preprocessing, strategy, batch_size=BATCH_SIZE, moving_average_decay=0.9
    )
    generator = np.random.default_rng(0)
    num_images = COUNT * BATCH_SIZE
    examples = tf.data.Dataset.from_tensor_slices(
        {
            "image": generator.integers(0, 256, (num_images, 32, 32, 3)).astype(np.uint8),
            "label": generator.integers(0, 3, num_images),
            # Of which some are not counted, in each step another number.
            "weight": np.float32(np.arange(num_images) % 5 > 0),
        }
    ).batch(BATCH_SIZE)
    batches = list(strategy.experimental_distribute_dataset(examples))
    if together:
        several = SeveralSteps(step, strategy, COUNT)
        outcome = several(tuple(batches), tf.constant(RATES), tf.constant(7))
    else:
        outcomes = [
            step(batch, tf.constant(rate), tf.constant(7 + number))
            for number, (batch, rate) in enumerate(zip(batches, RATES, strict=True))
        ]
        outcome = {key: tf.stack([one[key] for one in outcomes]) for key in outcomes[0]}
    values = {name: variable.numpy() for name, variable in state.network_fn.variables.items()}
    values |= {f"average of {name}": one.numpy() for name, one in state.averages.items()}
    values |= {variable.path: variable.numpy() for variable in state.optimizer.variables}
    return values, {key: value.numpy() for key, value in outcome.items()}


@pytest.mark.parametrize(
    ("replicas", "dtype_policy"),
    [
        (1, "float32"),
        pytest.param(2, "float32", marks=pytest.mark.slow),
        pytest.param(1, "mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_steps_in_one_call_are_the_steps_one_by_one(replicas, dtype_policy):
    singly, together = (outcome_of(replicas, dtype_policy, one) for one in (False, True))
    for expected, found in zip(singly, together, strict=True):
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert together[1]["loss"].shape == (COUNT,)
    assert len(set(together[1]["loss"])) == COUNT  # each has a batch of its own
    assert together[1]["counted"].tolist() == [3, 3, 3]
