"""Networks of CIFAR's size and the files that TensorFlow 1 keeps weights in."""

import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn


@pytest.fixture
def network_fn():
    return get_network_fn("cifarnet_18pct", 10)


@pytest.fixture
def write_tensorflow_1(tmp_path):
    """Writes values by their names as TF-Slim did, and returns the checkpoint's path."""

    def write(values, name="slim.ckpt", version=2):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variables = [
                tf.compat.v1.get_variable(key, initializer=tf.constant(value))
                for key, value in values.items()
            ]
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver(variables, write_version=version)
            return saver.save(session, str(tmp_path / name))

    return write
