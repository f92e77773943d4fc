import contextlib
import functools

import numpy as np
import pytest

from nets import nets_factory
from training import devices
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state

BUILD = functools.partial(nets_factory.get_network_fn, "tiny", num_classes=3, is_training=True)


def test_scopes_are_trained_and_the_rest_is_not():
    state = make_training_state(BUILD, OptimizerSettings(), trainable_scopes=["tiny/fc3"])
    assert list(state.trainable) == ["tiny/fc3/weights", "tiny/fc3/biases"]
    assert state.num_trainable_parameters() == 16 * 3 + 3
    # One velocity for each variable that is trained, besides the step and the rate.
    assert len(state.optimizer.variables) == 2 + 2
    assert int(state.step) == 0


def test_rate_factors_follow_the_epoch():
    settings = OptimizerSettings(learning_rate_factors=["*/biases=2", "tiny/conv1/*@1=0.5"])
    state = make_training_state(BUILD, settings)
    names = list(state.trainable)
    now = dict(zip(names, state.rate_factors_now.numpy(), strict=True))
    assert (now["tiny/conv1/weights"], now["tiny/conv1/biases"]) == (1, 2)
    state.set_epoch(1.0)
    now = dict(zip(names, state.rate_factors_now.numpy(), strict=True))
    assert (now["tiny/conv1/weights"], now["tiny/conv1/biases"]) == (0.5, 1)
    assert make_training_state(BUILD, OptimizerSettings()).rate_factors_now is None


@pytest.mark.parametrize("replicas", [1, 2])
def test_averages_take_the_place_of_weights_and_give_it_back(replicas):
    strategy = devices.make_strategy(num_replicas=replicas)
    state = make_training_state(BUILD, OptimizerSettings(), strategy, keep_averages=True)
    name = "tiny/fc2/weights"
    trained = state.network_fn.variables[name].numpy()
    state.averages[name].assign(trained + 1)
    with contextlib.suppress(RuntimeError), state.averages_in_place():
        np.testing.assert_array_equal(state.network_fn.variables[name].numpy(), trained + 1)
        raise RuntimeError  # also then
    np.testing.assert_array_equal(state.network_fn.variables[name].numpy(), trained)
    state.start_averages()
    np.testing.assert_array_equal(state.averages[name].numpy(), trained)


def test_an_infinity_is_noticed():
    state = make_training_state(BUILD, OptimizerSettings())
    assert state.is_finite()
    state.network_fn.variables["tiny/fc3/biases"].assign([0.0, np.inf, 0.0])
    assert not state.is_finite()


def test_float16_scales_the_loss():
    half = functools.partial(BUILD, dtype_policy="mixed_float16")
    assert hasattr(make_training_state(half, OptimizerSettings()).optimizer, "inner_optimizer")
    whole = make_training_state(BUILD, OptimizerSettings()).optimizer
    assert not hasattr(whole, "inner_optimizer")


def test_a_network_that_gives_a_map_of_logits_is_refused():
    build = functools.partial(nets_factory.get_network_fn, "cifarnet_18pct", spatial_squeeze=False)
    with pytest.raises(ValueError, match=r"a map of logits.*leave out spatial_squeeze=False"):
        make_training_state(build, OptimizerSettings())
