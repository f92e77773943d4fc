"""Checkpoints of a network's kin, and what is said of them."""

import keras
import numpy as np
import pytest

from nets.nets_factory import get_network_fn
from training.checkpoints.mismatch import BY_FLAGS, BY_FLAGS_WITH_SCOPES, IN_PYTHON
from training.checkpoints.restoring import restore_network
from training.zoo.table import PublishedCheckpoint, published_checkpoints


def outlined(name, *arguments, **options):
    """A network whose variables have names and shapes alone."""
    with keras.StatelessScope(initialize_variables=False):
        return get_network_fn(name, *arguments, **options)


def zeros_of(*arguments, **options):
    variables = outlined(*arguments, **options).variables
    return {name: np.zeros(variable.shape, np.float32) for name, variable in variables.items()}


def message_of(network_fn, path, **options):
    with pytest.raises(ValueError, match=f"does not fit {network_fn.name}") as error:
        restore_network(network_fn, path, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("remedies", "given"),
    [
        (IN_PYTHON, "Give get_network_fn('mobilenet_v1_050', ...)."),
        (BY_FLAGS, "Give --model_name=mobilenet_v1_050."),
        (BY_FLAGS_WITH_SCOPES, "Give --model_name=mobilenet_v1_050."),
    ],
)
def test_the_network_of_another_width_is_named(remedies, given, write_tensorflow_1):
    path = write_tensorflow_1({**zeros_of("mobilenet_v1_050", 7), "global_step": np.int64(3)})
    message = message_of(outlined("mobilenet_v1_025"), path, remedies=remedies)
    assert message.endswith(f"variables of: MobilenetV1. mobilenet_v1_050 fits. {given}")
    assert len(message.splitlines()) == 7  # with four variables, and how many more


@pytest.mark.slow
def test_options_of_published_networks_are_named(write_tensorflow_1):
    narrow = {"depth_multiplier": 0.125}
    path = write_tensorflow_1(zeros_of("mobilenet_v1_025", **narrow))
    row = PublishedCheckpoint(
        name="narrow",
        network="mobilenet_v1_025",
        url="",
        image_size=128,
        num_classes=1001,
        network_options=narrow,
    )
    with published_checkpoints.restored():
        published_checkpoints.register("narrow")(row)
        message = message_of(outlined("mobilenet_v1_025"), path)
    assert "mobilenet_v1_025 with depth_multiplier=0.125 fits." in message
    assert "Give get_network_fn('mobilenet_v1_025', ..., depth_multiplier=0.125)." in message


@pytest.mark.slow
def test_where_names_are_others_those_of_the_file_are_listed_too(write_tensorflow_1):
    values = zeros_of("mobilenet_v1_025")
    renamed = {name.replace("BatchNorm", "bn"): value for name, value in values.items()}
    slots = {f"{name}/RMSProp": value for name, value in renamed.items()}
    path = write_tensorflow_1({**renamed, **slots})
    network_fn = outlined("mobilenet_v1_025")
    message = message_of(network_fn, path)
    assert "  MobilenetV1/Conv2d_0/BatchNorm/gamma is not in it" in message
    assert "  MobilenetV1/Conv2d_0/bn/beta [8] is in it, and mobilenet_v1_025 has no" in message
    assert message.count("and 104 more") == 2  # of 27 layers with 4 each
    assert "RMSProp" not in message
    assert "Or leave out scopes with exclude_scopes, or what is missing with ignore_mis" in message
    message = message_of(network_fn, path, remedies=BY_FLAGS_WITH_SCOPES)
    assert "--checkpoint_exclude_scopes, or what is missing with --ignore_missing_vars." in message
    assert "Or leave out" not in message_of(network_fn, path, remedies=BY_FLAGS)


def test_what_was_given_is_not_advised_again(write_tensorflow_1):
    values = zeros_of("lenet")
    del values["LeNet/conv1/biases"]
    values["LeNet/conv2/biases"] = np.zeros(3, np.float32)
    path = write_tensorflow_1(values)
    message = message_of(outlined("lenet"), path, ignore_missing=True)
    assert message.endswith("Or leave out scopes with exclude_scopes.")
    message = message_of(outlined("lenet"), path, exclude_scopes=["LeNet/conv2"])
    assert "is in it" not in message.replace("is not in it", "")  # what is excluded is known
    assert "what is missing with ignore_missing=True" in message


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("mobilenet_v2_1.0_224", "mobilenet_v2"),
        ("mobilenet_v1_0.5_160", "mobilenet_v1_050"),
        ("mobilenet_v2_0.75_224", "mobilenet_v2 with depth_multiplier=0.75"),
    ],
)
def test_a_network_called_like_published_weights_is_told_which_one_they_are_of(name, network):
    with pytest.raises(ValueError, match=f"'{name}'. zoo:{name} is a .* of the network {network}"):
        get_network_fn(name)
    with pytest.raises(ValueError, match="Did you mean 'mobilenet_v2'"):
        get_network_fn("mobilenet_v22")
