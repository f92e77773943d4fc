"""Networks of one's own over two devices: each trains as on one, or is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hybrid_runs import BATCH_SIZE, Run, assert_close, make_batch, weights_after_steps

from nets import layers
from nets.batch_normalization import BatchNormalization
from nets.registry import networks, register_network
from training.hybrid.schemes import HybridSettings


@pytest.fixture(autouse=True)
def networks_restored():
    with networks.restored():
        yield


def register(layer_options=None, convolutions_end="pool1", has_auxiliary_logits=False):
    """Registers `small`: a convolution and three layers behind it, with options by their names."""
    options = layer_options or {}

    @register_network(
        first_layer="conv1",
        convolutions_end=convolutions_end,
        head="fc4",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cuda_convnet",
    )
    def small(images, num_classes=1000):
        net = layers.Conv2D(4, 3, 4, name="conv1")(images / 64)
        end_points = {"small/conv1": net}
        net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool1")(net)
        for name, units in (("fc2", 8), ("fc3", 16)):
            net = layers.Conv2D(units, 1, activation="relu", name=name, **options.get(name, {}))(
                net
            )
        if has_auxiliary_logits:
            logits = keras.layers.Dense(num_classes, name="aux")(keras.layers.Flatten()(net))
            end_points["AuxLogits"] = logits
        net = layers.Conv2D(num_classes, 1, name="fc4")(net)
        return layers.SpatialSqueeze(name="squeeze")(net), {**end_points, "small/fc4": net}


@pytest.mark.parametrize("name", ["fc2", "fc3"])
def test_a_layer_that_is_not_trained_stays_as_it_is_and_the_others_are_trained(name):
    register({name: {"trainable": False}})
    expected = weights_after_steps("small", rate=0.1)
    assert_close(weights_after_steps("small", HybridSettings(), rate=0.1), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"has_auxiliary_logits": True},
            "small has layers beside those .* logits: aux\\. .*trains no auxiliary logits",
        ),
        ({"convolutions_end": "squeeze"}, "'squeeze' as its convolutions_end, and no layer behind"),
    ],
    ids=["auxiliary_logits", "nothing_behind"],
)
def test_a_network_that_two_stages_do_not_make_is_refused(options, message):
    register(**options)
    with pytest.raises(ValueError, match=f"{message}.*--distribution_strategy=mirrored"):
        weights_after_steps("small", HybridSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"hybrid_scheme": "z"}, "Unknown --hybrid_scheme 'z'"), ({"fc_updates_per_step": 2}, "is 2")],
)
def test_settings_that_do_not_fit_are_refused_in_python_too(settings, message):
    register()
    with pytest.raises(ValueError, match=message):
        weights_after_steps("small", HybridSettings(**settings))


@pytest.mark.parametrize(
    ("scheme", "updates", "casts"), [("a", 1, 1), ("b", 1, 1), ("c", 1, 1), ("c", 2, 2)]
)
def test_the_weights_of_a_share_are_cast_once_an_update(scheme, updates, casts):
    register()
    hybrid = HybridSettings(hybrid_scheme=scheme, fc_updates_per_step=updates)
    run = Run(2, hybrid, model="small", dtype_policy="mixed_bfloat16")
    graph = run.step.__call__.get_concrete_function(
        run.distributed(make_batch(0)), tf.TensorSpec([]), tf.TensorSpec([], tf.int32)
    ).graph
    places = [
        operation.device[-5:]
        for operation in graph.get_operations()
        if operation.type == "Cast"
        and operation.outputs[0].dtype == tf.bfloat16
        and operation.outputs[0].shape == [1, 1, 8, 8]  # half of fc3's 16 units
    ]
    assert sorted(places) == ["CPU:0"] * casts + ["CPU:1"] * casts


def evaluation(network_fn, strategy):
    """A graph that gives the logits of all images."""
    return tf.function(
        lambda images: strategy.gather(
            strategy.run(lambda own: network_fn(own, is_training=False)[0], (images,)), axis=0
        )
    )


def test_in_evaluation_normalisation_is_folded_into_the_convolutions():
    """As a network on one device has it; outputs are the same."""

    @register_network(
        first_layer="conv1",
        convolutions_end="pool1",
        head="fc2",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cuda_convnet",
    )
    def normalized(images, num_classes=1000):
        net = layers.Conv2D(4, 3, 4, use_bias=False, name="conv1")(images / 64)
        net = BatchNormalization(folds_in_float32=True, name="norm1")(net)
        net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool1")(net)
        net = layers.Conv2D(num_classes, 1, name="fc2")(net)
        return layers.SpatialSqueeze(name="squeeze")(net), {"normalized/fc2": net}

    images = tf.random.stateless_uniform([BATCH_SIZE, 32, 32, 3], [1, 2], -128, 128)
    logits = []
    for hybrid in (None, HybridSettings()):
        run = Run(2 if hybrid else 1, hybrid, model="normalized")
        batch = run.distributed(images)
        graph = evaluation(run.state.network_fn, run.strategy).get_concrete_function(batch)
        kinds = {operation.type for operation in graph.graph.get_operations()}
        assert not [kind for kind in kinds if kind.startswith("FusedBatchNorm")]
        logits.append(graph(batch))
    np.testing.assert_allclose(*logits, atol=1e-5)


def test_it_is_called_in_evaluation_and_without_options():
    register()
    network_fn = Run(2, HybridSettings(), model="small").state.network_fn
    with pytest.raises(TypeError, match="is called in evaluation alone"):
        network_fn(tf.zeros([1, 32, 32, 3]), is_training=True)
    with pytest.raises(TypeError, match="leave out reuse"):
        network_fn(tf.zeros([1, 32, 32, 3]), reuse=True)
