"""Names of TF-Slim's modules that are not here, and what takes their place.

A module is asked for them by Python alone (PEP 562), when it has no such name.
"""

from __future__ import annotations

from collections.abc import Iterable

_ARG_SCOPES = (
    "there are no argument scopes; get_network_fn(name, num_classes, weight_decay) builds a "
    "network with its family's normalisation, initial values and decay"
)
_OF_THE_FACTORY = {
    "networks_map": "`nets_factory.networks` has the names, and get_network_fn(name, num_classes) "
    "makes the function",
    "arg_scopes_map": _ARG_SCOPES,
}

# Modules of TF-Slim's `nets`, and a network of each.
_MODULES = {
    "inception": "inception_v3",
    "inception_utils": "inception_v3",
    "mobilenet": "mobilenet_v2",
    "resnet_utils": "resnet_v1_50",
}


def making(network: str) -> str:
    """How a network is made, as a message says it."""
    return f"nets_factory.get_network_fn({network!r}, num_classes, weight_decay, is_training)"


def no_attribute(module: str, name: str, instead: str = "") -> AttributeError:
    """The error of a module that has no such name; `instead` is what it says of TF-Slim's."""
    because = f" of TF-Slim: {instead}" if instead else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{because}.")


def not_in_the_factory(module: str, name: str) -> AttributeError:
    """What to raise for a name that `nets_factory` has not."""
    return no_attribute(module, name, _OF_THE_FACTORY.get(name, ""))


def not_in_the_package(name: str) -> AttributeError | ImportError:
    """What to raise for a name that `nets` has not.

    `from nets import inception` shows the message of an ImportError alone.
    """
    if name not in _MODULES:
        return no_attribute("nets", name)
    return ImportError(
        f"cannot import name {name!r} of TF-Slim from 'nets': networks are made by their names. "
        f"After `from nets import nets_factory`, {making(_MODULES[name])} makes a function of "
        "images.",
        name="nets",
    )


def not_in_a_family(module: str, name: str, networks: Iterable[str]) -> AttributeError:
    """What to raise for a name that a family's module has not.

    Args:
      module: its name.
      name: that it has not.
      networks: those of the family, by their names in the registry.
    """
    if name.startswith("_"):
        return no_attribute(module, name)
    if name.endswith("_scope"):
        return no_attribute(module, name, _ARG_SCOPES)
    first, *others = networks
    meant = name.removeprefix("build_")
    network = meant if meant in others else first
    return no_attribute(module, name, f"{making(network)} makes a function of images")
