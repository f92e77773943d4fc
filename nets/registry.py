"""The registry of networks, and what is known of each before it is built.

A network is a function that reads like the table in its paper: it takes a Keras symbolic tensor
and returns logits and end points.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nets import tf_slim_names
from slimzoo_registry import Registry

EndPoints = dict[str, Any]
BuildFn = Callable[..., tuple[Any, EndPoints]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A registered network: the function that builds it and what its users must know of it.

    Attributes:
      name: as in the registry.
      scope: what the names of its variables and end points begin with, before a "/"; an empty one
        is none.
      build: `build(images, num_classes=..., **options) -> (logits, end_points)` on Keras tensors.
      first_layer: the layer that sees the images, by its name below the scope.
      heads: the layers that give one number a class, by their names below the scope.
      auxiliary_head: one more, which the network has in training or by an option alone; in its
        name, `*` stands for any characters. None if there is none.
      default_image_size: height and width it is made for, in pixels.
      minimum_image_size: its receptive field: the least height and width it can take, in pixels.
      preprocessing_name: the pipeline of `preprocessing_factory` that feeds it.
      hyperparameters: what it was trained with: values of the training driver's flags, by their
        names, that count where the user gives none.
      takes_one_size: whether it has weights for each position, and so takes its default image
        size alone.
      decays_biases: whether weight decay is on its biases too.
      without_decay: layers whose weights do not decay, by their names below the scope.
      channels: of its images: 3 for RGB, 1 for grey.
      convolutions_end: the last layer before its fully connected ones, by its name below the
        scope; None if it has none, or one alone.
    """

    name: str
    scope: str
    build: BuildFn
    first_layer: str
    heads: tuple[str, ...]
    default_image_size: int
    minimum_image_size: int
    preprocessing_name: str
    auxiliary_head: str | None = None
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    takes_one_size: bool = False
    decays_biases: bool = False
    without_decay: tuple[str, ...] = ()
    channels: int = 3
    convolutions_end: str | None = None

    @property
    def num_classes(self) -> int | None:
        """How many classes it has where nobody says how many: what `build` has as default."""
        return inspect.signature(self.build).parameters["num_classes"].default

    @property
    def options(self) -> dict[str, Any]:
        """The keyword options that `get_network_fn` passes on, with their defaults."""
        _, *parameters = inspect.signature(self.build).parameters.values()
        return {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.name not in ("num_classes", "is_training")
        }

    @property
    def differs_in_training(self) -> bool:
        """Whether `build` takes `is_training`, and gives more end points where it is true."""
        return "is_training" in inspect.signature(self.build).parameters


networks: Registry[Network] = Registry("network")


def on_symbolic_images(build: BuildFn) -> BuildFn:
    """Lets a function that builds a network refuse images that are no Keras symbolic tensor.

    On others it would make new weights at each call, which nobody could reach. TF-Slim's functions,
    which kept theirs in the graph, were called so. What `register_network` decorates has it.

    Raises:
      TypeError: where the function is called with images; the message says what to call.
    """

    @functools.wraps(build)
    def checked(*arguments: Any, **options: Any) -> tuple[Any, EndPoints]:
        for value in (*arguments, *options.values()):
            if tf.is_tensor(value) or isinstance(value, np.ndarray):
                names = _networks_of(lambda function: inspect.unwrap(function) is build)
                name = names[0] if names else build.__name__
                raise TypeError(
                    f"{build.__name__} builds a network on a Keras symbolic tensor; on images it "
                    "would have new weights at each call. "
                    f"{tf_slim_names.making(name)} makes a function of images."
                )
        return build(*arguments, **options)

    return checked


def _networks_of(is_meant: Callable[[Callable[..., Any]], bool]) -> list[str]:
    """The networks whose functions are meant, in the order in which they were registered."""
    functions = {
        name: getattr(network.build, "func", network.build) for name, network in networks.items()
    }
    return [name for name, function in functions.items() if is_meant(function)]


def _answer_tf_slim_names(module_name: str) -> None:
    """Lets a module of `nets` say what takes the place of the names that TF-Slim's had."""

    def answer(name: str) -> Any:
        family = _networks_of(lambda function: function.__module__ == module_name)
        raise tf_slim_names.not_in_a_family(module_name, name, family)

    module = sys.modules.get(module_name)
    if module is not None and module_name.startswith("nets."):
        vars(module).setdefault("__getattr__", answer)


def register_network(
    *,
    first_layer: str,
    head: str | tuple[str, ...],
    default_image_size: int,
    minimum_image_size: int,
    preprocessing: str,
    auxiliary_head: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    takes_one_size: bool = False,
    decays_biases: bool = False,
    without_decay: tuple[str, ...] = (),
    channels: int = 3,
    convolutions_end: str | None = None,
    name: str | None = None,
    scope: str | None = None,
) -> Callable[[BuildFn], BuildFn]:
    """Registers the decorated function as a network under its own name, or `name`.

    Args:
      first_layer: the layer that sees the images, by its name below the scope: `conv1`.
      head: the layer that gives one number a class: `fc8`; several, if it has auxiliary logits,
        the first of which no option leaves out.
      auxiliary_head: one that the network has in training or by an option alone:
        `aux_*/aux_logits/FC`, where `*` stands for any characters.
      default_image_size: height and width it is made for, in pixels.
      minimum_image_size: the least height and width it can take, in pixels.
      preprocessing: the pipeline of `preprocessing_factory` that feeds it.
      hyperparameters: values of the training driver's flags (`{"learning_rate": 0.001}`) that it
        was trained with; None is those that the driver has for all.
      takes_one_size: whether it takes its default image size alone.
      decays_biases: whether weight decay is on its biases too.
      without_decay: layers whose weights do not decay, by their names below the scope.
      channels: of its images: 3 for RGB, 1 for grey.
      convolutions_end: the last layer before the fully connected ones, by its name below the
        scope: `pool5`. None if there are none, or one alone.
      name: the name in the registry; None is the function's name.
      scope: what the names of its variables and end points begin with; None is the function's
        name, or that in the registry if the function has none. An empty one is none at all.

    Raises:
      ValueError: if the name is taken or there is none, if the function has no default for
        `num_classes`, or if images are neither RGB nor grey.
    """

    def decorator(build: BuildFn) -> BuildFn:
        function_name = getattr(build, "__name__", None)  # functools.partial gives none
        network_name = name or function_name
        if network_name is None:
            raise ValueError(f"{build} has no name of its own; give register_network a name.")
        num_classes = inspect.signature(build).parameters.get("num_classes")
        if num_classes is None or num_classes.default is num_classes.empty:
            raise ValueError(
                f"The function of {network_name} has no default for num_classes; write there how "
                "many classes the network has by itself, such as num_classes=1000."
            )
        if channels not in (1, 3):
            raise ValueError(f"channels is {channels!r}; images have 3, RGB, or 1, grey.")
        _answer_tf_slim_names(getattr(build, "func", build).__module__)
        if function_name is not None:
            build = on_symbolic_images(build)
        networks.register(network_name)(
            Network(
                name=network_name,
                scope=(function_name or network_name) if scope is None else scope,
                build=build,
                first_layer=first_layer,
                heads=(head,) if isinstance(head, str) else tuple(head),
                default_image_size=default_image_size,
                minimum_image_size=minimum_image_size,
                preprocessing_name=preprocessing,
                auxiliary_head=auxiliary_head,
                hyperparameters=dict(hyperparameters or {}),
                takes_one_size=takes_one_size,
                decays_biases=decays_biases,
                without_decay=tuple(without_decay),
                channels=channels,
                convolutions_end=convolutions_end,
            )
        )
        return build

    return decorator
