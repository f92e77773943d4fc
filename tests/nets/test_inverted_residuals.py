"""Options of MobileNets v2, v3 and EdgeTPU; their numbers are in test_tf_slim_zoo.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets.inverted_residuals import InvertedResidualStack
from nets.mobilenet_parts import gate
from nets.nets_factory import get_network_fn


def small_model(output_stride):
    """A convolution and residuals of both kinds, from images to the map before the pool."""
    images = keras.Input([65, 65, 3])
    stack = InvertedResidualStack(images, output_stride)
    stack.add_convolution(8, 3, 2)
    stack.add_fused_residual(2, 16, 3, 2, "relu")
    stack.add_inverted_residual(2, 24, 3, 2, "relu")
    stack.add_inverted_residual(2, 16, 5, 2)
    stack.add_inverted_residual(1, 16, 3, 1)
    stack.add_inverted_residual(2, 24, 5, 2, "hard_swish")
    stack.add_inverted_residual(2.5, 24, 3, 1, residual=False)
    stack.add_convolution(32, 3, 1)
    return keras.Model(images, stack.net)


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32])
def test_dilations_compute_between_positions_what_strides_compute_at_them(output_stride, noise):
    strided, dilated = small_model(None), small_model(output_stride)
    dilated.set_weights(strided.get_weights())
    # Of 65 pixels each map has an odd side: strides go on from the first position to the last.
    expected, values = (model(noise(1, 65)).numpy() for model in (strided, dilated))
    step = 32 // output_stride
    assert expected.shape == (1, 3, 3, 32)
    assert values.shape == (1, 2 * step + 1, 2 * step + 1, 32)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(
        values[:, ::step, ::step], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


def test_squeeze_and_excite_goes_with_dilation(outlined, traced_shapes):
    network_fn = outlined("mobilenet_v3_small", 10, output_stride=16)
    logits, end_points = traced_shapes(network_fn, 64)
    assert logits == (1, 10)
    assert end_points["layer_13"] == (1, 4, 4, 576)
    assert end_points["layer_14"] == (1, 1, 1, 576)


@pytest.mark.parametrize(
    ("name", "output_stride", "message"),
    [
        ("mobilenet_v2", 1, "output_stride is 1; it must be 2, 4, 8, 16 or 32"),
        ("mobilenet_v3_large", 12, "output_stride is 12; it must be"),
        ("mobilenet_edgetpu", 4, "output_stride is 4; here, it must be 8, 16 or 32"),
    ],
)
def test_an_output_stride_that_cannot_be_is_refused(name, output_stride, message):
    with pytest.raises(ValueError, match=message):
        get_network_fn(name, None, output_stride=output_stride)


@pytest.mark.parametrize(("fine", "filters"), [(False, 512), (True, 1024)])
def test_a_finely_graded_network_keeps_its_last_convolution(fine, filters, outlined):
    network_fn = outlined(
        "mobilenet_v3_small", 10, depth_multiplier=0.5, finegrain_classification_mode=fine
    )
    assert network_fn.variables["MobilenetV3/Conv_1/weights"].shape[-1] == 288
    assert network_fn.variables["MobilenetV3/Conv_2/weights"].shape[-1] == filters


@pytest.mark.parametrize(
    ("multiplier", "millions"), [(1.4, 6.06), (1.3, 5.34), (0.75, 2.61), (0.5, 1.95), (0.35, 1.66)]
)
def test_mobilenet_v2_has_as_many_parameters_as_its_authors_say(multiplier, millions, outlined):
    """As they publish it: narrower ones keep the 1280 filters of the last convolution."""
    options = {"depth_multiplier": multiplier, "finegrain_classification_mode": True}
    variables = outlined("mobilenet_v2", 1000, **options).variables.values()
    count = sum(np.prod(one.shape) for one in variables if "moving" not in one.name)
    assert count == pytest.approx(millions * 1e6, rel=0.02)


def test_a_narrow_mobilenet_v2_has_a_narrow_last_convolution_unless_it_is_to_keep_it(outlined):
    for fine, filters in ((False, 640), (True, 1280)):
        network_fn = outlined(
            "mobilenet_v2", 10, depth_multiplier=0.5, finegrain_classification_mode=fine
        )
        assert network_fn.variables["MobilenetV2/Conv_1/weights"].shape[-1] == filters


def test_the_narrow_edgetpu_takes_other_widths(outlined):
    network_fn = outlined("mobilenet_edgetpu_075", 10, depth_multiplier=0.5)
    assert network_fn.variables["MobilenetEdgeTPU/Conv/weights"].shape[-1] == 16
    assert network_fn.variables["MobilenetEdgeTPU/Conv_1/weights"].shape[-1] == 1280


def test_a_gate_is_straight_between_its_ends():
    values = gate(tf.constant([-9.0, -3.0, 0.0, 1.5, 3.0, 9.0]))
    np.testing.assert_allclose(values, [0, 0, 0.50001, 0.750015, 1.00002, 1.00002], rtol=1e-6)


def test_initial_weights_are_tf_slims():
    variables = get_network_fn("mobilenet_v3_small", 10, depth_multiplier=0.25).variables
    for name, variable in variables.items():
        values = variable.numpy()
        if name.endswith("weights"):
            assert np.abs(values).max() <= 0.18, name  # of .09, cut at two deviations
        else:
            expected = float(name.endswith(("gamma", "moving_variance")))
            np.testing.assert_array_equal(values, expected, name)
    weights = variables["MobilenetV3/Conv_2/weights"].numpy()
    assert weights.std() == pytest.approx(0.09 * 0.8796, rel=0.03)


def test_a_step_in_bfloat16_has_finite_gradients(noise):
    network_fn = get_network_fn(
        "mobilenet_v3_small", 10, dtype_policy="mixed_bfloat16", depth_multiplier=0.25
    )
    variables = [one for one in network_fn.variables.values() if one.trainable]
    with tf.GradientTape() as tape:
        logits, _ = network_fn(noise(4, 32), is_training=True, seed=tf.constant([1, 2]))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([1, 2, 3, 4], logits)
    gradients = tape.gradient(loss, [one.value for one in variables])
    assert logits.dtype == tf.float32
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
