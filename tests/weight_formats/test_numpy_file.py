import os
import pickle

import numpy as np
import pytest
from weight_file_writers import assert_reads_as, flat, write_pickled

from weight_formats import read_weights
from weight_formats.numpy_file import read_numpy


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["lists", "dictionaries"])
def test_a_pickled_dictionary_in_both_of_its_forms(form, protocol, arrays, tmp_path):
    layers = arrays
    if form == "dictionaries":
        layers = {name: {"weights": pair[0], "biases": pair[1]} for name, pair in arrays.items()}
    path = tmp_path / "bvlc_alexnet.npy"
    # As np.save writes it, in the protocols of Python 2 and 3.
    write_pickled(path, pickle.dumps(np.array(layers, dtype=object), protocol))
    assert_reads_as(path, "numpy", flat(arrays))


def test_an_npz_of_named_arrays(arrays, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **flat(arrays))
    assert_reads_as(path, "numpy", flat(arrays))


class Payload:
    """Unpickled by pickle itself, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_a_command_is_refused_and_does_not(arrays, tmp_path):
    evidence = tmp_path / "evidence"
    path = tmp_path / "bvlc_alexnet.npy"
    write_pickled(path, pickle.dumps({**arrays, "conv2": Payload(evidence)}))
    with pytest.raises(ValueError, match=r"bvlc_alexnet\.npy.*asks for '(posix|nt|os)\.system'"):
        read_weights(str(path))
    assert not evidence.exists()
    with path.open("rb") as file:  # the same bytes do run where pickle is left to itself
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert evidence.exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (np.zeros(3), r"one array of float64 \[3\], not layers by name"),
        (["a"], "holds a str, not a dictionary"),
        ({"conv1": 3}, "its layer 'conv1' is of type int, not"),
        ({"conv1": [1.0, 2.0]}, "its conv1/weights is of type float, not an array"),
    ],
)
def test_what_holds_no_layers_is_said(contents, message, tmp_path):
    path = tmp_path / "weights.npy"
    if not isinstance(contents, np.ndarray):
        contents = np.array(contents, dtype=object)
    np.save(path, contents, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read_numpy(str(path))


def test_a_layer_without_biases_has_weights_alone(tmp_path):
    path = tmp_path / "weights.npy"
    weights = np.ones((2, 3), np.float32)
    np.save(path, np.array({"conv1": [weights]}, dtype=object), allow_pickle=True)
    assert_reads_as(path, "numpy", {"conv1/weights": weights})
