import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.optimizers import OptimizerSettings
from training.train_step import TrainStep
from training.training_state import make_training_state


def make_step(batch_size, replicas=1, weight_decay=5e-4, dtype_policy="float32", **options):
    """A step of `tiny`, its network, and a function that shares a batch among the replicas."""
    strategy = devices.make_strategy(num_replicas=replicas)
    state = make_training_state(
        lambda: nets_factory.get_network_fn("tiny", num_classes=3, dtype_policy=dtype_policy),
        OptimizerSettings(weight_decay=weight_decay),
        strategy,
    )
    preprocessing = get_preprocessing("alexnet", is_training=False)
    step = TrainStep(state, preprocessing, strategy, batch_size=batch_size, **options)

    def shared(batch):
        examples = tf.data.Dataset.from_tensors(batch).unbatch().batch(batch_size)
        return next(iter(strategy.experimental_distribute_dataset(examples)))

    return step, state.network_fn, shared


def make_batch(size=4, weight=None):
    generator = np.random.default_rng(0)
    return {
        "image": tf.constant(generator.integers(0, 256, size=(size, 32, 32, 3)), tf.uint8),
        "label": tf.constant(generator.integers(0, 3, size=size), tf.int64),
        "weight": tf.ones([size]) if weight is None else tf.constant(weight),
    }


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_of_the_logits_before_the_update(smoothing):
    step, network_fn, _ = make_step(batch_size=4, label_smoothing=smoothing, seed=5)
    batch = make_batch()
    images = get_preprocessing("alexnet").device(batch)
    logits, _ = network_fn(
        images, is_training=True, seed=tf.random.experimental.stateless_fold_in([5, 7], 0)
    )
    logits = logits.numpy().astype(np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.eye(3)[batch["label"]] * (1 - smoothing) + smoothing / 3
    outcome = step(batch, tf.constant(0.01), tf.constant(7))
    assert float(outcome["loss"]) == pytest.approx(-(targets * log_softmax).sum(), rel=1e-5)
    assert float(outcome["right"]) == (logits.argmax(axis=1) == batch["label"].numpy()).sum()
    assert float(outcome["counted"]) == 4


def test_an_example_of_weight_0_has_no_influence():
    batches = [make_batch(weight=[1.0, 1.0, 0.0, 1.0]) for _ in range(2)]
    noise = tf.one_hot(2, 4)[:, None, None, None] * 90
    batches[1]["image"] = tf.cast(tf.cast(batches[1]["image"], tf.float32) * 0.6 + noise, tf.uint8)
    weights = []
    for batch in batches:
        batch["image"] = tf.tensor_scatter_nd_update(
            batches[0]["image"], [[2]], batch["image"][2:3]
        )
        step, network_fn, _ = make_step(batch_size=4)
        for name, variable in network_fn.variables.items():
            variable.assign(tf.ones(variable.shape) * (0.01 * len(name)))
        assert float(step(batch, tf.constant(0.1), tf.constant(0))["counted"]) == 3
        weights.append([variable.numpy() for variable in network_fn.variables.values()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_replicas_drop_different_activations():
    """Two replicas with the same image: their losses differ by nothing but what is dropped."""
    losses = []
    image = {key: tf.repeat(value[:1], 2, axis=0) for key, value in make_batch().items()}
    for weight in ([1.0, 0.0], [0.0, 1.0]):  # the loss of one replica, and of the other
        step, network_fn, shared = make_step(batch_size=2, replicas=2)
        generator = np.random.default_rng(1)
        for variable in network_fn.variables.values():
            variable.assign(generator.normal(scale=0.7, size=variable.shape))
        batch = {**image, "weight": tf.constant(weight)}
        losses.append(float(step(shared(batch), tf.constant(0.1), tf.constant(0))["loss"]))
    assert losses[0] != losses[1]


def test_an_overflow_on_any_replica_skips_the_step_on_all():
    step, network_fn, shared = make_step(
        batch_size=2, replicas=2, weight_decay=0.0, dtype_policy="mixed_float16"
    )
    before = {name: variable.numpy() for name, variable in network_fn.variables.items()}
    batch = make_batch(2, weight=[1.0, float("inf")])  # the second replica's loss overflows
    step(shared(batch), tf.constant(0.1), tf.constant(0))
    for name, variable in network_fn.variables.items():
        np.testing.assert_array_equal(variable.numpy(), before[name])
    step(shared(make_batch(2)), tf.constant(0.1), tf.constant(1))
    assert (network_fn.variables["tiny/fc3/weights"].numpy() != before["tiny/fc3/weights"]).any()
