import keras
import numpy as np
import pytest

from nets.nets_factory import get_network_fn, register_network
from training import devices
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state


def make(dtype_policy="float32", strategy=None, trainable_scopes=(), keep_averages=False, **values):
    return make_training_state(
        lambda: get_network_fn("tiny", 3, dtype_policy=dtype_policy),
        OptimizerSettings(**values),
        strategy,
        trainable_scopes=trainable_scopes,
        keep_averages=keep_averages,
    )


def test_all_is_trained_or_what_is_in_the_scopes():
    assert make().num_trainable_parameters() == 1379
    state = make(trainable_scopes=["tiny/fc3", "tiny/conv1/biases"])
    assert set(state.trainable) == {"tiny/fc3/weights", "tiny/fc3/biases", "tiny/conv1/biases"}
    assert state.num_trainable_parameters() == 16 * 3 + 3 + 8
    slots = [one for one in state.optimizer.variables if "momentum" in one.path]
    assert len(slots) == 3  # and none for what stays as it is
    with pytest.raises(ValueError, match="--trainable_scopes: Unknown scope 'tiny/fc9'"):
        make(trainable_scopes=["tiny/fc9"])


def test_rate_factors_follow_the_epoch():
    state = make(learning_rate_factors=["*/biases=2", "tiny/conv1/*@1.5=0"])
    assert list(state.trainable)[:2] == ["tiny/conv1/weights", "tiny/conv1/biases"]
    state.set_epoch(1.49)
    np.testing.assert_array_equal(state.rate_factors_now, [1, 2, 1, 2, 1, 2])
    state.set_epoch(1.5)
    np.testing.assert_array_equal(state.rate_factors_now, [0, 0, 1, 2, 1, 2])
    plain = make()
    plain.set_epoch(3)  # there is nothing to change
    assert plain.rate_factors_now is None


def test_a_pattern_may_match_what_is_not_trained_but_must_match_something():
    scopes = {"trainable_scopes": ["tiny/fc3"]}
    state = make(**scopes, learning_rate_factors=["*/conv1/*=3", "*/biases=2"])
    np.testing.assert_array_equal(state.rate_factors_now, [1, 2])
    with pytest.raises(ValueError, match=r"--learning_rate_factors: .*'\*/bias' matches no var"):
        make(**scopes, learning_rate_factors=["*/bias=2"])
    with pytest.raises(ValueError, match=r"--weight_decay_factors: .*'\*/biases' matches no var"):
        make(weight_decay_factors=["*/biases=2"])  # they have none that could be multiplied


def decay_of(name, **values):
    """The factor of each variable's decay; None where there is none."""
    state = make_training_state(lambda: get_network_fn(name, 3), OptimizerSettings(**values))
    return dict(zip(state.trainable, state.optimizer.decay_factors, strict=True))


def test_what_decays_is_what_the_network_says(registries_restored):
    factors = decay_of("mobilenet_v1_025", weight_decay_factors=["*/Conv2d_0/*=3"])
    assert {name: factor for name, factor in factors.items() if factor != 1} == {
        name: 3 if name == "MobilenetV1/Conv2d_0/weights" else None
        for name in factors
        if name.endswith(("beta", "gamma", "biases", "depthwise_weights", "Conv2d_0/weights"))
    }

    @register_network(
        first_layer="fc1",
        head="fc1",
        default_image_size=8,
        minimum_image_size=8,
        preprocessing="cuda_convnet",
        decays_biases=True,
    )
    def linear(images, num_classes=10):
        pooled = keras.layers.GlobalAveragePooling2D()(images)
        logits = keras.layers.Dense(num_classes, name="fc1")(pooled)
        return logits, {"linear/fc1": logits}

    assert decay_of("linear") == {"linear/fc1/weights": 1, "linear/fc1/biases": 1}


def test_statistics_of_what_is_not_trained_stay_as_they_are():
    scopes = ["MobilenetV1/Logits", "MobilenetV1/Conv2d_13_pointwise/BatchNorm/beta"]
    state = make_training_state(
        lambda: get_network_fn("mobilenet_v1_025", 3), OptimizerSettings(), trainable_scopes=scopes
    )
    variables = state.network_fn.variables
    before = {name: variable.numpy() for name, variable in variables.items()}
    images = np.random.default_rng(0).normal(0, 1, (2, 32, 32, 3)).astype(np.float32)
    state.network_fn(images, is_training=True)
    moved = {name for name, value in before.items() if np.any(value != variables[name])}
    assert moved == {
        f"MobilenetV1/Conv2d_13_pointwise/BatchNorm/moving_{name}" for name in ("mean", "variance")
    }


@pytest.mark.parametrize("replicas", [1, 2])
def test_averages_take_the_place_of_the_weights_for_a_while(replicas):
    state = make(strategy=devices.make_strategy(num_replicas=replicas), keep_averages=True)
    trained = {name: variable.numpy() for name, variable in state.network_fn.variables.items()}
    for average in state.averages.values():
        average.assign(average * 0 + 7)

    def values():
        return {name: variable.numpy() for name, variable in state.network_fn.variables.items()}

    def fail_in_between():
        with state.averages_in_place():
            assert all((value == 7).all() for value in values().values())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_between()
    for name, value in values().items():
        np.testing.assert_array_equal(value, trained[name])
    state.start_averages()
    for name, average in state.averages.items():
        np.testing.assert_array_equal(average.numpy(), trained[name])


def test_without_averages_the_weights_stay_in_their_place():
    state = make()
    assert not state.averages
    before = state.network_fn.variables["tiny/fc3/weights"].numpy()
    with state.averages_in_place():
        np.testing.assert_array_equal(
            state.network_fn.variables["tiny/fc3/weights"].numpy(), before
        )


def test_float16_scales_its_loss_and_nothing_else_does():
    for policy, is_scaled in (("mixed_float16", True), ("mixed_bfloat16", False)):
        state = make(dtype_policy=policy)
        assert (float(state.optimizer.scale_loss(1.0)) > 1) == is_scaled
        assert state.network_fn.variables["tiny/fc3/weights"].dtype == "float32"


def test_a_network_that_gives_a_map_of_logits_is_refused():
    with pytest.raises(ValueError, match=r"cifarnet_18pct gives a map of logits .*global_pool"):
        make_training_state(
            lambda: get_network_fn("cifarnet_18pct", 10, spatial_squeeze=False),
            OptimizerSettings(),
        )


def test_what_is_saved_has_the_step_and_each_variable_once():
    saved = make(keep_averages=True).variables_to_save()
    assert set(saved) == {"step", "network", "optimizer", "averages"}
    assert saved["network"].keys() == saved["averages"].keys()
    paths = [variable.path for variable in saved["optimizer"]]
    assert len(set(paths)) == len(paths)
