"""What the AlexNets have in common: their pools, and the paper's ablations."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

from slimzoo_registry import unknown_name_message

# "Removing any of the middle layers results in a loss of about 2% for the top-1 performance"
# (section 7 of the 2012 paper). What follows a layer goes with it; pools stay, so that maps keep
# their sizes.
MIDDLE_LAYERS = {
    "conv2": ["conv2", "norm2", "spatial_norm2"],
    "conv3": ["conv3"],
    "conv4": ["conv4"],
    "conv5": ["conv5"],
    "fc6": ["fc6", "dropout6"],
    "fc7": ["fc7", "dropout7"],
}
_NORMS = ["norm1", "norm2", "spatial_norm2"]


def pooling(pool_size: int) -> Callable[..., keras.layers.Layer]:
    """Max pools of windows that move by 2; ValueError if they have no positions."""
    if pool_size < 1:
        raise ValueError(f"pool_size is {pool_size}; the paper compares 3 and 2 positions.")
    return functools.partial(keras.layers.MaxPooling2D, pool_size, 2)


max_pool = pooling(3)


def left_out(without_layer: str | None, response_normalization: bool = True) -> list[str]:
    """Names of the layers that an ablation leaves out.

    Args:
      without_layer: one of `MIDDLE_LAYERS`, or None.
      response_normalization: False leaves it out everywhere.

    Raises:
      ValueError: if `without_layer` is no middle layer.
    """
    if without_layer is not None and str(without_layer) not in MIDDLE_LAYERS:
        raise ValueError(unknown_name_message("middle layer", without_layer, MIDDLE_LAYERS))
    removed = MIDDLE_LAYERS[without_layer] if without_layer else []
    return removed if response_normalization else removed + _NORMS
