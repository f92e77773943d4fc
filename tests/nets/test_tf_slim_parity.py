"""`alexnet_v2` beside the original, where tf-slim is installed (`pip install tf-slim`)."""

import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from training.checkpoints.restoring import restore_network

slim_alexnet = pytest.importorskip("tf_slim.nets.alexnet")

WEIGHT_DECAY = 5e-4


@pytest.fixture(scope="module")
def ours(built):
    return built("alexnet_v2")


@pytest.fixture(scope="module")
def run_slim(ours):
    """Runs tf-slim's graph with our weights: (logits, end points, regularization loss)."""

    weights = {name: variable.numpy() for name, variable in ours.variables.items()}

    def run(images):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            with slim_alexnet.arg_scope(slim_alexnet.alexnet_v2_arg_scope(WEIGHT_DECAY)):
                logits, end_points = slim_alexnet.alexnet_v2(
                    tf.constant(images), 1000, is_training=False
                )
            variables = {v.op.name: v for v in tf.compat.v1.global_variables()}
            assert set(variables) == set(weights)
            for name, variable in variables.items():
                variable.load(weights[name], session)
            decay = tf.compat.v1.losses.get_regularization_loss()
            return session.run([logits, end_points, decay])

    return run


def test_logits_end_points_and_weight_decay_are_those_of_tf_slim(ours, run_slim, noise):
    images = noise(2, 224).numpy()
    slim_logits, slim_end_points, slim_decay = run_slim(images)
    logits, end_points = ours(images)
    assert logits.shape == slim_logits.shape
    np.testing.assert_allclose(logits, slim_logits, atol=1e-4)
    assert list(end_points) == list(slim_end_points)
    for name, slim_value in slim_end_points.items():
        assert end_points[name].shape == slim_value.shape, name
        tolerance = 1e-5 * np.abs(slim_value).max()
        np.testing.assert_allclose(end_points[name], slim_value, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(ours.regularization_loss(), slim_decay, rtol=1e-4)


def test_a_checkpoint_that_tf_slim_wrote_loads_by_name_and_gives_its_logits(noise, tmp_path):
    images = noise(2, 224, seed=1).numpy()
    path = str(tmp_path / "alexnet_v2.ckpt")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with slim_alexnet.arg_scope(slim_alexnet.alexnet_v2_arg_scope(WEIGHT_DECAY)):
            logits, _ = slim_alexnet.alexnet_v2(tf.constant(images), 7, is_training=False)
        tf.compat.v1.train.get_or_create_global_step()  # checkpoints hold more than weights
        session.run(tf.compat.v1.global_variables_initializer())
        expected = session.run(logits)
        tf.compat.v1.train.Saver().save(session, path)
    network_fn = get_network_fn("alexnet_v2", 7)
    report = restore_network(network_fn, path)
    assert len(report.restored) == 16
    assert not report.skipped
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4)
