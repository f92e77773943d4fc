import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers
from nets.batch_normalization import BatchNormalization, folded_into_convolutions
from nets.nets_factory import get_network_fn
from nets.separable import DepthwiseConv2D
from training import devices


def images(count=4, dtype=tf.float32):
    generator = np.random.default_rng(0)
    return tf.constant(generator.normal(3, 2, (count, 5, 6, 8)), dtype)


def normalized(values, mean, variance, epsilon=1e-3):
    return (values - mean) / np.sqrt(variance + epsilon)


@pytest.mark.parametrize("scale", [True, False])
def test_in_training_it_normalises_by_the_batch_and_moves_its_statistics(scale):
    layer = BatchNormalization(momentum=0.9, epsilon=1e-3, scale=scale)
    values = images().numpy()
    outputs = layer(values, training=True)
    mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
    np.testing.assert_allclose(outputs, normalized(values, mean, variance), atol=1e-5)
    count = values[..., 0].size
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    bessel = variance * count / (count - 1)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * bessel, rtol=1e-5)
    assert [weight.name for weight in layer.weights] == [
        *(["gamma"] if scale else []),
        *("beta", "moving_mean", "moving_variance"),
    ]


def test_otherwise_it_normalises_by_its_statistics_and_leaves_them():
    layer = BatchNormalization()
    layer.build([None, 5, 6, 8])
    layer.moving_mean.assign(tf.range(8.0))
    layer.moving_variance.assign(tf.range(1.0, 9.0))
    layer.gamma.assign(tf.range(2.0, 10.0))
    layer.beta.assign(tf.range(8.0) / 2)
    values = images().numpy()
    expected = normalized(values, np.arange(8), np.arange(1, 9)) * np.arange(2, 10)
    for trainable, training in ((True, False), (False, True)):
        layer.trainable = trainable
        outputs = layer(values, training=training)
        np.testing.assert_allclose(outputs, expected + np.arange(8) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.arange(8))


def kinds_of(graph):
    return [operation.type for operation in graph.graph.get_operations()]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "convolution",
    [layers.Conv2D(6, 3, 2, "same", use_bias=False), DepthwiseConv2D(3, 2, "same", use_bias=False)],
    ids=lambda layer: layer.name,
)
def test_a_graph_of_evaluation_folds_it_into_the_convolution_before(convolution, dtype):
    convolution = type(convolution).from_config(convolution.get_config() | {"dtype": dtype})
    policy = "float32" if dtype == "float32" else "mixed_bfloat16"
    layer = BatchNormalization(folds_in_float32=True, dtype=policy)
    values = images(dtype=dtype)
    layer(convolution(values))  # builds both
    for variable in layer.weights:
        variable.assign(tf.random.stateless_uniform(variable.shape, [1, 2], 0.5, 1.5))

    def graph_of(folds):
        with folded_into_convolutions(folds):
            return tf.function(lambda values: layer(convolution(values))).get_concrete_function(
                values
            )

    graph = graph_of(True)
    assert "BiasAdd" in kinds_of(graph)
    assert not [kind for kind in kinds_of(graph) if kind.startswith("FusedBatchNorm")]
    assert [kind for kind in kinds_of(graph_of(False)) if kind.startswith("FusedBatchNorm")]
    expected = layer(convolution(values))  # not in a graph
    found, expected = (tf.cast(one, tf.float32) for one in (graph(values), expected))
    tolerance = 1e-5 if dtype == "float32" else 0.01
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_it_is_folded_into_the_one_convolution_that_made_its_inputs():
    values = images()
    pair = [layers.Conv2D(8, 1), layers.Conv2D(8, 1)]
    layer = BatchNormalization(folds_in_float32=True)

    def second():
        return layer(tf.identity_n([convolution(values) for convolution in pair])[1])

    expected = second()
    with folded_into_convolutions():
        np.testing.assert_allclose(tf.function(second)(), expected, atol=1e-5)


@pytest.mark.slow
def test_a_network_folds_in_evaluation_alone():
    network_fn = get_network_fn("mobilenet_v1_025", 3)
    values = tf.zeros([1, 32, 32, 3])
    counts = []
    for is_training in (False, True):
        function = tf.function(lambda x, mode=is_training: network_fn(x, is_training=mode)[0])
        kinds = kinds_of(function.get_concrete_function(values))
        counts.append(sum(kind.startswith("FusedBatchNorm") for kind in kinds))
    assert counts == [0, 27]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_in_bfloat16_outputs_are_narrow_and_statistics_as_the_policy_has_them(policy):
    layer = BatchNormalization(momentum=0.5, dtype=policy)
    outputs = layer(images(dtype=tf.bfloat16), training=True)
    assert outputs.dtype == layer(images(dtype=tf.bfloat16)).dtype == tf.bfloat16
    assert layer.moving_mean.dtype == keras.DTypePolicy(policy).variable_dtype
    expected = BatchNormalization(momentum=0.5)(images(), training=True)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.03)


def trained(values, replicas, synchronized=False, dtype="float32"):
    """Outputs, gradients (inputs', gamma's, beta's) and statistics, of replicas that share values.

    The loss is a sum of outputs, each with a weight of its own.
    """
    values = tf.cast(values, dtype)
    weights = tf.constant(np.random.default_rng(1).normal(size=values.shape), values.dtype)
    strategy = devices.make_strategy(num_replicas=replicas)
    with strategy.scope():
        policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
        layer = BatchNormalization(momentum=0.5, synchronized=synchronized, dtype=policy)
        layer.build(values.shape)

    @tf.function
    def step():
        def of_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            own, own_weights = (
                tf.gather(tf.stack(tf.split(one, replicas)), number) for one in (values, weights)
            )
            with tf.GradientTape() as tape:
                tape.watch(own)
                outputs = layer(own, training=True)
                loss = tf.reduce_sum(outputs * own_weights)
            variables = [layer.gamma.value, layer.beta.value]
            return outputs, *tape.gradient(loss, [own, *variables])

        return strategy.run(of_replica)

    outputs, inputs, gamma, beta = map(strategy.experimental_local_results, step())
    return {
        "outputs": tf.concat(outputs, axis=0),
        "gradients of inputs": tf.concat(inputs, axis=0),
        "gradients of gamma": tf.add_n(gamma),
        "gradients of beta": tf.add_n(beta),
        "moving_mean": layer.moving_mean.numpy(),
        "moving_variance": layer.moving_variance.numpy(),
    }


# Not once, because strategies of one process once disturbed each other where shapes differed.
@pytest.mark.parametrize("channels", [8, 3])
@pytest.mark.parametrize(
    ("dtype", "mean", "tolerance"),
    [
        ("float32", 0, 1e-5),
        ("float32", 1000, 1e-3),  # where a variance from sums of squares is wrong by a hundredth
        ("bfloat16", 0, 0.02),
    ],
)
def test_two_synchronized_replicas_equal_one_of_the_whole_batch(channels, dtype, mean, tolerance):
    values = images()[..., :channels] + mean
    expected = trained(values, replicas=1, dtype=dtype)
    found = trained(values, replicas=2, synchronized=True, dtype=dtype)
    apart = trained(values, replicas=2, dtype=dtype)
    for name, value in expected.items():
        norm = np.linalg.norm(tf.cast(value, tf.float32))
        error = np.linalg.norm(tf.cast(found[name] - value, tf.float32))
        assert error < tolerance * norm, name
    outputs = tf.cast(apart["outputs"] - expected["outputs"], tf.float32)
    assert np.abs(outputs).max() > 0.1


def test_two_replicas_keep_one_mean_and_each_normalises_its_own_images():
    values = images().numpy()
    found = trained(values, replicas=2)
    for outputs, own in zip(np.split(found["outputs"], 2), np.split(values, 2), strict=True):
        mean, variance = own.mean(axis=(0, 1, 2)), own.var(axis=(0, 1, 2))
        np.testing.assert_allclose(outputs, normalized(own, mean, variance), atol=1e-5)
    np.testing.assert_allclose(found["moving_mean"], values.mean(axis=(0, 1, 2)) / 2, rtol=1e-5)


def test_one_replica_may_be_synchronized():
    values = images()
    expected = BatchNormalization()(values, training=True)
    found = BatchNormalization(synchronized=True)(values, training=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_is_kept_in_a_keras_file(tmp_path):
    inputs = keras.Input([5, 6, 8])
    model = keras.Model(inputs, BatchNormalization(momentum=0.7, name="norm")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("norm")
    assert type(loaded) is BatchNormalization
    assert loaded.momentum == 0.7
