import keras
import numpy as np
import pytest
import tensorflow as tf

from training.hybrid.sharded_variable import ShardedVariable

VALUE = np.arange(10, dtype=np.float32).reshape(2, 5)


@pytest.fixture
def variable():
    shards = []
    for number, part in enumerate(np.split(VALUE, [3], axis=1)):
        with tf.device(f"CPU:{number}"):
            shards.append(keras.Variable(part, name="kernel"))
    return ShardedVariable(shards, "fc6/kernel")


def test_it_looks_whole(variable):
    assert (variable.path, variable.shape, variable.dtype) == ("fc6/kernel", (2, 5), tf.float32)
    assert variable.sizes == [3, 2]
    assert variable.trainable
    np.testing.assert_array_equal(variable.numpy(), VALUE)
    np.testing.assert_array_equal(tf.convert_to_tensor(variable), VALUE)


def test_each_device_gets_its_part_of_a_value(variable):
    variable.assign(-VALUE)
    np.testing.assert_array_equal(variable.shards[1].numpy(), -VALUE[:, 3:])
    assert [shard.value.device[-5:] for shard in variable.shards] == ["CPU:0", "CPU:1"]


def test_a_copy_is_another_in_the_same_places(variable):
    copy = variable.copied()
    variable.assign(-VALUE)
    np.testing.assert_array_equal(copy.numpy(), VALUE)
    assert [shard.value.device[-5:] for shard in copy.shards] == ["CPU:0", "CPU:1"]
    assert not copy.trainable


def test_a_checkpoint_keeps_it_as_one_that_is_whole(variable, tmp_path):
    path = tf.train.Checkpoint(weights=variable).write(str(tmp_path / "divided"))
    whole = tf.Variable(tf.zeros_like(VALUE))
    tf.train.Checkpoint(weights=whole).read(path).assert_consumed()
    np.testing.assert_array_equal(whole, VALUE)
    path = tf.train.Checkpoint(weights=tf.Variable(VALUE + 1)).write(str(tmp_path / "whole"))
    tf.train.Checkpoint(weights=variable).read(path).assert_consumed()
    np.testing.assert_array_equal(variable.numpy(), VALUE + 1)
