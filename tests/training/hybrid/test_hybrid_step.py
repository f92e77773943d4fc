"""Steps over several devices, against those of one."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers
from nets.nets_factory import get_network_fn
from nets.registry import networks, register_network
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import HybridTrainStep
from training.hybrid.schemes import HybridSettings
from training.optimizers import OptimizerSettings, optimizers
from training.train_step import TrainStep
from training.training_state import make_training_state

BATCH_SIZE = 16
CLASSES = 5


def make_batch(seed):
    generator = np.random.default_rng(seed)
    return {
        "image": tf.constant(generator.integers(0, 256, (BATCH_SIZE, 32, 32, 3)), tf.uint8),
        "label": tf.constant(generator.integers(0, CLASSES, BATCH_SIZE), tf.int64),
        "weight": tf.constant([*[1.0] * (BATCH_SIZE - 1), 0.0]),
    }


class Run:
    """A few steps of cifarnet, by one device or several."""

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
        if hybrid:
            self.step = HybridTrainStep(
                self.state, preprocessing, self.strategy, hybrid, **step_options
            )
        else:
            self.step = TrainStep(self.state, preprocessing, self.strategy, **step_options)
        if averages:
            self.state.start_averages()
        self.losses = []

    def take(self, steps=3, start=0, rate=0.01):
        for number in range(start, start + steps):
            examples = tf.data.Dataset.from_tensors(make_batch(number)).unbatch().batch(BATCH_SIZE)
            batch = next(iter(self.strategy.experimental_distribute_dataset(examples)))
            outcome = self.step(batch, tf.constant(rate), tf.constant(number))
            self.losses.append(float(outcome["loss"]))
        return self

    def values(self):
        return {name: one.numpy() for name, one in self.state.network_fn.variables.items()}


def difference(found, expected):
    """The largest distance of two values of a variable, by the norm of the second."""
    assert list(found) == list(expected)
    return max(
        np.linalg.norm(found[name] - value) / (np.linalg.norm(value) + 1e-9)
        for name, value in expected.items()
    )


@pytest.mark.parametrize(
    ("scheme", "replicas"),
    [
        ("c", 2),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [("a", 2), ("a", 4), ("b", 2), ("b", 4), ("c", 4)]
        ),
    ],
)
def test_without_dropout_each_scheme_takes_the_steps_of_one_device(scheme, replicas):
    options = {"network_options": {"dropout_keep_prob": 1.0}}
    expected = Run(**options).take()
    found = Run(replicas, HybridSettings(hybrid_scheme=scheme), **options).take()
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    assert difference(found.values(), expected.values()) < 1e-5


@pytest.mark.slow
def test_in_scheme_a_activations_are_dropped_as_on_one_device():
    np.testing.assert_allclose(
        Run(2, HybridSettings()).take().losses, Run().take().losses, rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["b", "c"])
def test_with_dropout_each_pass_draws_its_own(scheme):
    losses = Run(2, HybridSettings(hybrid_scheme=scheme)).take().losses
    assert np.isfinite(losses).all()
    assert losses == Run(2, HybridSettings(hybrid_scheme=scheme)).take().losses
    assert losses != Run(2, HybridSettings()).take().losses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adam", {"optimizer": "adam", "learning_rate_factors": ["*/biases=2", "*/fc4/*=0"]}),
        ("rmsprop", {"optimizer": "rmsprop", "weight_decay_factors": ["*/fc4/weights=9"]}),
        ("sgd", {"optimizer": "sgd", "weight_decay": 0.1}),
    ],
)
def test_other_optimizers_factors_averages_and_training_of_parts(name, settings):
    options = {
        "settings": settings,
        "averages": True,
        "trainable_scopes": ["CifarNet/conv2", "CifarNet/fc4", "CifarNet/logits"],
        "network_options": {"dropout_keep_prob": 1.0},
    }
    expected = Run(**options).take()
    found = Run(4, HybridSettings(hybrid_scheme="c"), **options).take()
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-4)
    assert difference(found.values(), expected.values()) < 1e-4
    averages = [
        {key: one.numpy() for key, one in run.state.averages.items()} for run in (found, expected)
    ]
    assert difference(*averages) < 1e-4


@pytest.mark.slow
def test_the_fully_connected_layers_alone_can_be_trained():
    options = {
        "trainable_scopes": ["CifarNet/logits"],
        "network_options": {"dropout_keep_prob": 1.0},
    }
    expected = Run(**options).take()
    found = Run(2, HybridSettings(), **options).take()
    assert difference(found.values(), expected.values()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_as_replicas_do(policy):
    options = {"network_options": {"dropout_keep_prob": 1.0}, "dtype_policy": policy}
    expected = Run(2, **options).take()
    found = Run(2, HybridSettings(), **options).take()
    np.testing.assert_allclose(found.losses, expected.losses, rtol=0.02)
    taken = [
        {one.path.split("/")[-1]: one for one in run.state.optimizer.variables}["iteration"].numpy()
        for run in (found, expected)
    ]
    assert taken[0] == taken[1] == 3


def test_weights_and_momentum_are_divided_among_the_devices():
    run = Run(4, HybridSettings()).take(1)
    fc3 = run.state.network_fn.variables["CifarNet/fc3/weights"]
    paths = {one.path: one for one in run.state.optimizer.variables}
    (momentum,) = (one for path, one in paths.items() if "fc3_kernel" in path)
    for variable in (fc3, momentum):
        assert variable.shape[-1] == 384
        assert [shard.shape[-1] for shard in variable.shards] == [96] * 4
        places = [shard.value.device[-5:] for shard in variable.shards]
        assert places == [f"CPU:{number}" for number in range(4)]
    logits = run.state.network_fn.variables["CifarNet/logits/biases"]
    assert logits.sizes == [2, 1, 1, 1]


@pytest.mark.slow
def test_variable_batch_updates_the_fully_connected_layers_after_each_part():
    """By hand: two steps of the layers after pool2, with one of the convolutions."""
    options = {
        "network_options": {"dropout_keep_prob": 1.0},
        "settings": {"optimizer": "sgd", "weight_decay": 0.0},
    }
    hybrid = HybridSettings(hybrid_scheme="b", fc_updates_per_step=2)
    run = Run(2, hybrid, **options).take(1, rate=0.1)
    batch = make_batch(0)
    network_fn = Run(**options).state.network_fn
    variables = network_fn.variables
    ends = [name for name in variables if "/conv" not in name]
    of_convolutions = {name: 0.0 for name in variables if name not in ends}
    images = get_preprocessing("cifarnet").device(batch)
    before = {name: variables[name].numpy() for name in of_convolutions}
    for part in (slice(0, 8), slice(8, 16)):
        with tf.GradientTape() as tape:
            logits, _ = network_fn(images[part], is_training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"][part], logits)
            loss = tf.reduce_sum(losses * batch["weight"][part]) / 8
        gradients = tape.gradient(loss, {name: one.value for name, one in variables.items()})
        for name in ends:
            variables[name].assign_sub(0.1 * gradients[name])
        for name in of_convolutions:
            of_convolutions[name] += gradients[name] / 2
    for name, gradient in of_convolutions.items():
        variables[name].assign(before[name] - 0.1 * 2 * gradient)
    expected = {name: one.numpy() for name, one in variables.items()}
    assert difference(run.values(), expected) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hybrid", "scopes"),
    [
        (HybridSettings(), ()),
        (HybridSettings(hybrid_scheme="b", fc_updates_per_step=2), ()),
        (HybridSettings(), ("CifarNet/fc4", "CifarNet/logits")),
    ],
    ids=["one_update", "two_updates", "fully_connected_alone"],
)
def test_steps_whose_gradients_overflow_are_left_out_until_the_scale_fits(hybrid, scopes):
    options = {"network_options": {"dropout_keep_prob": 1.0}, "trainable_scopes": scopes}
    run = Run(2, hybrid, "mixed_float16", **options)
    scale = run.state.optimizer._of_whole.dynamic_scale
    scale.assign(2.0**24)
    before = run.values()
    run.take(1)
    for name, value in run.values().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert float(scale.numpy()) == 2.0**23
    run.take(12, start=1)
    assert 1 < float(scale.numpy()) < 2.0**20
    assert np.isfinite(run.losses).all()
    after = run.values()
    assert all(np.isfinite(value).all() for value in after.values())
    assert not np.array_equal(after["CifarNet/fc4/weights"], before["CifarNet/fc4/weights"])


@pytest.mark.slow
def test_scopes_are_trained_in_whatever_order_they_are_given():
    options = {
        "trainable_scopes": ["CifarNet/logits", "CifarNet/fc4", "CifarNet/conv1", "CifarNet/fc3"],
        "network_options": {"dropout_keep_prob": 1.0},
    }
    expected = Run(**options).take()
    found = Run(2, HybridSettings(), **options).take()
    assert difference(found.values(), expected.values()) < 1e-5


def test_what_keras_does_with_whole_gradients_is_refused():
    """No flag of ours asks for it; an optimizer of the user's own may."""

    def clipping(settings, decay, decay_factors, rate_factors, **options):
        return keras.optimizers.SGD(clipnorm=1.0, **options)

    with optimizers.restored():
        optimizers.register("clipping")(clipping)
        with pytest.raises(ValueError, match=r"SGD was made with clipnorm, .*hybrid cannot do"):
            Run(2, HybridSettings(), settings={"optimizer": "clipping"})


@pytest.mark.slow
def test_with_all_updates_deferred_it_is_data_parallelism():
    options = {"network_options": {"dropout_keep_prob": 1.0}}
    expected = Run(2, **options).take(5)
    found = Run(2, HybridSettings(hybrid_scheme="b"), **options).take(5)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    assert difference(found.values(), expected.values()) < 1e-6


@pytest.mark.slow
def test_layers_that_drop_in_the_convolutional_stage_draw_from_the_seed_of_the_step():
    def dropping(images, num_classes=1000):
        net = layers.Conv2D(4, 3, 4, name="conv1")(images)
        net = layers.Dropout(0.5, name="dropout1")(net)
        net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool1")(net)
        end_points = {"dropping/conv1": net}
        net = layers.Conv2D(num_classes, 1, name="fc2")(net)
        return layers.SpatialSqueeze(name="squeeze")(net), {**end_points, "dropping/fc2": net}

    register = register_network(
        first_layer="conv1",
        convolutions_end="pool1",
        head="fc2",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cifarnet",
    )
    with networks.restored():
        register(dropping)
        expected = Run(2, model="dropping").take(2)
        found = Run(2, HybridSettings(), model="dropping").take(2)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    assert difference(found.values(), expected.values()) < 1e-5


@pytest.mark.slow
def test_averages_of_shares_stay_where_the_shares_are():
    run = Run(4, HybridSettings(), averages=True)
    examples = (
        tf.data.Dataset.from_tensors(make_batch(0)).unbatch().batch(BATCH_SIZE, drop_remainder=True)
    )
    spec = run.strategy.experimental_distribute_dataset(examples).element_spec
    graph = run.step.__call__.get_concrete_function(
        spec, tf.TensorSpec([]), tf.TensorSpec([], tf.int32)
    ).graph
    placed = {inner.op.name: source.device[-5:] for source, inner in graph.captures}
    shards = [
        shard
        for one in run.state.averages.values()
        if hasattr(one, "shards")
        for shard in one.shards
    ]
    handles = {id(shard.value.handle): shard.value.device[-5:] for shard in shards}
    names = {
        inner.op.name: handles[id(source)]
        for source, inner in graph.captures
        if id(source) in handles
    }
    assigned = [
        operation
        for operation in graph.get_operations()
        if operation.type == "AssignVariableOp" and operation.inputs[0].op.name in names
    ]
    assert len(assigned) == len(shards) == 4 * 6
    for operation in assigned:
        value = operation.inputs[1].op
        assert value.device[-5:] == placed[operation.inputs[0].op.name]


def test_nothing_keeps_weights_that_are_whole():
    keras.utils.set_random_seed(0)
    kernels = []

    def build():
        network_fn = get_network_fn("cifarnet", CLASSES)
        kernels.append(weakref.ref(network_fn.variables["CifarNet/fc3/weights"].value))
        return network_fn

    strategy = devices.make_strategy("hybrid", 2)
    state = make_training_state(build, OptimizerSettings(), strategy, hybrid=HybridSettings())
    gc.collect()
    assert [kernel() for kernel in kernels] == [None]
    assert state.network_fn.model.count_params() == 1_755_461


@pytest.mark.slow
@pytest.mark.parametrize("side", [24, 64])
def test_images_of_a_size_that_does_not_fit_are_refused_as_on_one_device(side):
    messages = []
    for hybrid in (None, HybridSettings()):
        run = Run(2, hybrid, model="lenet")
        batch = {**make_batch(0), "image": tf.zeros([BATCH_SIZE, side, side, 1], tf.uint8)}
        examples = tf.data.Dataset.from_tensors(batch).unbatch().batch(BATCH_SIZE)
        batch = next(iter(run.strategy.experimental_distribute_dataset(examples)))
        with pytest.raises(ValueError, match="lenet") as refused:
            run.step(batch, tf.constant(0.1), tf.constant(0))
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
