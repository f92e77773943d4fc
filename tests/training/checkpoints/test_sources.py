import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from training.checkpoints.sources import (
    DamagedCheckpointError,
    damage_explained,
    find_key,
    open_source,
)

OURS = "network/tiny.Sconv1.Sweights/.ATTRIBUTES/VARIABLE_VALUE"
AVERAGE = "averages/tiny.Sconv1.Sweights/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize(
    ("keys", "use_moving_average", "found"),
    [
        ([OURS, AVERAGE], False, OURS),
        ([OURS, AVERAGE], True, AVERAGE),
        ([OURS], True, OURS),  # a run that kept none
        (["tiny/conv1/weights"], False, "tiny/conv1/weights"),
        (["tiny/conv1/weights/Momentum"], False, None),
    ],
)
def test_a_variable_is_known_by_our_name_for_it_or_tf_slims(keys, use_moving_average, found):
    shapes = {key: [3] for key in keys}
    assert find_key("tiny/conv1/weights", shapes, use_moving_average) == found


def test_keys_are_those_that_tensorflow_writes(tmp_path):
    names = ["a.b/conv1/weights", "a_b/conv1/weights", "a/b.Sc"]
    checkpoint = tf.train.Checkpoint(network={name: tf.Variable(0.0) for name in names})
    reader = tf.train.load_checkpoint(checkpoint.write(str(tmp_path / "model.ckpt-1")))
    shapes = reader.get_variable_to_shape_map()
    found = [find_key(name, shapes) for name in names]
    assert None not in found
    assert len(set(found)) == 3


def test_a_checkpoint_of_a_run_is_read_without_its_optimizer(trained):
    with open_source(f"{trained}/model.ckpt-6", get_network_fn("tiny", 3)) as source:
        assert source.scopes == ["tiny"]
        assert source.unexpected == []  # momentum and counters are nobody's weights
        key = find_key("tiny/fc3/biases", source.shapes)
        assert source.read(key).shape == (3,)


def test_a_checkpoint_of_tf_slim_is_read_without_its_optimizer(network_fn, write_tensorflow_1):
    values = {name: variable.numpy() for name, variable in network_fn.variables.items()}
    momentum = {f"{name}/Momentum": value for name, value in values.items()}
    path = write_tensorflow_1({**values, **momentum, "global_step": np.int64(3)})
    with open_source(path, network_fn) as source:
        assert source.unexpected == []
        assert "cifarnet_18pct" in source.scopes
    with (
        pytest.raises(ValueError, match="--bgr_to_rgb is for files of other frameworks"),
        open_source(path, network_fn, bgr_to_rgb=True),
    ):
        pass


def test_a_file_of_weights_has_the_networks_names_and_layouts(network_fn, cifarnet_file):
    with open_source(cifarnet_file, network_fn) as source:
        assert source.shapes["cifarnet_18pct/fc10/weights"] == [4, 4, 64, 10]
        assert source.read("cifarnet_18pct/conv1/biases").shape == (32,)
        assert source.scopes == []


def test_a_torn_checkpoint_is_called_damaged(network_fn, write_tensorflow_1, tmp_path):
    path = write_tensorflow_1({"a/weights": np.zeros(300, np.float32)})
    index = tmp_path / "slim.ckpt.index"
    index.write_bytes(index.read_bytes()[:20])
    with (
        pytest.raises(DamagedCheckpointError, match=r"slim\.ckpt cannot be read: it is damaged"),
        open_source(path, network_fn),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (tf.errors.DataLossError(None, None, "torn"), "is damaged or incomplete"),
        (tf.errors.UnknownError(None, None, "Input/output error"), "cannot be read: Input/output"),
        (tf.errors.PermissionDeniedError(None, None, "mine"), "cannot be read: mine"),
        (RuntimeError("torn"), "is damaged or incomplete"),
        (AssertionError("not consumed"), "of a run with other settings.*flags.txt"),
        (ValueError("incompatible tensor with shape"), "of a run with other settings"),
    ],
)
def test_what_tensorflow_raises_is_explained(error, message):
    def fail():
        with damage_explained("a/model.ckpt-7"):
            raise error

    with pytest.raises(ValueError, match=f"The checkpoint a/model.ckpt-7 .*{message}"):
        fail()
