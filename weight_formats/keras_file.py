"""Keras' `.weights.h5`: each layer's variables, by the layer's name in the file."""

from __future__ import annotations

import os
import re

import h5py
import numpy as np

# The groups of a file that hold the layers of a model.
_LISTS = ("layers", "_layer_checkpoint_dependencies")


def read_keras(path: str) -> dict[str, np.ndarray]:
    """Reads every layer's variables.

    Returns:
      Arrays by "layer/0", "layer/1", ...: the layer's name in the file ("conv2d_1") and the number
      of the variable in it. Keras names layers in its files by class and number. The layers of a
      model in a model have that one's name before theirs: "sequential/conv2d_1/0".

    Raises:
      ValueError: if it is no such file.
    """
    tensors: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        found = re.fullmatch(r"(.+)/vars/(\d+)", name)
        if found and isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name} lies in another file")
            if item.nbytes > os.path.getsize(path):
                raise ValueError(f"{name} should have {item.nbytes:,} bytes; the file is smaller")
            parts = [part for part in found[1].split("/") if part not in _LISTS]
            tensors["/".join([*parts, found[2]])] = np.asarray(item)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"it cannot be read as HDF5: {error}") from error
    if not tensors:
        raise ValueError(
            "it holds no layers as Keras 3 writes them (model.save_weights('x.weights.h5'))"
        )
    return tensors
