"""Both normalisations against plain NumPy, written from the formula and not from the code."""

import numpy as np
import pytest
import tensorflow as tf
from numerical import numpy_gradient, uniform, value_and_gradient

from nets import response_normalization as norms
from nets.response_normalization import local_response_normalization as lrn

# What PyTorch, Caffe and cuda-convnet call (size, alpha, k), who divide alpha by the size, beside
# what we and tf.nn call (depth_radius, bias, alpha, beta).
LRN = {
    "the paper": ((5, 5e-4, 2), (2, 2, 1e-4, 0.75)),
    "the released source": ((5, 1e-4, 2), (2, 2, 2e-5, 0.75)),
    "Caffe": ((5, 1e-4, 1), (2, 1, 2e-5, 0.75)),
    "cuda-convnet's 11pct": ((9, 1e-3, 1), (4, 1, 0.001 / 9, 0.75)),
}
CONVENTIONS = [ours for _, ours in LRN.values()]


def numpy_lrn(x, depth_radius, bias, alpha, beta):
    outputs = np.empty_like(x)
    for index in np.ndindex(x.shape):
        channel = index[-1]
        window = x[index[:-1]][max(0, channel - depth_radius) : channel + depth_radius + 1]
        outputs[index] = x[index] / (bias + alpha * (window**2).sum()) ** beta
    return outputs


def numpy_lrn_divided(x, size, alpha, k, beta=0.75):
    """As PyTorch's and Caffe's documents have it: the mean over the window, zeros outside it."""
    radius = size // 2
    padded = np.pad(x**2, [(0, 0)] * (x.ndim - 1) + [(radius, radius)])
    means = sum(padded[..., i : i + x.shape[-1]] for i in range(size)) / size
    return x / (k + alpha * means) ** beta


def numpy_spatial_norm(x, window, alpha, bias, beta):
    outputs = np.empty_like(x)
    radius = window // 2
    for index in np.ndindex(x.shape):
        image, row, column, channel = index
        rows = slice(max(0, row - radius), row + radius + 1)
        columns = slice(max(0, column - radius), column + radius + 1)
        energy = (x[image, rows, columns, channel] ** 2).sum()
        outputs[index] = x[index] / (bias + alpha * energy) ** beta
    return outputs


# Local response normalisation


def test_lrn_of_a_worked_example():
    # In channels of 25 to 28, 26 becomes 26 / (25^2 + 26^2 + 27^2 + 28^2).
    outputs = lrn(tf.constant([[[[25.0, 26, 27, 28]]]]), depth_radius=2, bias=0, alpha=1, beta=1)
    np.testing.assert_allclose(outputs[0, 0, 0, 1], 0.00923952, rtol=1e-6)


@pytest.mark.parametrize(
    "convention", [*CONVENTIONS, (0, 1, 0.5, 0.5), (1, 0.5, 2, 1), (9, 1, 1, 0.75)]
)
def test_lrn_equals_a_loop_in_value_and_gradient(convention):
    # Activations so large that the denominator is far from its bias.
    x = uniform(2, 2, 3, 7) * np.sqrt(3 / convention[2])
    upstream = uniform(*x.shape, seed=1)
    outputs, gradient = value_and_gradient(
        lambda x: lrn(x, *convention), x.astype(np.float32), upstream
    )
    np.testing.assert_allclose(outputs, numpy_lrn(x, *convention), rtol=1e-5)
    expected = numpy_gradient(lambda x: numpy_lrn(x, *convention), x, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_lrn_equals_tensorflows(convention):
    x = uniform(2, 5, 6, 20, high=300).astype(np.float32)
    upstream = uniform(*x.shape, seed=1)
    ours = value_and_gradient(lambda x: lrn(x, *convention), x, upstream)
    theirs = value_and_gradient(
        lambda x: tf.nn.local_response_normalization(x, *convention), x, upstream
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LRN)
def test_lrn_equals_that_of_libraries_which_divide_alpha(name):
    theirs, ours = LRN[name]
    x = uniform(2, 2, 3, 20, high=300)
    np.testing.assert_allclose(
        lrn(x.astype(np.float32), *ours), numpy_lrn_divided(x, *theirs), rtol=1e-5
    )


def test_lrn_clips_its_window_at_the_first_and_last_channels():
    ones = np.ones((1, 1, 1, 8), np.float32)
    outputs = lrn(ones, depth_radius=2, bias=0, alpha=1, beta=1)
    np.testing.assert_allclose(1 / outputs[0, 0, 0], [3, 4, 5, 5, 5, 5, 4, 3], rtol=1e-6)


def test_lrn_defaults_to_the_papers_constants():
    x = uniform(1, 2, 2, 6, high=500)
    outputs = norms.LocalResponseNormalization()(x)
    np.testing.assert_allclose(outputs, numpy_lrn(x, 2, 2.0, 1e-4, 0.75), rtol=1e-5)


def sparse_activations(share):
    """Of ReLU, so large that a channel may all but cancel its own gradient; with zeros."""
    x = uniform(2, 8, 8, 96, low=-300, high=300) / share
    return np.where(uniform(*x.shape, low=0, seed=2) < share, np.maximum(x, 0), 0)


@pytest.mark.parametrize("share", [1, 0.3, 0.02])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_lrn_in_half_the_bits_is_within_a_hundredth_of_float32(share, aligned, dtype):
    x = sparse_activations(share)
    # A gradient along the activations is what the norm takes away.
    upstream = tf.cast(x if aligned else uniform(*x.shape, seed=1), dtype)
    x = tf.cast(x, dtype)
    half = value_and_gradient(lrn, x, upstream)
    full = value_and_gradient(lrn, tf.cast(x, tf.float32), upstream)
    assert {tensor.dtype for tensor in half} == {dtype}
    outputs, gradient = (tf.cast(tensor, tf.float32) for tensor in half)
    np.testing.assert_allclose(outputs, full[0], rtol=1e-2)
    # Elements of the gradient are sums that can cancel, so each position's is measured whole.
    error, whole = tf.norm(gradient - full[1], axis=-1), tf.norm(full[1], axis=-1)
    assert tf.reduce_all(error <= 1e-2 * whole)


def test_lrn_in_float16_takes_values_whose_squares_it_cannot_hold():
    x = tf.cast(uniform(1, 4, 4, 16, low=-60000, high=60000), tf.float16)
    assert np.isinf(tf.square(x)).any()
    for values in value_and_gradient(lrn, x, tf.ones_like(x)):
        assert values.dtype == tf.float16
        assert np.isfinite(values).all()


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16])
def test_lrn_is_the_same_in_a_step_that_xla_compiles_whole(dtype):
    x = tf.cast(sparse_activations(0.3), dtype)
    upstream = uniform(*x.shape, seed=1)
    compiled = tf.function(value_and_gradient, jit_compile=True)
    for one, other in zip(
        compiled(lrn, x, upstream), value_and_gradient(lrn, x, upstream), strict=True
    ):
        assert one.dtype == other.dtype == dtype
        one, other = (tf.cast(values, tf.float32) for values in (one, other))
        # Not bit for bit: XLA orders the sums of a larger program in its own way.
        rtol = 1e-5 if dtype == tf.float32 else 1e-2
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6 * np.abs(other).max())


def test_lrn_works_on_unknown_shapes():
    dynamic = tf.function(lrn, input_signature=[tf.TensorSpec([None, None, None, 8])])
    for shape in ((1, 3, 4, 8), (2, 5, 1, 8)):
        x = uniform(*shape, high=300).astype(np.float32)
        np.testing.assert_allclose(dynamic(x), lrn(x), rtol=1e-6)


def test_lrn_within_groups_is_that_of_each_group_by_itself():
    x = uniform(2, 3, 3, 12, high=5).astype(np.float32)
    outputs = norms.LocalResponseNormalization(2, 1.0, 0.3, 0.75, groups=2)(x)
    towers = [numpy_lrn(part, 2, 1.0, 0.3, 0.75) for part in np.split(x.astype(np.float64), 2, -1)]
    np.testing.assert_allclose(outputs, np.concatenate(towers, axis=-1), rtol=1e-5)
    assert np.abs(outputs - numpy_lrn(x.astype(np.float64), 2, 1.0, 0.3, 0.75)).max() > 1e-3


# Spatial response normalisation

SPATIAL_NORMS = {  # window, alpha, bias, beta
    "of cuda-convnet's CIFAR-10 network": (3, 5e-5 / 9, 1, 0.75),
    "of the released 2012 network": (5, 4e-5, 1, 0.75),
    "of another power": (3, 1.0, 0.5, 1.0),
}


@pytest.mark.parametrize("constants", SPATIAL_NORMS.values(), ids=SPATIAL_NORMS)
def test_spatial_norm_equals_a_loop_in_value_and_gradient(constants):
    x = uniform(2, 4, 5, 2) * np.sqrt(3 / constants[1])
    upstream = uniform(*x.shape, seed=1)
    norm = norms.SpatialResponseNormalization(*constants)
    outputs, gradient = value_and_gradient(norm, x.astype(np.float32), upstream)
    np.testing.assert_allclose(outputs, numpy_spatial_norm(x, *constants), rtol=1e-5)
    expected = numpy_gradient(lambda x: numpy_spatial_norm(x, *constants), x, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_spatial_norm_counts_nothing_past_the_edges():
    norm = norms.SpatialResponseNormalization(3, alpha=1, bias=0, beta=1)
    outputs = norm(np.ones((1, 4, 4, 1), np.float32))
    terms = [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    np.testing.assert_allclose(1 / outputs[0, ..., 0], terms, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_spatial_norm_in_half_precision_computes_in_float32(dtype):
    constants = SPATIAL_NORMS["of cuda-convnet's CIFAR-10 network"]
    x = tf.cast(uniform(2, 8, 8, 4, low=-2000, high=2000), dtype)
    outputs = norms.SpatialResponseNormalization(*constants, dtype=dtype)(x)
    assert outputs.dtype == dtype
    expected = numpy_spatial_norm(tf.cast(x, tf.float64).numpy(), *constants)
    np.testing.assert_allclose(tf.cast(outputs, tf.float64), expected, rtol=1e-2)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_window_without_a_centre_is_refused(window):
    with pytest.raises(ValueError, match=f"window is {window}; it must be an odd number"):
        norms.SpatialResponseNormalization(window, alpha=1)
