"""`bvlc_alexnet.npy` and its like: a NumPy file that holds a pickled dictionary of layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from weight_formats.restricted_pickle import ArrayUnpickler, PickledArray


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
        loaded = _plain(ArrayUnpickler(file).load())
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not a dictionary of layers")
    return {
        f"{layer}/{kind}": _array(f"{layer}/{kind}", array)
        for layer, entry in loaded.items()
        for kind, array in _parts(layer, _plain(entry))
    }


def _parts(layer: Any, entry: Any) -> list[tuple[str, Any]]:
    if isinstance(entry, dict):
        return list(entry.items())
    if isinstance(entry, list | tuple) and len(entry) in (1, 2):
        return list(zip(("weights", "biases"), entry, strict=False))
    raise ValueError(
        f"its layer {layer!r} is of type {type(entry).__name__}, not [weights, biases]"
    )


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, PickledArray) else value


def _array(name: str, value: Any) -> np.ndarray:
    value = _plain(value)
    if not isinstance(value, np.ndarray):
        raise ValueError(f"its {name} is of type {type(value).__name__}, not an array")
    return value
