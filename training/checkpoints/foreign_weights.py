"""Brings weights of other frameworks into the layouts and names of this package's networks."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable

import numpy as np

from nets.nets_factory import NetworkFn
from training.checkpoints.wrappers import Components, Unwrapped, unwrap
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
    network_fn: NetworkFn,
    weights: WeightFile,
    bgr_to_rgb: bool = False,
    use_moving_average: bool = False,
) -> tuple[dict[str, np.ndarray], Unwrapped]:
    """Gives a file's tensors the names and layouts of a network.

    Args:
      network_fn: the network.
      weights: of any format.
      bgr_to_rgb: whether the first layer's input channels are reversed, so that weights that were
        trained on BGR take RGB (or the other way round).
      use_moving_average: whether to take moving averages where the file has them too.

    Returns:
      float32 arrays by the network's variable names, those that the file has; and where in the
      file they were.

    Raises:
      ValueError: if two tensors of the file are one of the network's.
    """
    shapes = {name: tuple(variable.shape) for name, variable in network_fn.variables.items()}
    # Names in files are divided by slashes or by dots.
    known = {_undotted(name.removeprefix(f"{network_fn.scope}/")): name for name in shapes}
    meaning = _by_order(weights, network_fn) if weights.format == "keras" else _by_name
    found = unwrap(weights.path, weights.tensors, known, meaning, use_moving_average)
    values = {}
    for target, sources in found.sources.items():
        name = known[target]
        if len(sources) > 1:
            raise ValueError(
                f"{weights.path} holds {name} twice: as {sources[0]} and as {sources[1]}."
            )
        values[name] = _laid_out(
            np.asarray(weights.tensors[sources[0]], np.float32), shapes[name], weights.format
        )
    first = f"{network_fn.first_layer}/weights"
    if bgr_to_rgb and first in values and values[first].ndim == 4:
        values[first] = np.ascontiguousarray(values[first][:, :, ::-1])
    return values, found


def _by_name(parts: Components) -> str:
    """The layer and kind ("conv1/weights") that a name says."""
    *layers, kind = parts
    layer = _TORCHVISION_LAYERS.get(".".join(layers), "/".join(layers))
    return f"{layer}/{_KINDS.get(kind, kind)}"


def _undotted(name: str) -> str:
    return name.replace(".", "/")


def _by_order(weights: WeightFile, network_fn: NetworkFn) -> Callable[[Components], str]:
    """Gives the meaning of names in a Keras file: our layer's and the kind.

    Keras names layers by class and a counter: conv2d, conv2d_1, dense, dense_1. A model in a model
    has a counter of its own.
    """
    own = _names_in_keras_files(network_fn)
    num_variables = collections.Counter(source.rpartition("/")[0] for source in weights.tensors)
    models: dict[str, list[str]] = {}
    for path, number in num_variables.items():
        model, _, layer = path.rpartition("/")
        if number <= 2:  # one that normalizes has more
            models.setdefault(model, []).append(layer)
    layers = max(models.values(), key=len, default=[])
    if not set(layers) <= set(own):
        # Of another model: convolutions in their order, then what is called dense.
        own = dict(zip(sorted(layers, key=_order), own.values(), strict=False))

    def meaning(parts: Components) -> str:
        *layers, kind = parts
        layer = "/".join(layers)
        return f"{_undotted(own.get(layer, layer))}/{_KINDS.get(kind, kind)}"

    return meaning


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
