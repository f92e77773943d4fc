"""Reads the files in which other frameworks keep weights, without these frameworks.

    weights = read_weights("alexnet-owt-7be5be79.pth")
    weights.tensors["features.0.weight"]  # float32 [64, 3, 11, 11]

Nothing in such a file can run code: pickles are read by an unpickler that knows arrays and nothing
else.
"""

from weight_formats.torch_file import NESTED
from weight_formats.weight_file import WeightFile, is_weight_file, read_weights

__all__ = ["NESTED", "WeightFile", "is_weight_file", "read_weights"]
