import numpy as np
import pytest
import tensorflow as tf

from nets.pooling import AuxiliaryPooling2D, WindowOrMapPooling2D


def maps(height, width):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("height", "width", "strides", "positions"),
    [(7, 7, 2, (1, 1)), (4, 9, 2, (1, 2)), (4, 9, 1, (1, 3)), (10, 3, 1, (4, 1))],
)
def test_windows_are_as_large_as_the_map_at_most(height, width, strides, positions):
    layer = WindowOrMapPooling2D(7, strides)
    values = maps(height, width)
    outputs = layer(values)
    assert layer.compute_output_shape(values.shape) == outputs.shape == (2, *positions, 3)
    row, column = ((count - 1) * strides for count in positions)
    last = values[:, row : row + 7, column : column + 7].mean(axis=(1, 2))
    np.testing.assert_allclose(outputs[:, -1, -1], last, atol=1e-6)
    of_any_size = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_allclose(of_any_size(values), outputs, atol=1e-6)


@pytest.mark.parametrize("size", [17, 19])
def test_auxiliary_logits_begin_with_5x5_means(size):
    layer = AuxiliaryPooling2D()
    values = maps(size, size)
    outputs = layer(values)
    assert layer.compute_output_shape(values.shape) == outputs.shape == (2, 5, 5, 3)
    mean = values[:, 3:8, 12:17].mean(axis=(1, 2))
    np.testing.assert_allclose(outputs[:, 1, 4], mean, atol=1e-6)


@pytest.mark.parametrize("size", [16, 20])
def test_other_maps_are_refused(size):
    with pytest.raises(ValueError, match=f"has {size}x17.*create_aux_logits=False"):
        AuxiliaryPooling2D().compute_output_shape((None, size, 17, 3))
