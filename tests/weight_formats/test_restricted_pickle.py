"""The unpickler by itself and, where that is what a user meets, through a file of NumPy."""

import collections
import io
import pickle

import numpy as np
import pytest
from weight_file_writers import write_pickled

from weight_formats import read_weights
from weight_formats.restricted_pickle import ArrayUnpickler, RefusedPickleError


def load(content, **options):
    return ArrayUnpickler(io.BytesIO(content), **options).load()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "i8", "u1", "?"])
def test_arrays_are_what_pickle_itself_gives(dtype, protocol):
    array = np.arange(-3, 3).reshape(2, 3).astype(dtype)
    for given in (array, np.asfortranarray(array)):
        loaded = load(pickle.dumps(given, protocol)).value()
        assert loaded.dtype == given.dtype
        np.testing.assert_array_equal(loaded, given)


def test_what_holds_arrays_is_loaded_as_it_is():
    contents = collections.OrderedDict(a=[1, 2.5, "text"], b={"c": (None, True)}, d=b"bytes")
    for protocol in (2, 4):
        assert load(pickle.dumps(contents, protocol)) == contents
    scalar = load(pickle.dumps(np.float32(1.5), 4)).value()
    assert (scalar.shape, float(scalar)) == ((), 1.5)


def test_what_lies_outside_is_asked_for_or_refused():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return "storage" if value == "outside" else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(["inside", "outside"])
    with pytest.raises(RefusedPickleError, match="refers to something outside of itself"):
        load(buffer.getvalue())
    loaded = load(buffer.getvalue(), persistent_load=lambda reference: f"<{reference}>")
    assert loaded == ["inside", "<storage>"]


@pytest.mark.parametrize(
    "name",
    [
        *("builtins.eval", "builtins.getattr", "os.system", "subprocess.Popen", "numpy.load"),
        *("numpy.core.multiarray.fromstring", "functools.partial", "operator.attrgetter"),
    ],
)
def test_no_other_name_is_known_to_the_unpickler(name, tmp_path):
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "weights.npy"
    write_pickled(path, f"c{module}\n{attribute}\n.".encode())
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
    if values.parts[0] is np.dtype:
        reconstruct, kind, _ = np.zeros(1, np.float32).__reduce__()
        values = Calling(reconstruct, kind, (1, (1,), values, False, b"A" * 8))
    write_pickled(path, pickle.dumps({**arrays, "conv2": [values, arrays["conv1"][1]]}))
    with pytest.raises(ValueError, match=r"weights\.npy cannot be read"):
        read_weights(str(path))
