"""Each layer against plain NumPy, written from the formula and not from the code under test."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from numerical import numpy_gradient, uniform, value_and_gradient

from nets import layers


def numpy_convolution(x, kernel, padding=0):
    size = kernel.shape[0]
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    height, width = (n - size + 1 for n in x.shape[1:3])
    outputs = np.empty((x.shape[0], height, width, kernel.shape[3]))
    for row, column in np.ndindex(height, width):
        window = x[:, row : row + size, column : column + size]
        outputs[:, row, column] = np.tensordot(window, kernel, axes=3)
    return outputs


def numpy_two_towers(x, kernel, padding):
    """The 2012 network's groups: each tower sees its half of the channels."""
    inputs, filters = x.shape[-1] // 2, kernel.shape[-1] // 2
    left = numpy_convolution(x[..., :inputs], kernel[..., :filters], padding)
    right = numpy_convolution(x[..., inputs:], kernel[..., filters:], padding)
    return np.concatenate([left, right], axis=-1)


# Convolution


def test_two_groups_equal_two_towers_in_value_and_gradient():
    x = uniform(2, 5, 4, 4)
    kernel = uniform(3, 3, 2, 6, seed=1)
    layer = layers.Conv2D(6, 3, padding="same", groups=2, bias_initializer="ones")
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    upstream = uniform(2, 5, 4, 6, seed=2)
    inputs = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs * upstream)
    input_gradient, kernel_gradient, bias_gradient = tape.gradient(
        loss, [inputs, layer.kernel.value, layer.bias.value]
    )
    np.testing.assert_allclose(outputs, numpy_two_towers(x, kernel, 1) + 1, atol=1e-5)
    by_inputs = numpy_gradient(lambda x: numpy_two_towers(x, kernel, 1), x, upstream)
    np.testing.assert_allclose(input_gradient, by_inputs, atol=1e-5)
    by_kernel = numpy_gradient(lambda kernel: numpy_two_towers(x, kernel, 1), kernel, upstream)
    np.testing.assert_allclose(kernel_gradient, by_kernel, atol=1e-5)
    np.testing.assert_allclose(bias_gradient, upstream.sum(axis=(0, 1, 2)), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "padding"), [(11, 4, "valid"), (5, 1, "same"), (3, 2, "same")]
)
def test_convolution_equals_that_of_keras(groups, kernel_size, strides, padding):
    options = {"groups": groups, "activation": "relu", "bias_initializer": "random_normal"}
    ours = layers.Conv2D(8, kernel_size, strides, padding, **options)
    theirs = keras.layers.Conv2D(8, kernel_size, strides, padding, **options)
    x = uniform(2, 23, 19, 4)
    expected = theirs(x)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(23, 19), (24, 28), (25, 22), (11, 12)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(11, 4), ((3, 5), 2), (2, 3)])
def test_a_bfloat16_convolution_of_blocks_of_pixels_equals_that_of_pixels(
    size, kernel_size, stride
):
    # Whole numbers whose sums stay under 256, so that bfloat16 rounds nothing.
    generator = np.random.default_rng(0)
    x = tf.constant(generator.integers(-1, 2, size=(2, *size, 3)), tf.float32)
    layer = layers.Conv2D(6, kernel_size, stride, dtype="mixed_bfloat16")
    layer.build(x.shape)
    layer.kernel.assign(generator.integers(-1, 2, size=layer.kernel.shape))

    def outputs_and_gradients(convolve):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = convolve(x)
        upstream = tf.cast(tf.random.stateless_uniform(outputs.shape, [1, 2]) < 0.1, outputs.dtype)
        return outputs, *tape.gradient(outputs, [x, layer.kernel.value], upstream)

    ours = outputs_and_gradients(layer)
    theirs = outputs_and_gradients(lambda x: tf.nn.conv2d(x, layer.kernel, stride, "VALID"))
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(other).max() < 256
        np.testing.assert_array_equal(tf.cast(one, tf.float32), other)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_kernel_as_large_as_its_input_gives_what_a_convolution_gives(groups):
    x = tf.constant(uniform(3, 6, 5, 8), tf.float32)
    layer = layers.Conv2D(10, (6, 5), groups=groups, bias_initializer="random_normal")
    layer.build(x.shape)
    # One more column, of zeros, makes it a convolution with two positions.
    wider = layer(tf.pad(x, [[0, 0], [0, 0], [0, 1], [0, 0]]))
    assert layer(x).shape == (3, 1, 1, 10)
    np.testing.assert_allclose(layer(x), wider[:, :, :1], atol=1e-5)
    if groups == 1:
        direct = tf.nn.conv2d(x, layer.kernel, 1, "VALID") + layer.bias
        np.testing.assert_allclose(layer(x), direct, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_relu_in_bfloat16_has_the_gradient_of_relu(groups):
    values = [-200.0, -3.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 200.0]
    identity = np.tile(np.eye(len(values) // groups), groups)[np.newaxis, np.newaxis]
    x = tf.constant([[[values]]], tf.bfloat16)
    layer = layers.Conv2D(len(values), 1, groups=groups, activation="relu", dtype="bfloat16")
    layer.build(x.shape)
    layer.set_weights([identity, np.zeros(len(values))])
    upstream = uniform(*x.shape, low=-1)
    ours, theirs = (value_and_gradient(function, x, upstream) for function in (layer, tf.nn.relu))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(tf.cast(one, tf.float32), tf.cast(other, tf.float32))


# Dropout


def test_the_same_seed_gives_the_same_mask_in_a_graph_too():
    layer = layers.Dropout(0.5, name="dropout6")

    @tf.function
    def drop(seed):
        with layers.dropout_seed(seed):
            return layer(tf.ones([4, 100]), training=True)

    first, again, other = drop(tf.constant([1, 2])), drop(tf.constant([1, 2])), drop([1, 3])
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    with layers.dropout_seed(tf.constant([1, 2])):
        np.testing.assert_array_equal(layer(tf.ones([4, 100]), training=True), first)


def test_layers_of_different_names_draw_different_masks_from_one_seed():
    with layers.dropout_seed(tf.constant([1, 2])):
        six, seven = (
            layers.Dropout(0.5, name=name)(tf.ones([4, 1000]), training=True).numpy() > 0
            for name in ("dropout6", "dropout7")
        )
    # Independent masks agree on half of the 4,000 activations, give or take 5 deviations.
    assert abs((six == seven).mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_without_a_seed_each_call_draws_anew_in_a_graph_too():
    layer = layers.Dropout(0.5)
    drop = tf.function(lambda: layer(tf.ones([100]), training=True))
    assert len({drop().numpy().tobytes() for _ in range(4)}) == 4
    assert len({layer(tf.ones([100]), training=True).numpy().tobytes() for _ in range(4)}) == 4


def test_a_seed_ends_with_its_block_and_stays_in_its_thread():
    layer = layers.Dropout(0.5)
    elsewhere = []

    def drop():
        return layer(tf.ones([100]), training=True).numpy().tobytes()

    with layers.dropout_seed(tf.constant([1, 2])):
        outer = drop()
        with layers.dropout_seed(tf.constant([3, 4])):
            assert drop() != outer
        assert drop() == outer
        thread = threading.Thread(target=lambda: elsewhere.extend([drop(), drop()]))
        thread.start()
        thread.join()
    assert len({outer, drop(), *elsewhere}) == 4


@pytest.mark.parametrize("keep_prob", [0.5, 0.8])
@pytest.mark.parametrize("rescale", [True, False])
def test_dropout_keeps_its_share_and_scales_in_one_mode_only(keep_prob, rescale):
    layer = layers.Dropout(keep_prob, rescale_in_training=rescale)
    x = uniform(100, 200, low=1, high=2).astype(np.float32)
    with layers.dropout_seed(tf.constant([1, 2])):
        trained = layer(x, training=True).numpy()
    kept = trained != 0
    deviation = np.sqrt(keep_prob * (1 - keep_prob) / x.size)
    assert abs(kept.mean() - keep_prob) < 5 * deviation
    # The 2012 paper scales at test time, TF-Slim and Keras in training.
    np.testing.assert_allclose(trained[kept], (x / keep_prob if rescale else x)[kept], rtol=1e-6)
    np.testing.assert_allclose(layer(x), x if rescale else x * keep_prob, rtol=1e-6)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_keeping_everything_changes_nothing(rescale, training):
    layer = layers.Dropout(1.0, rescale_in_training=rescale)
    x = uniform(4, 5).astype(np.float32)
    np.testing.assert_array_equal(layer(x, training=training), x)


@pytest.mark.parametrize("keep_prob", [0, -0.5, 1.5, np.nan])
def test_a_share_that_is_none_is_refused(keep_prob):
    with pytest.raises(ValueError, match=rf"dropout_keep_prob is {keep_prob}; .* \(0, 1\]"):
        layers.Dropout(keep_prob)


# Padding and squeezing


@pytest.mark.parametrize("size", range(224, 232))
def test_padding_lets_the_last_window_read_every_pixel(size):
    layer = layers.PadToWholeStrides(11, 4)
    x = tf.ones([1, size, size + 1, 1])
    outputs = layer(x)
    # The paper's 55 positions are 1 + ceil((224 - 11) / 4).
    for axis, given in ((1, size), (2, size + 1)):
        assert (outputs.shape[axis] - 11) / 4 == np.ceil((given - 11) / 4)
    assert layer.compute_output_shape(x.shape) == tuple(outputs.shape)
    np.testing.assert_array_equal(outputs[:, :size, : size + 1], x)
    assert np.sum(outputs) == size * (size + 1), "what is added is not zero"
    dynamic = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 1])])
    np.testing.assert_array_equal(dynamic(x), outputs)


def test_padding_adds_three_rows_and_columns_to_224_and_none_to_227():
    layer = layers.PadToWholeStrides(11, 4)
    assert layer.compute_output_shape((None, 224, 227, 3)) == (None, 227, 227, 3)
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 3)


def test_squeezing_more_than_one_position_says_what_to_ask_for():
    squeeze = layers.SpatialSqueeze()
    assert squeeze(tf.ones([2, 1, 1, 5])).shape == (2, 5)
    assert squeeze.compute_output_shape((None, None, None, 5)) == (None, 5)
    with pytest.raises(ValueError, match=r"2x1 positions.*global_pool=True.*squeeze=False"):
        squeeze.compute_output_shape((None, 2, 1, 5))


# Weights that are not shared


def test_a_locally_connected_layer_has_a_kernel_and_a_bias_at_each_position():
    layer = layers.LocallyConnected2D(
        4, 3, "relu", kernel_initializer="normal", bias_initializer="normal"
    )
    x = tf.constant(uniform(2, 5, 6, 3), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = layer(x)
        loss = tf.reduce_sum(outputs * tf.constant(uniform(2, 5, 6, 4, seed=1), tf.float32))
    kernel, bias = layer.kernel.numpy().astype(np.float64), layer.bias.numpy().astype(np.float64)
    assert kernel.shape == (5, 6, 27, 4)
    assert bias.shape == (5, 6, 4)

    def numpy_local(values):
        padded = np.pad(values, [(0, 0), (1, 1), (1, 1), (0, 0)])
        expected = np.empty((2, 5, 6, 4))
        for row, column in np.ndindex(5, 6):
            window = padded[:, row : row + 3, column : column + 3].reshape(2, 27)
            expected[:, row, column] = window @ kernel[row, column] + bias[row, column]
        return np.maximum(expected, 0)

    np.testing.assert_allclose(outputs, numpy_local(x.numpy().astype(np.float64)), atol=1e-5)
    # Along a direction, the gradient is the change of the loss.
    direction, step = uniform(2, 5, 6, 3, seed=2), 1e-6
    weights = uniform(2, 5, 6, 4, seed=1)
    change = sum(
        sign * (numpy_local(x.numpy() + sign * step * direction) * weights).sum()
        for sign in (1, -1)
    ) / (2 * step)
    gradient = tape.gradient(loss, x).numpy()
    assert (gradient * direction).sum() == pytest.approx(change, rel=1e-3)
    with pytest.raises(ValueError, match="needs to know how many"):
        layers.LocallyConnected2D(4, 3)(keras.Input([None, None, 3]))
