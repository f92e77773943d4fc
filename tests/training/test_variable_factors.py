import keras
import numpy as np
import pytest
from network_names import ALEXNETS

from nets import nets_factory
from slimzoo.configuration import TrainingConfig
from training.variable_factors import VariableFactors

NAMES = ["net/conv1/weights", "net/conv1/biases", "net/fc2/weights", "net/fc2/biases"]


def test_factors_of_patterns_are_multiplied_and_change_at_their_epochs():
    entries = ["*/biases=2", "net/conv1/*@67=0.1", "net/conv1/*@72=0", "*/biases@70=4"]
    factors = VariableFactors("learning_rate_factors", entries, NAMES)
    assert factors.at(0) == [1, 2, 1, 2]
    assert factors.at(66.99) == [1, 2, 1, 2]
    np.testing.assert_allclose(factors.at(67), [0.1, 0.2, 1, 2])
    np.testing.assert_allclose(factors.at(70), [0.1, 0.4, 1, 4])
    assert factors.at(90) == [0, 0, 1, 4]
    assert not VariableFactors("learning_rate_factors", [], NAMES)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("*/biases", r"has '\*/biases'; it takes PATTERN=FACTOR"),
        ("*/biases=two", "has .*two"),
        ("=2", "has '=2'"),
        ("*/biases@-1=2", "numbers of 0 or more"),
        ("*/biases=-1", "numbers of 0 or more"),
        ("*/biases=nan", "numbers of 0 or more"),
        ("*/bias=2", r"'\*/bias' matches no variable.*net/conv1/weights"),
    ],
)
def test_a_bad_entry_is_named(entry, message):
    with pytest.raises(ValueError, match=f"--learning_rate_factors.*{message}"):
        VariableFactors("learning_rate_factors", [entry], NAMES)


def test_a_network_can_name_variables_that_are_not_trained():
    factors = VariableFactors("weight_decay_factors", ["*/conv1/*=0"], NAMES[2:], NAMES)
    assert factors.at(0) == [1, 1]


def test_weight_decay_takes_no_epochs():
    with pytest.raises(ValueError, match="it takes no epochs"):
        VariableFactors("weight_decay_factors", ["*@3=2"], NAMES, takes_epochs=False)


@pytest.mark.parametrize("name", ALEXNETS)
def test_what_a_network_was_trained_with_fits_its_variables(name):
    network = nets_factory.networks[name]
    config = TrainingConfig(model_name=name).with_defaults(network.hyperparameters)
    if not (config.learning_rate_factors or config.weight_decay_factors):
        return
    with keras.StatelessScope(initialize_variables=False):  # names alone, in no time
        names = list(nets_factory.get_network_fn(name, 10).variables)
    rates = VariableFactors("learning_rate_factors", config.learning_rate_factors, names).at(0)
    assert set(zip([n.endswith("/biases") for n in names], rates, strict=True)) == {
        (True, 2.0),
        (False, 1.0),
    }
    decays = VariableFactors(
        "weight_decay_factors", config.weight_decay_factors, names, None, False
    )
    expected = {
        "alexnet_torchvision": [1e-4] * 8,
        "cifarnet_18pct": [0.004, 0.004, 0.004, 1.0],
        "cifarnet_13pct": [0, 0, 0.004, 0.004, 0.004],
        "cifarnet_11pct": [0, 0, 0.004, 0.004, 0.01],
    }.get(name, [5e-4] * (len(names) // 2))
    of_weights = [
        factor * config.weight_decay
        for n, factor in zip(names, decays.at(0), strict=True)
        if n.endswith("/weights")
    ]
    np.testing.assert_allclose(of_weights, expected)
