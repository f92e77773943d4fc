"""Steps over several devices, against those of one."""

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from hybrid_runs import BATCH_SIZE, CLASSES, WITHOUT_DROPOUT, Run, difference, make_batch

from nets.nets_factory import get_network_fn
from training import devices
from training.hybrid.hybrid_step import ACTIVITIES
from training.hybrid.schemes import HybridSettings
from training.optimizers import OptimizerSettings, optimizers
from training.training_state import make_training_state


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
    options = {"network_options": WITHOUT_DROPOUT}
    expected = Run(**options).take()
    found = Run(replicas, HybridSettings(hybrid_scheme=scheme), **options).take()
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    assert difference(found.values(), expected.values()) < 1e-5


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
        "network_options": WITHOUT_DROPOUT,
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
        "network_options": WITHOUT_DROPOUT,
    }
    expected = Run(**options).take()
    found = Run(2, HybridSettings(), **options).take()
    assert difference(found.values(), expected.values()) < 1e-5


@pytest.mark.parametrize("scheme", ["a", "b", "c"])
def test_activities_of_a_pass_are_sent_when_those_of_the_one_before_have_arrived(scheme):
    run = Run(2, HybridSettings(hybrid_scheme=scheme), model="tiny")
    sent = {}
    for operation in graph_of(run).get_operations():
        scope, _, _ = operation.name.partition("/")
        if scope.startswith(ACTIVITIES) and operation.type in ("ConcatV2", "Identity"):
            sent.setdefault(scope, set()).add(operation)
    passes = [sent[name] for name in sorted(sent)]
    assert [len(arrived) for arrived in passes] == ([2] if scheme == "a" else [2, 2])
    for earlier, later in itertools.pairwise(passes):
        for operation in later:
            assert earlier <= needed_by(operation)
    if scheme != "a":  # and the first pass waits for none of the others
        assert not passes[1] & set.union(*map(needed_by, passes[0]))


def graph_of(run):
    """The graph of a step, which is traced and not run."""
    examples = (
        tf.data.Dataset.from_tensors(make_batch(0)).unbatch().batch(BATCH_SIZE, drop_remainder=True)
    )
    spec = run.strategy.experimental_distribute_dataset(examples).element_spec
    return run.step.__call__.get_concrete_function(
        spec, tf.TensorSpec([]), tf.TensorSpec([], tf.int32)
    ).graph


def needed_by(operation):
    """All operations that end before this one begins."""
    found, left = set(), [operation]
    while left:
        operation = left.pop()
        for one in (*(tensor.op for tensor in operation.inputs), *operation.control_inputs):
            if one not in found:
                found.add(one)
                left.append(one)
    return found


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
def test_scopes_are_trained_in_whatever_order_they_are_given():
    options = {
        "trainable_scopes": ["CifarNet/logits", "CifarNet/fc4", "CifarNet/conv1", "CifarNet/fc3"],
        "network_options": WITHOUT_DROPOUT,
    }
    expected = Run(**options).take()
    found = Run(2, HybridSettings(), **options).take()
    assert difference(found.values(), expected.values()) < 1e-5


@pytest.mark.parametrize(
    ("scheme", "dtype_policy", "trainable_scopes"),
    [
        pytest.param("a", "float32", [], id="a"),
        pytest.param("c", "mixed_float16", [], id="c-float16"),
        pytest.param("b", "float32", ["tiny/conv1"], id="b-conv1", marks=pytest.mark.slow),
        pytest.param("c", "float32", ["tiny/fc3"], id="c-fc3", marks=pytest.mark.slow),
    ],
)
def test_gradients_are_clipped_by_the_norm_of_those_of_all_devices(
    scheme, dtype_policy, trainable_scopes
):
    options = {
        "model": "tiny",
        "dtype_policy": dtype_policy,
        "trainable_scopes": trainable_scopes,
        "network_options": WITHOUT_DROPOUT,
    }
    clipping = {"clip_global_norm": 0.01}
    plain = Run(**options).take()
    expected = Run(**options, settings=clipping).take()
    found = Run(2, HybridSettings(hybrid_scheme=scheme), **options, settings=clipping).take()
    assert difference(expected.changes(), plain.changes()) > 0.1  # much was clipped
    tolerance = 1e-5 if dtype_policy == "float32" else 2e-2
    for name, change in expected.changes().items():
        largest = max(np.abs(change).max(), 1e-12)
        assert np.abs(found.changes()[name] - change).max() < tolerance * largest + 1e-7, name


def test_several_updates_of_what_is_not_trained_are_refused():
    settings = HybridSettings(hybrid_scheme="b", fc_updates_per_step=2)
    with pytest.raises(ValueError, match=r"--fc_updates_per_step=2 is for .*none is.*Leave it out"):
        Run(2, settings, model="tiny", trainable_scopes=["tiny/conv1"])


def test_what_keras_does_with_whole_gradients_is_refused():
    """Flags of ours do not ask for it; an optimizer of the user's own may."""

    def clipping(settings, decay, decay_factors, rate_factors, **options):
        return keras.optimizers.SGD(clipnorm=1.0, **options)

    with optimizers.restored():
        optimizers.register("clipping")(clipping)
        with pytest.raises(ValueError, match=r"SGD was made with clipnorm, .*hybrid cannot do"):
            Run(2, HybridSettings(), settings={"optimizer": "clipping"})


@pytest.mark.slow
def test_averages_of_shares_stay_where_the_shares_are():
    run = Run(4, HybridSettings(), averages=True)
    graph = graph_of(run)
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
