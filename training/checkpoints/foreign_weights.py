"""Brings weights of other frameworks into the layouts and names of this package's networks."""

from __future__ import annotations

import collections
import re

import numpy as np

from nets.nets_factory import NetworkFn
from weight_formats import WeightFile

# torchvision's modules, counted through ReLUs, pools and dropout.
_TORCHVISION_LAYERS = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}
_KINDS = {
    **dict.fromkeys(("weights", "weight", "kernel", "W", "0"), "weights"),
    **dict.fromkeys(("biases", "bias", "b", "1"), "biases"),
}


def converted(
    network_fn: NetworkFn, weights: WeightFile, bgr_to_rgb: bool = False
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Gives a file's tensors the names and layouts of a network.

    Args:
      network_fn: the network.
      weights: of any format.
      bgr_to_rgb: whether the first layer's input channels are reversed, so that weights that were
        trained on BGR take RGB (or the other way round).

    Returns:
      float32 arrays by the network's variable names, those that the file has; and the names in the
      file that none of them took.

    Raises:
      ValueError: if two tensors of the file are one of the network's.
    """
    shapes = {name: tuple(variable.shape) for name, variable in network_fn.variables.items()}
    sources = _by_order(weights, network_fn) if weights.format == "keras" else _by_name(weights)
    values, unexpected = {}, []
    for source, target in sources.items():
        name = f"{network_fn.scope}/{target}"
        if name not in shapes:
            unexpected.append(source)
            continue
        if name in values:
            raise ValueError(f"{weights.path} holds {name} twice; once as {source}.")
        values[name] = _laid_out(
            np.asarray(weights.tensors[source], np.float32), shapes[name], weights.format
        )
    first = f"{network_fn.first_layer}/weights"
    if bgr_to_rgb and first in values and values[first].ndim == 4:
        values[first] = np.ascontiguousarray(values[first][:, :, ::-1])
    return values, unexpected


def _by_name(weights: WeightFile) -> dict[str, str]:
    """The layer and kind ("conv1/weights") that each tensor's name says."""
    named = {}
    for source in weights.tensors:
        layer, _, kind = source.replace("/", ".").rpartition(".")
        layer = re.sub(r"^module\.", "", layer)  # of a model that was trained on several GPUs
        named[source] = f"{_TORCHVISION_LAYERS.get(layer, layer)}/{_KINDS.get(kind, kind)}"
    return named


def _by_order(weights: WeightFile, network_fn: NetworkFn) -> dict[str, str]:
    """Maps the tensors of a Keras file to our layers.

    Keras names layers by class and a counter: conv2d, conv2d_1, dense, dense_1.
    """
    found = list(dict.fromkeys(source.rpartition("/")[0] for source in weights.tensors))
    own = _names_in_keras_files(network_fn)
    if not set(found) <= set(own):
        # Of another model: convolutions in their order, then what is called dense.
        own = dict(zip(sorted(found, key=_order), own.values(), strict=False))
    named = {}
    for source in weights.tensors:
        layer, _, kind = source.rpartition("/")
        named[source] = f"{own.get(layer, layer)}/{_KINDS.get(kind, kind)}"
    return named


def _names_in_keras_files(network_fn: NetworkFn) -> dict[str, str]:
    """The layers with weights by what a file of the network's own weights calls them."""
    counts: collections.Counter[str] = collections.Counter()
    names = {}
    for layer in network_fn.model.layers:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        if layer.weights:
            names[kind if not counts[kind] else f"{kind}_{counts[kind]}"] = layer.name
        counts[kind] += 1
    return names


def _order(layer: str) -> tuple[bool, int]:
    kind, _, number = layer.rpartition("_")
    return ("dense" in layer, int(number) if kind and number.isdecimal() else 0)


def _laid_out(tensor: np.ndarray, shape: tuple[int, ...], file_format: str) -> np.ndarray:
    """Brings a tensor into [height, width, in, out], or leaves it if it cannot become `shape`."""
    channels_first = file_format in ("caffemodel", "torch", "safetensors")
    if len(shape) != 4:
        return tensor.reshape(shape) if tensor.size == np.prod(shape) else tensor
    height, width, channels, _ = shape
    if tensor.ndim == 4 and channels_first:
        return tensor.transpose(2, 3, 1, 0)
    if tensor.ndim != 2:
        return tensor
    inputs = height * width * channels
    if channels_first and tensor.shape[1] == inputs:
        # [out, in], of which a map was flattened channel by channel.
        return tensor.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    if not channels_first and tensor.shape[0] == inputs:
        return tensor.reshape(height, width, channels, -1)  # flattened position by position
    return tensor
