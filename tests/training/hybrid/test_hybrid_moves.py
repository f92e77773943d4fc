"""Checkpoints of one run, taken up on another number of devices and by another strategy."""

import pytest
import tensorflow as tf
from hybrid_runs import WITHOUT_DROPOUT, Run, difference

from training.checkpoints.saving import RunCheckpoints
from training.hybrid.schemes import HybridSettings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "dtype_policy", "tolerance"),
    # In float16 moments are a few percent apart; what is lost is apart by all.
    [("adam", "float32", 1e-4), ("rmsprop", "mixed_float16", 0.1)],
    ids=["adam-float32", "rmsprop-float16"],
)
def test_what_optimizers_and_loss_scaling_keep_moves_with_the_weights(
    optimizer, dtype_policy, tolerance, tmp_path
):
    """`slimzoo.commands`' tests move momentum in float32; others name and keep other variables."""
    options = {
        "dtype_policy": dtype_policy,
        "settings": {"optimizer": optimizer, "opt_epsilon": 0.1},
        "averages": True,
        "network_options": WITHOUT_DROPOUT,
    }
    expected = Run(**options).take(8)
    for start, devices in (
        (0, {"replicas": 4, "hybrid": HybridSettings()}),
        (2, {"replicas": 2}),
        (4, {"replicas": 2, "hybrid": HybridSettings(hybrid_scheme="c")}),
        (6, {}),
    ):
        run = Run(**devices, **options)
        rate = tf.Variable(0.01, dtype=tf.float64)
        checkpoints = RunCheckpoints(
            str(tmp_path), **run.state.variables_to_save(), learning_rate=rate
        )
        if start:
            checkpoints.resume()
        run.take(2, start=start)
        run.state.step.assign(start + 2)
        checkpoints.save()
    kept = [
        {one.path: one.numpy() for one in each.state.optimizer.variables}
        for each in (run, expected)
    ]
    assert difference(run.values(), expected.values()) < tolerance
    assert difference(*kept) < tolerance
