import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import assert_equal_values

from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.optimizers import OptimizerSettings
from training.train_step import TrainStep
from training.training_state import make_training_state


def make_step(
    batch_size, replicas=1, dtype_policy="float32", network_options=None, settings=None, **options
):
    """A step of `tiny`, its state, and a function that shares a batch among the replicas."""
    strategy = devices.make_strategy(num_replicas=replicas)
    state = make_training_state(
        lambda: nets_factory.get_network_fn(
            "tiny", num_classes=3, dtype_policy=dtype_policy, **(network_options or {})
        ),
        OptimizerSettings(**(settings or {})),
        strategy,
        keep_averages="moving_average_decay" in options,
    )
    preprocessing = get_preprocessing("alexnet", is_training=False)
    step = TrainStep(state, preprocessing, strategy, batch_size=batch_size, **options)

    def shared(batch):
        examples = tf.data.Dataset.from_tensors(batch).unbatch().batch(batch_size)
        return next(iter(strategy.experimental_distribute_dataset(examples)))

    return step, state, shared


def values_of(state):
    return {name: variable.numpy() for name, variable in state.network_fn.variables.items()}


def make_batch(size=4, weight=None, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "image": tf.constant(generator.integers(0, 256, size=(size, 32, 32, 3)), tf.uint8),
        "label": tf.constant(generator.integers(0, 3, size=size), tf.int64),
        "weight": tf.ones([size]) if weight is None else tf.constant(weight),
    }


def auxiliary(images, num_classes=3):
    """A linear layer for the logits, and one for auxiliary logits."""
    flat = keras.layers.GlobalAveragePooling2D()(images / 64)
    logits = keras.layers.Dense(num_classes, name="logits")(flat)
    aux = keras.layers.Dense(num_classes, name="aux")(flat)
    return logits, {"AuxLogits": aux, "auxiliary/logits": logits}


def test_auxiliary_logits_are_trained_with_two_fifths_of_the_weight(registries_restored):
    nets_factory.register_network(
        first_layer="logits",
        head=("logits", "aux"),
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="alexnet",
    )(auxiliary)
    keras.utils.set_random_seed(0)  # logits that are sure already would hardly move
    strategy = devices.make_strategy()
    state = make_training_state(
        lambda: nets_factory.get_network_fn("auxiliary", num_classes=3),
        OptimizerSettings(optimizer="sgd", learning_rate=0.5, weight_decay=0.0),
        strategy,
    )
    variables = state.network_fn.variables
    for name in ("weights", "biases"):  # both give the same logits
        variables[f"auxiliary/aux/{name}"].assign(variables[f"auxiliary/logits/{name}"])
    before = variables["auxiliary/logits/weights"].numpy()
    step = TrainStep(state, get_preprocessing("alexnet"), strategy, batch_size=4)
    step(make_batch(weight=[1.0, 0.0, 1.0, 1.0]), tf.constant(0.5), tf.constant(0))
    moved = variables["auxiliary/logits/weights"].numpy() - before
    of_auxiliary = variables["auxiliary/aux/weights"].numpy() - before
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(of_auxiliary, 0.4 * moved, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_of_the_logits_before_the_update(smoothing):
    step, state, _ = make_step(batch_size=4, label_smoothing=smoothing, seed=5)
    batch = make_batch()
    images = get_preprocessing("alexnet").device(batch)
    logits, _ = state.network_fn(
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
        step, state, _ = make_step(batch_size=4)
        for name, variable in state.network_fn.variables.items():
            variable.assign(tf.ones(variable.shape) * (0.01 * len(name)))
        assert float(step(batch, tf.constant(0.1), tf.constant(0))["counted"]) == 3
        weights.append(values_of(state))
    assert_equal_values(*weights)


def test_replicas_drop_different_activations():
    """Two replicas with the same image: their losses differ by nothing but what is dropped."""
    losses = []
    image = {key: tf.repeat(value[:1], 2, axis=0) for key, value in make_batch().items()}
    for weight in ([1.0, 0.0], [0.0, 1.0]):  # the loss of one replica, and of the other
        step, state, shared = make_step(batch_size=2, replicas=2)
        generator = np.random.default_rng(1)
        for variable in state.network_fn.variables.values():
            variable.assign(generator.normal(scale=0.7, size=variable.shape))
        batch = {**image, "weight": tf.constant(weight)}
        losses.append(float(step(shared(batch), tf.constant(0.1), tf.constant(0))["loss"]))
    assert losses[0] != losses[1]


def test_an_overflow_on_any_replica_skips_the_step_on_all():
    step, state, shared = make_step(
        batch_size=2, replicas=2, settings={"weight_decay": 0.0}, dtype_policy="mixed_float16"
    )
    before = values_of(state)
    batch = make_batch(2, weight=[1.0, float("inf")])  # the second replica's loss overflows
    step(shared(batch), tf.constant(0.1), tf.constant(0))
    assert_equal_values(values_of(state), before)
    step(shared(make_batch(2)), tf.constant(0.1), tf.constant(1))
    assert (values_of(state)["tiny/fc3/weights"] != before["tiny/fc3/weights"]).any()


@pytest.mark.parametrize(
    ("optimizer", "dtype_policy", "tolerance"),
    [("momentum", "float32", 1e-5), ("adam", "float32", 1e-5), ("momentum", "mixed_float16", 1e-2)],
)
def test_two_replicas_take_the_factors_of_one(optimizer, dtype_policy, tolerance):
    weights = []
    for replicas in (1, 2):
        tf.keras.utils.set_random_seed(0)
        step, state, shared = make_step(
            batch_size=4,
            replicas=replicas,
            dtype_policy=dtype_policy,
            network_options={"dropout_keep_prob": 1.0},
            settings={
                "optimizer": optimizer,
                "learning_rate_factors": ["*/biases=2", "tiny/conv1/*@1=0"],
                "weight_decay_factors": ["*/fc3/*=50"],
            },
        )
        for number in range(4):
            state.set_epoch(number / 2)
            batch = shared(make_batch(seed=number))
            step(batch, tf.constant(0.05), tf.constant(number))
        weights.append(values_of(state))
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("replicas", "dtype_policy"),
    [
        (1, "float32"),
        (2, "float32"),
        pytest.param(2, "mixed_float16", marks=pytest.mark.slow),
    ],
)
def test_gradients_are_clipped_by_the_norm_of_the_whole_batchs(replicas, dtype_policy):
    """Those of two replicas have other norms than their sum, and weight decay is none of them."""
    rate, decay = 0.01, 0.1

    def changes(**settings):
        keras.utils.set_random_seed(0)
        settings = {"optimizer": "momentum", "weight_decay": 0.0, **settings}
        step, state, shared = make_step(4, replicas, dtype_policy, settings=settings)
        before = values_of(state)
        step(shared(make_batch()), tf.constant(rate), tf.constant(0))
        return before, {name: value - before[name] for name, value in values_of(state).items()}

    before, whole = changes()
    norm = np.sqrt(sum(np.square(value / rate).sum() for value in whole.values()))
    assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
    _, below = changes(clip_global_norm=2 * norm)
    _, clipped = changes(clip_global_norm=norm / 4)
    _, decayed = changes(clip_global_norm=norm / 4, weight_decay=decay)
    for name, value in whole.items():
        assert_close(below[name], value)
        assert_close(clipped[name], value / 4)
        decays = 0.0 if name.endswith("biases") else decay
        assert_close(decayed[name], value / 4 - rate * decays * before[name])


def test_a_factor_of_zero_freezes_from_its_epoch_on():
    settings = {"momentum": 0.0, "learning_rate_factors": ["tiny/conv1/*@1=0"]}
    step, state, _ = make_step(batch_size=4, settings=settings)
    values = [values_of(state)]
    for number, epoch in enumerate((0.0, 0.9, 1.0, 1.5)):
        state.set_epoch(epoch)
        step(make_batch(seed=number), tf.constant(0.05), tf.constant(number))
        values.append(values_of(state))
    moves = {
        layer: [
            bool((before[name] != after[name]).any())
            for before, after in itertools.pairwise(values)
        ]
        for layer in ("conv1", "fc2")
        for name in [f"tiny/{layer}/weights"]
    }
    assert moves == {"conv1": [True, True, False, False], "fc2": [True] * 4}


def test_moving_averages_follow_their_recurrence():
    step, state, _ = make_step(batch_size=4, moving_average_decay=0.3)
    expected = {name: value.astype(np.float64) for name, value in values_of(state).items()}
    for number in range(5):
        step(make_batch(seed=number), tf.constant(0.05), tf.constant(number))
        decay = min(0.3, (1 + number) / (10 + number))
        for name, weights in values_of(state).items():
            expected[name] = decay * expected[name] + (1 - decay) * weights
    for name, average in state.averages.items():
        np.testing.assert_allclose(average.numpy(), expected[name], rtol=1e-4, atol=1e-6)
