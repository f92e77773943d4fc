"""`bvlc_alexnet.npy` and its like: a NumPy file that holds a pickled dictionary of layers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from weight_formats.restricted_pickle import ArrayUnpickler


def read_numpy(path: str) -> dict[str, np.ndarray]:
    """Reads weights from an .npy file (a dictionary) or an .npz file (named arrays).

    A dictionary's layers are [weights, biases] or {"weights": ..., "biases": ...}.

    Returns:
      Arrays by "layer/weights", "layer/biases".

    Raises:
      ValueError: if the file holds anything else.
    """
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"it is of NumPy's format {version}")
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            raise ValueError(f"it holds one array of {dtype} {list(shape)}, not layers by name")
        try:
            loaded = ArrayUnpickler(file).load()
        except (pickle.UnpicklingError, EOFError, IndexError, AttributeError, TypeError) as error:
            raise ValueError(f"its pickle is damaged: {error}") from error
    if isinstance(loaded, np.ndarray) and loaded.size == 1:
        loaded = loaded.reshape(-1)[0]
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not a dictionary of layers")
    return {
        f"{layer}/{kind}": np.asarray(array)
        for layer, entry in loaded.items()
        for kind, array in _parts(layer, entry)
    }


def _parts(layer: Any, entry: Any) -> list[tuple[str, Any]]:
    if isinstance(entry, dict):
        return list(entry.items())
    if isinstance(entry, list | tuple | np.ndarray) and len(entry) in (1, 2):
        return list(zip(("weights", "biases"), entry, strict=False))
    raise ValueError(f"its layer {layer!r} is a {type(entry).__name__}, not [weights, biases]")
