"""The registry of networks, and what is known of each before it is built.

A network is a function that reads like the table in its paper: it takes a Keras symbolic tensor
and returns logits and end points.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from slimzoo_registry import Registry

EndPoints = dict[str, Any]
BuildFn = Callable[..., tuple[Any, EndPoints]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A registered network: the function that builds it and what its users must know of it.

    Attributes:
      name: as in the registry, and the scope of its variables.
      build: `build(images, num_classes, **options) -> (logits, end_points)` on Keras tensors.
      default_image_size: height and width it is made for, in pixels.
      minimum_image_size: its receptive field: the least height and width it can take, in pixels.
      preprocessing_name: the pipeline of `preprocessing_factory` that feeds it.
      hyperparameters: what it was trained with: values of the training driver's flags, by their
        names, that count where the user gives none.
      takes_one_size: whether it has weights for each position, and so takes its default image
        size alone.
    """

    name: str
    build: BuildFn
    default_image_size: int
    minimum_image_size: int
    preprocessing_name: str
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    takes_one_size: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The keyword options that `get_network_fn` passes on, with their defaults."""
        parameters = list(inspect.signature(self.build).parameters.values())[2:]
        return {parameter.name: parameter.default for parameter in parameters}


networks: Registry[Network] = Registry("network")


def register_network(
    *,
    default_image_size: int,
    minimum_image_size: int,
    preprocessing: str,
    hyperparameters: Mapping[str, Any] | None = None,
    takes_one_size: bool = False,
    name: str | None = None,
) -> Callable[[BuildFn], BuildFn]:
    """Registers the decorated function as a network under its own name, or `name`.

    Args:
      default_image_size: height and width it is made for, in pixels.
      minimum_image_size: the least height and width it can take, in pixels.
      preprocessing: the pipeline of `preprocessing_factory` that feeds it.
      hyperparameters: values of the training driver's flags (`{"learning_rate": 0.001}`) that it
        was trained with; None is those that the driver has for all.
      takes_one_size: whether it takes its default image size alone.
      name: the name in the registry; None is the function's name.

    Raises:
      ValueError: if the name is taken.
    """

    def decorator(build: BuildFn) -> BuildFn:
        network_name = name or build.__name__
        networks.register(network_name)(
            Network(
                network_name,
                build,
                default_image_size,
                minimum_image_size,
                preprocessing,
                dict(hyperparameters or {}),
                takes_one_size,
            )
        )
        return build

    return decorator
