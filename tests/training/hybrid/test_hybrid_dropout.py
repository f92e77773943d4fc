"""What is dropped by several devices, and when they drop what one would."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hybrid_runs import BATCH_SIZE, WITHOUT_DROPOUT, Run, difference, make_batch

from nets import layers
from nets.registry import networks, register_network
from training.hybrid.schemes import HybridSettings, passes


@pytest.mark.slow
def test_in_scheme_a_activations_are_dropped_as_on_one_device():
    np.testing.assert_allclose(
        Run(2, HybridSettings()).take().losses, Run().take().losses, rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["b", "c"])
def test_with_dropout_each_pass_draws_its_own(scheme):
    """The same image in all passes, of which one counts: only what is dropped can differ."""
    batch = {key: tf.repeat(value[:1], BATCH_SIZE, 0) for key, value in make_batch(0).items()}
    of_passes = []
    for rows in passes(scheme, 4, BATCH_SIZE // 4):
        weights = np.zeros([4, BATCH_SIZE // 4], np.float32)
        for one in rows:
            weights[one.device, one.start : one.stop] = 1
        of_passes.append({**batch, "weight": tf.constant(weights.ravel())})

    def losses(run):
        # At a rate of 0 the weights stay as they are.
        return [run.take_one(batch, rate=0.0) for batch in of_passes]

    hybrid = HybridSettings(hybrid_scheme=scheme)
    first, *others = losses(Run(4, hybrid, network_options=WITHOUT_DROPOUT))
    assert others == pytest.approx([first] * 3, rel=1e-6)
    run = Run(4, hybrid)
    dropped = losses(run)
    assert np.diff(sorted(dropped)).min() > 1e-3 * max(dropped)
    # Another time the same, since it is the same step.
    assert losses(run) == dropped


@pytest.mark.slow
def test_layers_that_drop_in_the_convolutional_stage_draw_from_the_seed_of_the_step():
    def dropping(images, num_classes=1000):
        net = layers.Conv2D(4, 3, 4, name="conv1")(images)
        net = layers.Dropout(0.5, name="dropout1")(net)
        net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool1")(net)
        end_points = {"dropping/conv1": net}
        net = layers.Conv2D(num_classes, 1, name="fc2")(net)
        return layers.SpatialSqueeze(name="squeeze")(net), {**end_points, "dropping/fc2": net}

    register = register_network(
        first_layer="conv1",
        convolutions_end="pool1",
        head="fc2",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cifarnet",
    )
    with networks.restored():
        register(dropping)
        expected = Run(2, model="dropping").take(2)
        found = Run(2, HybridSettings(), model="dropping").take(2)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    assert difference(found.values(), expected.values()) < 1e-5
