"""Opens the files that hold weights: this package's, TF-Slim's, and those of other frameworks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from nets.nets_factory import NetworkFn
from preprocessing.decoding import plain_message
from training.checkpoints import foreign_weights
from training.checkpoints.finding import is_tensorflow_v1
from weight_formats import read_weights

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class WeightSource(NamedTuple):
    """Where values come from.

    Attributes:
      shapes: by name.
      read: gives the value of a name.
      unexpected: names and shapes that the network has no variables for.
      scopes: of a checkpoint of TensorFlow; other files have none.
    """

    shapes: Mapping[str, Any]
    read: Callable[[str], Any]
    unexpected: list[str]
    scopes: list[str]


def open_source(prefix: str, network_fn: NetworkFn, bgr_to_rgb: bool = False) -> WeightSource:
    """Opens a checkpoint or a file of weights.

    Args:
      prefix: as `find_checkpoint` gives it.
      network_fn: whose names and layouts the weights of other frameworks are brought into.
      bgr_to_rgb: whether to reverse the input channels of the first layer of such a file.

    Raises:
      ValueError: if it cannot be read, or is a checkpoint and `bgr_to_rgb` is asked for.
    """
    if not os.path.exists(prefix + ".index") and not is_tensorflow_v1(prefix):
        weights = read_weights(prefix)
        values, unexpected = foreign_weights.converted(network_fn, weights, bgr_to_rgb)
        return WeightSource(
            {name: list(value.shape) for name, value in values.items()},
            values.__getitem__,
            [f"{name} {list(weights.tensors[name].shape)}" for name in unexpected],
            scopes=[],
        )
    if bgr_to_rgb:
        raise ValueError(
            f"--bgr_to_rgb is for files of other frameworks; {prefix} is one of TensorFlow."
        )
    with damage_explained(prefix):
        reader = tf.train.load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
    ours = [key.removeprefix("network/") for key in shapes if key.startswith("network/")]
    scopes = sorted({key.split(".S")[0].split("/")[0] for key in ours or shapes})
    return WeightSource(shapes, reader.get_tensor, _unexpected(network_fn, shapes), scopes)


def _unexpected(network_fn: NetworkFn, shapes: Mapping[str, Any]) -> list[str]:
    """The weights in a checkpoint of TensorFlow that are none of the network's."""
    taken = {find_key(name, shapes, False) for name in network_fn.variables}
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


def find_key(name: str, shapes: Mapping[str, Any], use_moving_average: bool = False) -> str | None:
    """Returns under which key of a checkpoint a variable is; None if it is not in it."""
    escaped = name.replace(".", "..").replace("/", ".S")  # as tf.train.Checkpoint writes names
    keys = [f"network/{escaped}{_SUFFIX}", name]
    if use_moving_average:
        keys.insert(0, f"averages/{escaped}{_SUFFIX}")
    return next((key for key in keys if key in shapes), None)
