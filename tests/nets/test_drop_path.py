"""Drop path: how much it drops, when, and by which seed."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from nets import layers
from nets.drop_path import DropPath, training_step


def drop_paths(keep_prob, step, examples=4000, seed=(1, 2)):
    layer = DropPath(keep_prob, 100, name="path")
    with layers.dropout_seed(tf.constant(seed)), training_step(step):
        return layer(tf.ones([examples, 2, 2, 1]), training=True).numpy()


@pytest.mark.parametrize(("step", "share"), [(25, 0.9), (50, 0.8), (100, 0.6), (1000, 0.6)])
def test_the_share_of_paths_that_are_kept_falls_with_the_step_and_the_mean_stays(step, share):
    outputs = drop_paths(0.6, tf.constant(step, tf.int64))
    kept = outputs[:, 0, 0, 0] > 0
    assert abs(kept.mean() - share) < 5 * np.sqrt(share * (1 - share) / kept.size)
    # An example is kept whole or not at all.
    expected = np.broadcast_to(kept[:, None, None, None] / share, outputs.shape)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


def test_no_path_is_dropped_at_first_nor_without_a_step_nor_in_evaluation():
    for step in (0, None):
        np.testing.assert_array_equal(drop_paths(0.1, step), 1)
    layer = DropPath(0.1, 100)
    with training_step(100):
        np.testing.assert_array_equal(layer(tf.ones([100, 1, 1, 1])), 1)
        assert np.any(layer(tf.ones([100, 1, 1, 1]), training=True) == 0)
    np.testing.assert_array_equal(layer(tf.ones([100, 1, 1, 1]), training=True), 1)


def test_paths_are_dropped_by_the_seed():
    np.testing.assert_array_equal(drop_paths(0.6, 100), drop_paths(0.6, 100))
    assert np.any(drop_paths(0.6, 100) != drop_paths(0.6, 100, seed=(1, 3)))


@pytest.mark.parametrize(
    ("keep_prob", "steps", "message"),
    [(0, 1, "drop_path_keep_prob is 0; "), (1.5, 1, "is 1.5; "), (0.5, 0, "_steps is 0; it must")],
)
def test_a_share_of_paths_or_a_number_of_steps_that_is_none_is_refused(keep_prob, steps, message):
    with pytest.raises(ValueError, match=message):
        DropPath(keep_prob, steps)


def test_a_step_ends_with_its_block_and_stays_in_its_thread():
    layer = DropPath(0.1, 100)
    dropped = []

    def drop():
        dropped.append(bool(np.any(layer(tf.ones([100, 1, 1, 1]), training=True) == 0)))

    with training_step(100):
        with training_step(0):
            drop()
        drop()
        thread = threading.Thread(target=drop)
        thread.start()
        thread.join()
    drop()
    assert dropped == [False, True, False, False]
