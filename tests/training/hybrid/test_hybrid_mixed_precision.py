"""bfloat16 and float16 on several devices: what they train to, and what overflows."""

import numpy as np
import pytest
import tensorflow as tf
from hybrid_runs import BATCH_SIZE, WITHOUT_DROPOUT, Run, difference, make_batch

from training.hybrid.schemes import HybridSettings


def dynamic_scale(run):
    """The variable by which the loss is multiplied."""
    [scale] = [one for one in run.state.optimizer.variables if one.path.endswith("dynamic_scale")]
    return scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)]
)
def test_mixed_precision_changes_the_weights_as_replicas_do(policy, tolerance):
    options = {"network_options": WITHOUT_DROPOUT, "dtype_policy": policy}
    expected = Run(2, **options).take()
    found = Run(2, HybridSettings(), **options).take()
    np.testing.assert_allclose(found.losses, expected.losses, rtol=tolerance)
    assert difference(found.changes(), expected.changes()) < tolerance
    taken = [
        {one.path.split("/")[-1]: one for one in run.state.optimizer.variables}["iteration"].numpy()
        for run in (found, expected)
    ]
    assert taken[0] == taken[1] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hybrid", "scopes"),
    [
        (HybridSettings(), ()),
        (HybridSettings(hybrid_scheme="b", fc_updates_per_step=2), ()),
        (HybridSettings(), ("CifarNet/fc4", "CifarNet/logits")),
    ],
    ids=["one_update", "two_updates", "fully_connected_alone"],
)
def test_steps_whose_gradients_overflow_are_left_out_until_the_scale_fits(hybrid, scopes):
    options = {"network_options": WITHOUT_DROPOUT, "trainable_scopes": scopes}
    run = Run(2, hybrid, "mixed_float16", **options)
    scale = dynamic_scale(run)
    scale.assign(2.0**24)
    before = run.values()
    run.take(1)
    for name, value in run.values().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert float(scale.numpy()) == 2.0**23
    run.take(12, start=1)
    assert 1 < float(scale.numpy()) < 2.0**20
    assert np.isfinite(run.losses).all()
    after = run.values()
    assert all(np.isfinite(value).all() for value in after.values())
    assert not np.array_equal(after["CifarNet/fc4/weights"], before["CifarNet/fc4/weights"])


@pytest.mark.slow
def test_a_step_is_left_out_if_only_an_earlier_update_of_it_overflows():
    """The second device's images have no weight, so gradients of the last update are 0."""
    options = {
        "network_options": WITHOUT_DROPOUT,
        # Gradients of convolutions would overflow with the first device's images.
        "trainable_scopes": ["CifarNet/fc4", "CifarNet/logits"],
    }
    hybrid = HybridSettings(hybrid_scheme="b", fc_updates_per_step=2)
    run = Run(2, hybrid, "mixed_float16", **options)
    scale = dynamic_scale(run)
    scale.assign(2.0**24)
    weights = np.repeat(np.float32([1, 0]), BATCH_SIZE // 2)
    run.take_one({**make_batch(0), "weight": tf.constant(weights)})
    assert float(scale.numpy()) == 2.0**23
    # Not even the decay of the weights.
    assert not any(change.any() for change in run.changes().values())
