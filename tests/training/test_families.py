"""A small network of each family of TF-Slim's: its gradients, replicas, and a run that goes on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import assert_equal_values, get_narrow_network_fn

from nets.nets_factory import get_network_fn, networks
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.checkpoints.saving import RunCheckpoints
from training.export.saved_model import ServableClassifier
from training.normalization import NormalizationSettings
from training.optimizers import OptimizerSettings
from training.train_step import TrainStep
from training.training_state import make_training_state

pytestmark = pytest.mark.slow

# name: what builds it, options that make it small, and the size of images.
NETWORKS = {
    "vgg_a": (get_narrow_network_fn, {}, 224),
    "overfeat": (get_narrow_network_fn, {}, 231),
    "inception_v1": (get_network_fn, {}, 64),
    "inception_v3": (get_network_fn, {"depth_multiplier": 0.25}, 299),  # with auxiliary logits
    "inception_resnet_v2": (get_network_fn, {"create_aux_logits": False}, 75),
    "resnet_v1_50": (get_network_fn, {"depth_multiplier": 0.25}, 64),
    "resnet_v2_50": (get_network_fn, {}, 64),
    "nasnet_cifar": (get_network_fn, {"num_cells": 3, "num_conv_filters": 8}, 32),
    "pnasnet_mobile": (get_network_fn, {}, 224),
    "mobilenet_v1_025": (get_network_fn, {}, 64),
    "mobilenet_v2_035": (get_network_fn, {}, 64),
    "mobilenet_v3_small": (get_network_fn, {"depth_multiplier": 0.25}, 64),
    "mobilenet_edgetpu_075": (get_network_fn, {"depth_multiplier": 0.25}, 64),
}
NORMALIZED = [name for name in NETWORKS if name not in ("vgg_a", "overfeat")]
BATCH_SIZE = 4


def make(name, replicas=1, dtype_policy="float32", **normalization):
    """A step without dropout, from the same weights each time, and its state."""
    keras.utils.set_random_seed(0)
    get_fn, options, _ = NETWORKS[name]
    known = networks[name].options
    undropped = {key: 1.0 for key in ("dropout_keep_prob", "drop_path_keep_prob") if key in known}
    strategy = devices.make_strategy(num_replicas=replicas)
    state = make_training_state(
        lambda: get_fn(
            name, 3, is_training=True, dtype_policy=dtype_policy, **options, **undropped
        ),
        OptimizerSettings(weight_decay=0.0),
        strategy,
        normalization=NormalizationSettings(**normalization),
    )
    step = TrainStep(state, get_preprocessing("inception"), strategy, batch_size=BATCH_SIZE)
    return step, state, strategy


def take(step, strategy, name, number=0):
    """A step on a batch of noise that is the same each time."""
    *_, size = NETWORKS[name]
    generator = np.random.default_rng(number)
    images = generator.integers(0, 256, size=(BATCH_SIZE, size, size, 3))
    batch = {
        "image": tf.constant(images, tf.uint8),
        "label": tf.constant(generator.integers(0, 3, size=BATCH_SIZE), tf.int64),
        "weight": tf.ones([BATCH_SIZE]),
    }
    examples = tf.data.Dataset.from_tensor_slices(batch).batch(BATCH_SIZE)
    shared = next(iter(strategy.experimental_distribute_dataset(examples)))
    return step(shared, tf.constant(0.01), tf.constant(number))


def first_gradients(state):
    """What the first step found, which is all that momentum then holds, times -rate."""
    slots = [one.numpy() for one in state.optimizer.variables if "momentum" in one.path]
    return dict(zip(state.trainable, slots, strict=True))


def values_of(state):
    return {name: variable.numpy() for name, variable in state.network_fn.variables.items()}


@pytest.mark.parametrize("dtype_policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_has_a_gradient_and_statistics_move(name, dtype_policy):
    step, state, strategy = make(name, dtype_policy=dtype_policy)
    before = values_of(state)
    outcome = take(step, strategy, name)
    assert np.isfinite(outcome["loss"])
    for variable, gradient in first_gradients(state).items():
        assert np.isfinite(gradient).all(), variable
        assert np.any(gradient != 0), variable
    after = values_of(state)
    statistics = [variable for variable in after if "moving_" in variable]
    assert bool(statistics) == (name in NORMALIZED)
    for variable in statistics:
        assert np.isfinite(after[variable]).all(), variable
        assert np.any(after[variable] != before[variable]), variable


def difference(one, other):
    """The largest distance of two values of a variable, by the norm of the first.

    Of those that are zero but for rounding, it is by a thousandth of the norm of all.
    """
    norms = {name: np.linalg.norm(value) for name, value in one.items()}
    least = 1e-3 * np.linalg.norm(list(norms.values()))
    return max(np.linalg.norm(one[name] - other[name]) / max(norms[name], least) for name in one)


@pytest.mark.slow  # TensorFlow needs seconds to trace sums for every layer
@pytest.mark.parametrize("name", ["mobilenet_v1_025", "resnet_v1_50", "mobilenet_v2_035"])
def test_two_replicas_with_synchronized_statistics_equal_one(name):
    gradients, statistics = {}, {}
    for kind in ((1, False), (1, True), (2, True), (2, False)):
        replicas, synchronized = kind
        # Statistics are then those of the batch.
        step, state, strategy = make(
            name, replicas, sync_batch_norm=synchronized, batch_norm_decay=0.0
        )
        take(step, strategy, name)
        gradients[kind] = first_gradients(state)
        values = values_of(state)
        statistics[kind] = {key: value for key, value in values.items() if "moving_" in key}
    assert difference(statistics[1, False], statistics[2, True]) < 1e-2
    # The fused operation rounds otherwise, and the gradient of ReLU jumps at zero, where the
    # outputs of channels are that are the same everywhere.
    assert difference(gradients[1, True], gradients[2, True]) < 1e-2
    for found in (gradients, statistics):
        assert difference(found[1, False], found[2, False]) > 0.1


# Not of those that take longest; test_every_network.py exports these.
@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if not name.startswith(("inception", "pnasnet"))]
)
def test_a_run_goes_on_as_if_never_stopped_and_its_export_answers_alike(name, tmp_path):
    settings = {"batch_norm_decay": 0.5} if name in NORMALIZED else {}
    step, state, strategy = make(name, **settings)
    take(step, strategy, name)

    def checkpoints(state):
        rate = tf.Variable(1.0, dtype=tf.float64)
        return RunCheckpoints(str(tmp_path), **state.variables_to_save(), learning_rate=rate)

    checkpoints(state).save()
    again, resumed, strategy = make(name, **settings)
    for variable in resumed.network_fn.variables.values():
        variable.assign(variable + 1)
    checkpoints(resumed).resume()
    assert_equal_values(values_of(resumed), values_of(state))
    for one in (step, again):
        take(one, strategy, name, number=1)
    for variable, value in values_of(state).items():
        other = resumed.network_fn.variables[variable].numpy()
        assert np.linalg.norm(other - value) <= 1e-4 * np.linalg.norm(value), variable

    get_fn, options, size = NETWORKS[name]
    network_fn = get_fn(name, 3, **options)
    for variable, value in network_fn.variables.items():
        value.assign(resumed.network_fn.variables[variable])
    evaluating = get_preprocessing(networks[name].preprocessing_name)
    classifier = ServableClassifier(network_fn, evaluating, ["blue", "green", "red"], size)
    folder = str(tmp_path / "saved_model")
    tf.saved_model.save(classifier, folder, signatures=classifier.serving_default)
    images = np.random.default_rng(0).integers(0, 256, (2, 70, 90, 3), dtype=np.uint8)
    reloaded = tf.saved_model.load(folder).signatures["serving_default"](images=tf.constant(images))
    inputs = tf.stack([evaluating(image, size, size) for image in images])
    expected, _ = resumed.network_fn(inputs, is_training=False)
    tolerance = 1e-4 * float(tf.math.reduce_std(expected))
    np.testing.assert_allclose(reloaded["logits"], expected, rtol=1e-4, atol=tolerance)
