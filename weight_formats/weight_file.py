"""Which format a file has, told by its first bytes, and its tensors."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np

from weight_formats.caffemodel import read_caffemodel
from weight_formats.keras_file import read_keras
from weight_formats.numpy_file import read_numpy
from weight_formats.safetensors_file import read_safetensors
from weight_formats.torch_file import read_torch

_READERS: dict[str, Callable[[str], dict[str, np.ndarray]]] = {
    "caffemodel": read_caffemodel,
    "keras": read_keras,
    "numpy": read_numpy,
    "safetensors": read_safetensors,
    "torch": read_torch,
}


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """The weights of a file.

    Attributes:
      path: of the file.
      format: caffemodel, keras, numpy, safetensors or torch.
      tensors: by their names in the file, in its layouts. Of a dictionary in a dictionary a name
        begins with what both are called: "state_dict > model > features.0.weight".
    """

    path: str
    format: str
    tensors: Mapping[str, np.ndarray]


def is_weight_file(path: str) -> bool:
    """Whether `path` is a file of one of the known formats."""
    return os.path.isfile(path) and _format_of(path) is not None


def read_weights(path: str) -> WeightFile:
    """Reads all tensors of a file.

    Raises:
      ValueError: if the file does not exist, its format is not known, it is damaged or truncated,
        asks to run code, or holds NaNs or infinities.
    """
    if not os.path.isfile(path):
        raise ValueError(f"The file {path} does not exist.")
    if not os.path.getsize(path):
        raise ValueError(f"{path} is empty.")
    if _is_keras_archive(path):
        raise ValueError(
            f"{path} is a whole model of Keras, and weights alone are taken: "
            "model.save_weights('NAME.weights.h5')."
        )
    name = _format_of(path)
    if name is None:
        raise ValueError(
            f"The format of {path} is not known. Weights are taken from TensorFlow checkpoints, "
            "Caffe's .caffemodel, bvlc_alexnet.npy, PyTorch's .pth, .safetensors and Keras' "
            ".weights.h5."
        )
    try:
        tensors = _READERS[name](path)
    except Exception as error:  # of damaged files, which can raise anything
        why = error if isinstance(error, ValueError) else "it is damaged, or something else"
        raise ValueError(f"{path} cannot be read as {_DESCRIPTIONS[name]}: {why}.") from error
    for key, tensor in tensors.items():
        if tensor.dtype.kind not in "fiub" and tensor.dtype != ml_dtypes.bfloat16:
            raise ValueError(f"{path} holds {tensor.dtype} in {key}; weights are numbers.")
    broken = [
        key
        for key, tensor in tensors.items()
        if tensor.dtype.kind not in "iub" and not np.isfinite(tensor.astype(np.float32)).all()
    ]
    if broken:
        raise ValueError(f"{path} holds NaNs or infinities in {', '.join(broken[:5])}.")
    return WeightFile(path, name, tensors)


_DESCRIPTIONS = {
    "caffemodel": "a .caffemodel of Caffe",
    "keras": "a .weights.h5 of Keras",
    "numpy": "a NumPy file",
    "safetensors": "safetensors",
    "torch": "a PyTorch file",
}


def _format_of(path: str) -> str | None:
    with open(path, "rb") as file:
        start = file.read(16)
    if start.startswith(b"\x93NUMPY"):
        return "numpy"
    if start.startswith(b"\x89HDF"):
        return "keras"
    if start.startswith(b"PK"):
        return "numpy" if _is_npz(path) else "torch"
    if start.startswith(b"\x80\x02\x8a\x0a"):  # a pickled integer of ten bytes, the magic number
        return "torch"
    if len(start) > 8 and start[8:9] == b"{":
        return "safetensors"
    return {".caffemodel": "caffemodel", ".pth": "torch", ".pt": "torch"}.get(
        os.path.splitext(path)[1]
    )


def _is_npz(path: str) -> bool:
    names = _names_in_zip(path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def _is_keras_archive(path: str) -> bool:
    return "model.weights.h5" in _names_in_zip(path)


def _names_in_zip(path: str) -> list[str]:
    """What a zip file holds; nothing if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return []
