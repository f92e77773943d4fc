"""Opens the files that hold weights: this package's, TF-Slim's, and those of other frameworks."""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nets.nets_factory import NetworkFn
from preprocessing.decoding import plain_message
from training.checkpoints import foreign_weights
from training.checkpoints.files import readable_path
from training.checkpoints.finding import is_tensorflow_v1
from weight_formats import read_weights

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_TF_SLIM_AVERAGE = "/ExponentialMovingAverage"


class WeightSource(NamedTuple):
    """Where values come from.

    Attributes:
      shapes: by name.
      read: gives the value of a name.
      unexpected: names and shapes that the network has no variables for.
      scopes: of a checkpoint of TensorFlow; other files have none.
      prefix: what is before the network's names in a checkpoint of TensorFlow.
      taken: for people: what the values are taken out of; empty if they lie bare.
      not_taken: for people: where else the file has values for the network.
    """

    shapes: Mapping[str, Any]
    read: Callable[[str], Any]
    unexpected: list[str]
    scopes: list[str]
    prefix: str = ""
    taken: str = ""
    not_taken: Sequence[str] = ()

    def find_key(self, name: str, use_moving_average: bool = False) -> str | None:
        """Returns under which name the value of a variable is; None if it is not there."""
        return find_key(name, self.shapes, use_moving_average, self.prefix)

    def has_scope(self, scope: str) -> bool:
        """Whether a checkpoint of TensorFlow has variables in a scope."""
        starts = (f"{self.prefix}{scope}/", f"network/{_escaped(scope)}.S")
        return any(key.startswith(starts) for key in self.shapes)

    def left_over(self, taken: Collection[str]) -> list[str]:
        """Names and shapes of the weights that are not in `taken`, which are keys of `shapes`."""
        if not self.scopes:
            return self.unexpected
        ours = any(key.startswith("network/") for key in self.shapes)
        # Beside weights there are counters, and what an optimizer or averages keep of a weight.
        weights = [
            key
            for key in self.shapes
            if (key.startswith("network/") if ours else "/" in key and not self._is_of_another(key))
        ]
        return [f"{_plain(key)} {self.shapes[key]}" for key in sorted(weights) if key not in taken]

    def _is_of_another(self, key: str) -> bool:
        """Whether a key is below that of another value: `conv1/weights/Momentum`."""
        parts = key.split("/")
        return any("/".join(parts[:end]) in self.shapes for end in range(1, len(parts)))


@contextlib.contextmanager
def open_source(
    prefix: str,
    network_fn: NetworkFn,
    bgr_to_rgb: bool = False,
    use_moving_average: bool = False,
) -> Iterator[WeightSource]:
    """Opens a checkpoint or a file of weights, from which values are read inside the context.

    Args:
      prefix: as `find_checkpoint` gives it.
      network_fn: whose names and layouts the weights of other frameworks are brought into.
      bgr_to_rgb: whether to reverse the input channels of the first layer of such a file.
      use_moving_average: whether to take moving averages where such a file has them too.

    Raises:
      ValueError: if it cannot be read, is a checkpoint and `bgr_to_rgb` is asked for, or has the
        weights more than once and does not say which are meant.
    """
    if not os.path.exists(prefix + ".index") and not is_tensorflow_v1(prefix):
        weights = read_weights(prefix)
        values, found = foreign_weights.converted(
            network_fn, weights, bgr_to_rgb, use_moving_average
        )
        yield WeightSource(
            {name: list(value.shape) for name, value in values.items()},
            values.__getitem__,
            [f"{name} {list(weights.tensors[name].shape)}" for name in found.unexpected],
            scopes=[],
            taken=found.taken,
            not_taken=found.not_taken,
        )
        return
    if bgr_to_rgb:
        raise ValueError(
            f"--bgr_to_rgb is for files of other frameworks; {prefix} is one of TensorFlow."
        )
    with readable_path(prefix) as path:  # some of its files are opened when a value is read
        with damage_explained(prefix):
            reader = tf.train.load_checkpoint(path)
            shapes = reader.get_variable_to_shape_map()
        ours = [key.removeprefix("network/") for key in shapes if key.startswith("network/")]
        scopes = sorted({key.split(".S")[0].split("/")[0] for key in ours or shapes})
        wrapper = _wrapping_scope(prefix, network_fn, shapes)
        yield WeightSource(
            shapes,
            reader.get_tensor,
            _unexpected(network_fn, shapes, wrapper),
            scopes,
            prefix=wrapper,
            taken=f"names without {wrapper}" if wrapper else "",
        )


def _wrapping_scope(path: str, network_fn: NetworkFn, shapes: Mapping[str, Any]) -> str:
    """The scope in which a whole network was built, such as `model/`; empty if there is none."""
    if any(find_key(name, shapes) for name in network_fn.variables):
        return ""
    names = network_fn.variables
    counts = collections.Counter(
        key[: -len(name)] for key in shapes for name in names if key.endswith(f"/{name}")
    )
    if not counts:
        return ""
    most = max(counts.values())
    first, *others = sorted(scope for scope, count in counts.items() if count == most)
    if others:
        raise ValueError(
            f"{path} holds the network's weights more than once, in the scopes {first} and "
            f"{others[0]}, and does not say which are meant. Save the one that you want in a "
            "checkpoint of its own."
        )
    return first


def _unexpected(network_fn: NetworkFn, shapes: Mapping[str, Any], prefix: str) -> list[str]:
    """The weights in a checkpoint of TensorFlow that are none of the network's."""
    taken = {find_key(name, shapes, False, prefix) for name in network_fn.variables}
    ours = any(key.startswith("network/") for key in shapes)
    return [
        f"{key} {shape}"
        for key, shape in shapes.items()
        if key not in taken
        # Beside weights there are an optimizer's state and counters.
        and (key.startswith("network/") if ours else key.endswith(("/weights", "/biases")))
    ]


class DamagedCheckpointError(ValueError):
    """A checkpoint is torn, incomplete, or holds what is no number."""


@contextlib.contextmanager
def damage_explained(prefix: str) -> Iterator[None]:
    """Turns what TensorFlow raises on reading a torn or foreign checkpoint into a ValueError.

    Raises:
      DamagedCheckpointError: if its contents are to blame.
      ValueError: if it is of other settings, or cannot be read now: nothing is said to be damaged
        that a disk or a network does not give.
    """
    try:
        yield
    except _NOT_ITS_FAULT as error:
        raise ValueError(
            f"The checkpoint {prefix} cannot be read: {plain_message(error)}."
        ) from error
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError, AssertionError) as error:
        # What TensorFlow says of a whole checkpoint that lacks a variable or has it in another
        # shape.
        if isinstance(error, AssertionError) or "incompatible tensor" in str(error):
            raise ValueError(
                f"The checkpoint {prefix} is of a run with other settings: --optimizer, float16, "
                "moving averages, --trainable_scopes or the number of classes differ. To resume, "
                "use the flags in flags.txt. To start a new run from these weights, give another "
                "--train_dir and this checkpoint as --checkpoint_path."
            ) from error
        raise DamagedCheckpointError(
            f"The checkpoint {prefix} cannot be read: it is damaged or incomplete."
        ) from error


_NOT_ITS_FAULT = (
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,  # of a disk
)


def find_key(
    name: str, shapes: Mapping[str, Any], use_moving_average: bool = False, prefix: str = ""
) -> str | None:
    """Returns under which key of a checkpoint a variable is; None if it is not in it.

    Args:
      name: of the variable.
      shapes: of the checkpoint, by key.
      use_moving_average: whether its moving average is taken if it is there.
      prefix: what is before TF-Slim's names.
    """
    escaped = _escaped(name)
    keys = [f"network/{escaped}{_SUFFIX}", prefix + name]
    if use_moving_average:
        keys = [f"averages/{escaped}{_SUFFIX}", f"{prefix}{name}{_TF_SLIM_AVERAGE}", *keys]
    return next((key for key in keys if key in shapes), None)


def _escaped(name: str) -> str:
    """As tf.train.Checkpoint writes names."""
    return name.replace(".", "..").replace("/", ".S")


def _plain(key: str) -> str:
    """The name that a key of a checkpoint stands for."""
    if not key.endswith(_SUFFIX):
        return key
    escaped = key.removeprefix("network/").removesuffix(_SUFFIX)
    return escaped.replace(".S", "/").replace("..", ".")


def is_average(key: str) -> bool:
    """Whether a key of a checkpoint is of a moving average."""
    return key.startswith("averages/") or key.endswith(_TF_SLIM_AVERAGE)
