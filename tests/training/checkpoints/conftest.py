"""Networks of CIFAR's size and the files that TensorFlow 1 keeps weights in."""

import pytest
from published_files import write_tensorflow_1_checkpoint

from nets.nets_factory import get_network_fn


@pytest.fixture
def network_fn():
    return get_network_fn("cifarnet_18pct", 10)


@pytest.fixture
def write_tensorflow_1(tmp_path):
    """Writes values by their names as TF-Slim did, and returns the checkpoint's path."""

    def write(values, name="slim.ckpt", version=2):
        return write_tensorflow_1_checkpoint(tmp_path / name, values, version)

    return write
