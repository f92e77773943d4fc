"""Four logical CPU devices for the whole session: TensorFlow must be told before it starts."""

from slimzoo import environment  # isort: skip

environment.set_up()  # as the commands do, before TensorFlow is imported

import contextlib
import ctypes
import gc
import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf
from published_files import publish, server, zoo_folder  # noqa: F401
from tiny_network import photos, trained  # noqa: F401
from weight_file_writers import (  # noqa: F401
    arrays,
    cifarnet_file,
    cifarnet_layers,
    write_caffemodel,
    write_safetensors,
)

from image_datasets.registry import sources
from nets.registry import networks
from preprocessing.preprocessing_factory import PREPROCESSINGS
from training.optimizers import optimizers

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)
tf.config.list_logical_devices()  # and starts, before a test asks for two
# Tests compare digits, of which a GPU would otherwise give three in a product.
tf.config.experimental.enable_tensor_float_32_execution(False)


def pytest_collection_finish():
    """What has been imported stays: no collection of garbage to come need look at it."""
    gc.collect()
    gc.freeze()


def memory():
    """What this process has, in KiB; where Linux does not tell, the most that it ever had."""
    with contextlib.suppress(OSError):
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def give_back_freed_memory():
    """To the system, where the C library is glibc, which has been told to keep it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def memory_after_collection():
    """What there was when garbage was last collected."""
    return [memory()]


@pytest.fixture(autouse=True)
def _no_leftovers_of_keras(memory_after_collection):
    """Names that Keras counts up, and large models, end with each test.

    To collect garbage after each would take a third of the time of all tests. It is done when they
    have come to need more memory.
    """
    yield
    tf.keras.backend.clear_session(free_memory=False)
    if memory() > memory_after_collection[0] + 200 * 1024:
        gc.collect()
        give_back_freed_memory()
        memory_after_collection[0] = memory()


@pytest.fixture(scope="session")
def real_data_dir() -> str:
    """The TFDS folder with real prepared datasets, which is beside the repository or nowhere."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "tfds"
    if not folder.is_dir():
        pytest.skip(f"there are no prepared datasets in {folder}")
    return str(folder)


@pytest.fixture(scope="session")
def noise():
    """Makes float32 [batch, height, width, 3] of the range of pixels less their mean."""

    def make(batch: int, height: int, width: int | None = None, seed: int = 0) -> tf.Tensor:
        shape = (batch, height, width or height, 3)
        values = np.random.default_rng(seed).uniform(-128, 128, shape)
        return tf.constant(values, tf.float32)

    return make


@pytest.fixture
def registries_restored():
    """Lets a test register what no other test sees."""
    with contextlib.ExitStack() as stack:
        for registry in (networks, PREPROCESSINGS, sources, optimizers):
            stack.enter_context(registry.restored())
        yield
