import numpy as np
import tensorflow as tf

from training.hybrid.exchange import all_gather, reduce_scatter

DEVICES = ["CPU:0", "CPU:1"]


def placed(values):
    tensors = []
    for device, value in zip(DEVICES, values, strict=True):
        with tf.device(device):
            tensors.append(tf.identity(tf.constant(value, tf.float32)))
    return tensors


def test_every_device_gets_all_parts_in_order():
    gathered = all_gather(placed([[[1.0, 2]], [[3.0]]]), DEVICES, axis=1)
    assert [one.device[-5:] for one in gathered] == DEVICES
    for one in gathered:
        np.testing.assert_array_equal(one, [[1, 2, 3]])


def test_each_owner_gets_its_part_of_the_sum():
    parts = reduce_scatter(
        placed([[1.0, 2, 3], [10.0, 20, 30]]), DEVICES, [1, 2], ["CPU:1", "CPU:0"], axis=0
    )
    assert [one.device[-5:] for one in parts] == ["CPU:1", "CPU:0"]
    np.testing.assert_array_equal(parts[0], [11])
    np.testing.assert_array_equal(parts[1], [22, 33])


def test_the_second_is_the_gradient_of_the_first():
    values = placed([[1.0, 2], [3.0, 4]])
    weights = placed([[1.0, 2, 3, 4], [5.0, 6, 7, 8]])
    with tf.GradientTape() as tape:
        for value in values:
            tape.watch(value)
        gathered = all_gather(values, DEVICES, axis=0)
        total = tf.add_n([tf.reduce_sum(one * w) for one, w in zip(gathered, weights, strict=True)])
    expected = tape.gradient(total, values)
    found = reduce_scatter(weights, DEVICES, [2, 2], DEVICES, axis=0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
