"""TF-Slim's `lenet` and `cifarnet`, beyond their numbers in test_tf_slim_zoo.py."""

import numpy as np
import pytest

from nets.nets_factory import get_network_fn, networks
from slimzoo.configuration import TrainingConfig
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state


def test_lenet_takes_grey_images_of_its_size_alone(outlined):
    network_fn = outlined("lenet")
    assert network_fn.model.input_shape == (None, 28, 28, 1)
    with pytest.raises(ValueError, match=r"it takes \[batch, height, width, 1\], grey"):
        network_fn(np.zeros([1, 28, 28, 3], np.float32))
    with pytest.raises(ValueError, match="it takes 28x28 alone"):
        network_fn(np.zeros([1, 32, 32, 1], np.float32))


def test_cifarnet_takes_colours_alone(outlined):
    with pytest.raises(ValueError, match=r"it takes \[batch, height, width, 3\]\."):
        outlined("cifarnet")(np.zeros([1, 32, 32, 1], np.float32))


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


@pytest.mark.parametrize(
    ("name", "rate", "decaying"),
    [("lenet", 0, ()), ("cifarnet", 0.004, ("CifarNet/fc3/weights", "CifarNet/fc4/weights"))],
)
def test_training_by_default_decays_what_tf_slim_does(name, rate, decaying):
    config = TrainingConfig(model_name=name).with_defaults(networks[name].hyperparameters)
    assert config.weight_decay == rate
    settings = OptimizerSettings(optimizer="sgd", weight_decay=config.weight_decay)
    state = make_training_state(lambda: get_network_fn(name), settings)
    before = {key: variable.numpy() for key, variable in state.trainable.items()}
    zeros = [np.zeros(variable.shape, np.float32) for variable in state.trainable.values()]
    state.optimizer.apply(zeros, list(state.trainable.values()))
    moved = [key for key, value in before.items() if (value != state.trainable[key].numpy()).any()]
    assert moved == list(decaying)
