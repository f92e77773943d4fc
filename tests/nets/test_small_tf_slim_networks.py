"""TF-Slim's LeNet and CifarNet, beyond their numbers in test_tf_slim_zoo.py."""

import keras
import numpy as np
import pytest

from nets.nets_factory import get_network_fn, networks
from slimzoo.configuration import TrainingConfig
from training.variable_factors import VariableFactors


def test_lenet_takes_grey_images_of_its_size_alone(outlined):
    network_fn = outlined("lenet")
    assert network_fn.channels == networks["lenet"].channels == 1
    assert network_fn.model.input_shape == (None, 28, 28, 1)
    with pytest.raises(ValueError, match=r"it takes \[batch, height, width, 1\]"):
        network_fn(np.zeros([1, 28, 28, 3], np.float32))
    with pytest.raises(ValueError, match="it takes 28x28 alone"):
        network_fn(np.zeros([1, 32, 32, 1], np.float32))


def test_other_networks_take_three_channels(outlined):
    network_fn = outlined("cifarnet")
    assert network_fn.channels == 3
    with pytest.raises(ValueError, match=r"it takes \[batch, height, width, 3\]"):
        network_fn(np.zeros([1, 32, 32, 1], np.float32))


@pytest.mark.parametrize(
    ("name", "scope", "deviations", "biases"),
    [
        ("lenet", "LeNet", {"conv1": 0.1, "conv2": 0.1, "fc3": 0.1, "fc4": 0.1}, {}),
        (
            "cifarnet",
            "CifarNet",
            {"conv1": 0.05, "conv2": 0.05, "fc3": 0.04, "fc4": 0.04, "logits": 1 / 192},
            {"fc3": 0.1, "fc4": 0.1},
        ),
    ],
)
def test_initial_values_are_tf_slims(name, scope, deviations, biases):
    variables = get_network_fn(name).variables
    assert len(variables) == 2 * len(deviations)
    for layer, deviation in deviations.items():
        weights = variables[f"{scope}/{layer}/weights"].numpy()
        assert np.abs(weights).max() <= 2 * deviation
        assert weights.std() == pytest.approx(0.8796 * deviation, rel=0.1)  # of 800 or more
        assert variables[f"{scope}/{layer}/biases"].numpy() == pytest.approx(biases.get(layer, 0))


@pytest.mark.parametrize(("name", "weight_decay"), [("lenet", 0), ("cifarnet", 0.004)])
def test_training_decays_what_regularization_loss_does(name, weight_decay):
    hyperparameters = networks[name].hyperparameters
    config = TrainingConfig(model_name=name).with_defaults(hyperparameters)
    assert config.weight_decay == weight_decay
    with keras.StatelessScope(initialize_variables=False):
        variables = get_network_fn(name, weight_decay=1).variables
    names = [name for name in variables if name.endswith("/weights")]
    factors = VariableFactors(
        "weight_decay_factors", config.weight_decay_factors, names, None, False
    ).at(0)
    decays = [float(variables[name].regularizer is not None) for name in names]
    assert sum(decays) == {"lenet": 4, "cifarnet": 2}[name]
    np.testing.assert_array_equal(
        np.broadcast_to(factors, len(names)) if len(factors) else 1, decays
    )
