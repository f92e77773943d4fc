import os
import pickle

import h5py
import keras
import numpy as np
import pytest

from weight_formats import is_weight_file, read_weights


def flat(arrays):
    return {
        f"{name}/{kind}": array
        for name, pair in arrays.items()
        for kind, array in zip(("weights", "biases"), pair, strict=True)
    }


def assert_reads_as(path, file_format, expected):
    assert is_weight_file(str(path))
    weights = read_weights(str(path))
    assert weights.format == file_format
    assert set(weights.tensors) == set(expected)
    for name, array in expected.items():
        assert weights.tensors[name].shape == array.shape
        np.testing.assert_array_equal(weights.tensors[name], array)


@pytest.mark.parametrize("old", [False, True])
def test_a_caffemodel(old, arrays, write_caffemodel, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(write_caffemodel(arrays, old))
    assert_reads_as(path, "caffemodel", flat(arrays))


def test_safetensors(arrays, write_safetensors, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(write_safetensors(flat(arrays)))
    assert_reads_as(path, "safetensors", flat(arrays))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["lists", "dictionaries"])
def test_a_pickled_dictionary_in_both_of_its_forms(form, protocol, arrays, tmp_path):
    layers = arrays
    if form == "dictionaries":
        layers = {name: {"weights": pair[0], "biases": pair[1]} for name, pair in arrays.items()}
    path = tmp_path / "bvlc_alexnet.npy"
    with path.open("wb") as file:
        # As np.save writes it, in the protocols of Python 2 and 3.
        array = np.array(layers, dtype=object)
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump(array, file, protocol=protocol)
    assert_reads_as(path, "numpy", flat(arrays))


def test_an_npz_of_named_arrays(arrays, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **flat(arrays))
    assert_reads_as(path, "numpy", flat(arrays))


def test_the_weights_of_a_keras_model(tmp_path):
    keras.utils.clear_session()
    model = keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Conv2D(4, 3),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(5, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
        ]
    )
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    layers = [layer for layer in model.layers if layer.weights]
    expected = {
        f"{name}/{number}": value
        for name, layer in zip(("conv2d", "conv2d_1", "dense"), layers, strict=True)
        for number, value in enumerate(layer.get_weights())
    }
    assert_reads_as(path, "keras", expected)


class Payload:
    """Unpickled by pickle itself, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def malicious(path, evidence, layers):
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump({**layers, "conv2": Payload(evidence)}, file)


def test_a_pickle_that_would_run_a_command_is_refused_and_does_not(arrays, tmp_path):
    evidence = tmp_path / "evidence"
    path = tmp_path / "bvlc_alexnet.npy"
    malicious(path, evidence, arrays)
    with pytest.raises(ValueError, match=r"bvlc_alexnet\.npy.*asks for '(posix|nt|os)\.system'"):
        read_weights(str(path))
    assert not evidence.exists()
    with path.open("rb") as file:  # the same bytes do run where pickle is left to itself
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert evidence.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("builtins.eval", "builtins.getattr", "os.system", "subprocess.Popen", "numpy.load"),
        *("numpy.core.multiarray.fromstring", "functools.partial", "operator.attrgetter"),
    ],
)
def test_no_other_name_is_known_to_the_unpickler(name, tmp_path):
    module, _, attribute = name.rpartition(".")
    program = f"c{module}\n{attribute}\n.".encode()
    path = tmp_path / "weights.npy"
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(program)
    with pytest.raises(ValueError, match=f"asks for '{name}'"):
        read_weights(str(path))


class Calling:
    """Pickled as a call of `function`, and then, if there is one, as a state that is set."""

    def __init__(self, function, arguments, *state):
        self.parts = (function, arguments, *state)

    def __reduce__(self):
        return self.parts


FIELDS = (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)
CRAFTED = {
    "an object array over an address": Calling(np.ndarray, ((1,), np.dtype("O"), b"A" * 8)),
    "a dtype with a field of objects and no flag": Calling(np.dtype, ("V8",), FIELDS),
    "a dtype of another size": Calling(np.dtype, ("f4",), (3, "<", None, None, None, 4096, 1, 0)),
    "a huge array of nothing": Calling(np.ndarray, ((1 << 36,),)),
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_array_is_refused_before_numpy_sees_it(crafted, arrays, tmp_path):
    path = tmp_path / "weights.npy"
    values = CRAFTED[crafted]
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        if isinstance(values, Calling) and values.parts[0] is np.dtype:
            reconstruct, kind, _ = np.zeros(1, np.float32).__reduce__()
            values = Calling(reconstruct, kind, (1, (1,), values, False, b"A" * 8))
        pickle.dump({**arrays, "conv2": [values, arrays["conv1"][1]]}, file)
    with pytest.raises(ValueError, match=r"weights\.npy cannot be read"):
        read_weights(str(path))


@pytest.mark.parametrize("kind", ["caffemodel", "safetensors", "npy", "npz"])
def test_damaged_bytes_are_an_error_or_other_numbers_and_never_a_crash(
    kind, arrays, write_caffemodel, write_safetensors, tmp_path
):
    path = tmp_path / f"weights.{kind}"
    if kind == "caffemodel":
        path.write_bytes(write_caffemodel(arrays))
    elif kind == "safetensors":
        path.write_bytes(write_safetensors(flat(arrays)))
    elif kind == "npz":
        np.savez(path, **flat(arrays))
    else:
        np.save(path, np.array(arrays, dtype=object), allow_pickle=True)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = content.copy()
        # Most of a file is numbers; what is before and behind them is more delicate.
        place = generator.integers(min(400, len(content))) * generator.choice([1, -1])
        damaged[place] = generator.integers(256)
        path.write_bytes(damaged.tobytes())
        try:
            read_weights(str(path))
        except ValueError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["caffemodel", "safetensors", "npy", "weights.h5"])
def test_a_truncated_file_is_refused(
    kind, share, arrays, write_caffemodel, write_safetensors, tmp_path
):
    path = tmp_path / f"weights.{kind}"
    if kind == "caffemodel":
        path.write_bytes(write_caffemodel(arrays))
    elif kind == "safetensors":
        path.write_bytes(write_safetensors(flat(arrays)))
    elif kind == "npy":
        np.save(path, np.array(arrays, dtype=object), allow_pickle=True)
    else:
        with h5py.File(path, "w") as file:
            file["layers/conv2d/vars/0"] = arrays["conv1"][0]
            file["layers/conv2d/vars/1"] = arrays["conv1"][1]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=f"weights.{kind}"):
        read_weights(str(path))


def test_nans_and_unknown_formats_and_missing_files_are_named(arrays, write_safetensors, tmp_path):
    arrays["fc6"][0][2, 3] = np.nan
    path = tmp_path / "model.safetensors"
    path.write_bytes(write_safetensors(flat(arrays)))
    with pytest.raises(ValueError, match="NaNs or infinities in fc6/weights"):
        read_weights(str(path))
    text = tmp_path / "notes.txt"
    text.write_text("these are no weights, whatever one may wish for")
    assert not is_weight_file(str(text))
    with pytest.raises(ValueError, match=r"format of .*notes\.txt is not known.*\.caffemodel"):
        read_weights(str(text))
    text.write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt is empty"):
        read_weights(str(text))
    keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(tmp_path / "whole.keras")
    with pytest.raises(ValueError, match=r"whole model of Keras.*save_weights\("):
        read_weights(str(tmp_path / "whole.keras"))
    with pytest.raises(ValueError, match=r"nowhere\.pth does not exist"):
        read_weights(str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a\x03net", "no layers with weights"),
        (b"\x0b\x03net", "wire type 3"),
        (b"\xff" * 30, "more than ten bytes"),
    ],
)
def test_what_is_no_caffemodel_says_why(content, message, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Caffe.*{message}"):
        read_weights(str(path))
