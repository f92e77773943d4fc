import keras
import numpy as np
import pytest
import tensorflow as tf

from nets.batch_normalization import BatchNormalization


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


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_in_bfloat16_outputs_are_narrow_and_statistics_as_the_policy_has_them(policy):
    layer = BatchNormalization(momentum=0.5, dtype=policy)
    outputs = layer(images(dtype=tf.bfloat16), training=True)
    assert outputs.dtype == layer(images(dtype=tf.bfloat16)).dtype == tf.bfloat16
    assert layer.moving_mean.dtype == keras.DTypePolicy(policy).variable_dtype
    expected = BatchNormalization(momentum=0.5)(images(), training=True)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.03)


def test_two_replicas_keep_one_mean_and_each_normalises_its_own_images():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = BatchNormalization(momentum=0.5)
        layer.build([None, 5, 6, 8])
    values = images().numpy()

    @tf.function
    def step():
        def of_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            return layer(tf.constant(values)[2 * number : 2 * number + 2], training=True)

        return strategy.run(of_replica)

    for outputs, own in zip(
        strategy.experimental_local_results(step()), np.split(values, 2), strict=True
    ):
        mean, variance = own.mean(axis=(0, 1, 2)), own.var(axis=(0, 1, 2))
        np.testing.assert_allclose(outputs, normalized(own, mean, variance), atol=1e-5)
    mean = values.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.5 * mean, rtol=1e-5)


def test_it_is_kept_in_a_keras_file(tmp_path):
    inputs = keras.Input([5, 6, 8])
    model = keras.Model(inputs, BatchNormalization(momentum=0.7, name="norm")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("norm")
    assert type(loaded) is BatchNormalization
    assert loaded.momentum == 0.7
