"""The classes of a TF-Slim checkpoint, which knows no names: worked out from how many it has."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.label_names import BACKGROUND
from nets.registry import Network
from nets.scopes import joined
from training.checkpoints.files import readable_path
from training.checkpoints.finding import is_tensorflow_v1

_IMAGENET = "imagenet2012"
_NUM_IMAGENET = 1000


def names_of_outputs(
    prefix: str, network: Network, class_names: Sequence[str]
) -> tuple[list[str], str]:
    """Says what the outputs of a checkpoint are called.

    Args:
      prefix: of the checkpoint, as `find_checkpoint` gives it.
      network: whose weights it holds.
      class_names: of the dataset that it is to be used with.

    Returns:
      A name for each output, and a sentence for people if these are not `class_names`.
    """
    names = list(class_names)
    outputs = _num_outputs(prefix, network)
    if outputs is None or outputs == len(names):
        return names, ""
    if outputs == len(names) + 1:
        return [BACKGROUND, *names], (
            f"{prefix} has {outputs:,} outputs, one more than there are classes: the first is "
            "taken for TF-Slim's background class."
        )
    if outputs == len(names) - 1 and names[0] == BACKGROUND:
        return names[1:], (
            f"{prefix} has {outputs:,} outputs, one fewer than there are classes: the first, "
            "TF-Slim's background class, has none."
        )
    if outputs in (_NUM_IMAGENET, _NUM_IMAGENET + 1):
        background = [BACKGROUND] * (outputs - _NUM_IMAGENET)
        first = ", the first its background class" if background else ""
        return [*background, *dataset_factory.class_names(_IMAGENET)], (
            f"{prefix} has {outputs:,} outputs: they are taken for ImageNet's classes{first}."
        )
    return names, ""


def _num_outputs(prefix: str, network: Network) -> int | None:
    """How many classes a checkpoint of TensorFlow has; None if its last layer is not found."""
    if not os.path.exists(f"{prefix}.index") and not is_tensorflow_v1(prefix):
        return None
    name = joined(network.scope, network.heads[0], "biases")
    try:
        with readable_path(prefix) as path:
            shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError):
        return None  # what is wrong with it is said where it is restored
    found = {tuple(shapes[key]) for key in shapes if f"/{key}".endswith(f"/{name}")}
    return found.pop()[0] if len(found) == 1 else None
