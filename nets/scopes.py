"""TF-Slim's scopes as names of layers, and the names of the variables below them.

A scope can be deep, `block1/unit_1/bottleneck_v1/conv1`, and Keras takes no slash in the name of a
layer. So a layer is called `block1.unit_1.bottleneck_v1.conv1`, here and nowhere else: all that
comes out of a network has TF-Slim's names.
"""

from __future__ import annotations

import keras

# How TF-Slim calls what Keras calls otherwise. A layer whose weights have other names there has a
# `slim_names` of its own.
_SLIM_NAMES = {"kernel": "weights", "bias": "biases"}


def layer_name(scope: str) -> str:
    """The name of the layer of a scope."""
    return scope.replace("/", ".")


def scope_of(layer: keras.layers.Layer) -> str:
    """The scope of a layer, below that of its network."""
    return layer.name.replace(".", "/")


def joined(*scopes: str) -> str:
    """Scopes in one another; an empty one is none, as a network can have."""
    return "/".join(filter(None, scopes))


def moved(name: str, source: str, target: str) -> str:
    """A name below the scope `source` as it is below `target`; either can be empty."""
    if name == source:
        return target
    return joined(target, name.removeprefix(f"{source}/" if source else ""))


def variables_by_name(
    network_scope: str, layers: list[keras.layers.Layer]
) -> dict[str, keras.Variable]:
    """Every weight of layers by its TF-Slim name, for example `alexnet_v2/conv1/weights`."""
    names = {}
    for layer in layers:
        slim_names = getattr(layer, "slim_names", _SLIM_NAMES)
        for weight in layer.weights:
            name = slim_names.get(weight.name, weight.name)
            names[joined(network_scope, scope_of(layer), name)] = weight
    return names
