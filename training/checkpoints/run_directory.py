"""What a training run leaves on disk, and how its weights are found and read again.

train_dir/
  model.json            which network, classes, preprocessing: all that the weights do not say
  flags.txt             the flags it ran with, as a flagfile
  model.ckpt-1200.*     the last few checkpoints (`checkpoint` lists them)
  best/model.ckpt-900.* the one with the highest validation accuracy
  metrics.jsonl         a line per log interval and validation
  events.*, validation/ TensorBoard summaries
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from nets import nets_factory
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from slimzoo_registry import unknown_name_message
from training.checkpoints import foreign_weights
from weight_formats import is_weight_file, read_weights

CHECKPOINT_NAME = "model.ckpt"
_DESCRIPTION_NAME = "model.json"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """All that is needed to rebuild a trained network and feed it as in training.

    Attributes:
      model_name: in the registry of networks.
      network_options: those that it was built with.
      class_names: of its outputs, in order.
      preprocessing_name: in the registry of pipelines.
      preprocessing_options: those that it was made with.
      image_size: height and width, in pixels.
      labels_offset: subtracted from the dataset's labels.
      dataset_name: trained on.
      dataset_dir: where that was.
      validation_split_name: what it was validated on; None if it was not.
      network_module: imported before the network is looked up.
      moving_average_decay: of the weights' averages; None if none were kept.
    """

    model_name: str
    network_options: dict[str, Any]
    class_names: list[str]
    preprocessing_name: str
    preprocessing_options: dict[str, Any]
    image_size: int
    labels_offset: int
    dataset_name: str
    dataset_dir: str | None
    validation_split_name: str | None
    network_module: list[str]
    moving_average_decay: float | None

    def save(self, folder: str) -> None:
        """Writes `model.json` into `folder`, whole or not at all."""
        write_text(os.path.join(folder, _DESCRIPTION_NAME), json.dumps(vars(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str) -> ModelDescription | None:
        """Reads the `model.json` of `folder`, or of the train_dir above; None if there is none."""
        path = _find_beside(folder, _DESCRIPTION_NAME)
        if path is None:
            return None
        try:
            return cls(**json.loads(pathlib.Path(path).read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged or of another version: {error}") from error

    @classmethod
    def of_checkpoint(cls, path: str) -> ModelDescription | None:
        """Reads the `model.json` of a checkpoint; None if there is none.

        Other weights are none of a run's, also where they lie in its folder.
        """
        return cls.load(os.path.dirname(path)) if _is_of_a_run(path) else None

    def build(self, dtype_policy: str = "float32", is_training: bool = False) -> NetworkFn:
        """Builds the network, with new weights."""
        return nets_factory.get_network_fn(
            self.model_name,
            num_classes=len(self.class_names),
            is_training=is_training,
            dtype_policy=dtype_policy,
            **self.network_options,
        )

    def make_preprocessing(self, folder: str, is_training: bool) -> Preprocessing:
        """Makes the pipeline that feeds the network.

        Args:
          folder: the train_dir, or the folder of a checkpoint in it, which has its mean image.
          is_training: whether it augments.

        Raises:
          ValueError: if the mean image is not there.
        """
        return preprocessing_factory.get_preprocessing(
            self.preprocessing_name, is_training, **self.resolved_options(folder)
        )

    def resolved_options(self, folder: str) -> dict[str, Any]:
        """The options of the preprocessing, with the path of the mean image in a run's folder."""
        options = dict(self.preprocessing_options)
        if options.get("mean_image"):
            options["mean_image"] = _find_beside(folder, options["mean_image"])
            if options["mean_image"] is None:
                raise ValueError(
                    f"{folder} has no {self.preprocessing_options['mean_image']}, the mean image "
                    "that this network was trained with; copy it along with the checkpoint."
                )
        return options


def _find_beside(folder: str, name: str) -> str | None:
    """The file of a run that is in a folder, or in the train_dir above; None if there is none."""
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        path = os.path.join(place, name)
        if os.path.exists(path):
            return path
    return None


def find_checkpoint(path: str | None) -> str:
    """Turns what a user gives as --checkpoint_path into the prefix of a checkpoint's files.

    Args:
      path: a folder with checkpoints (the last is taken), a checkpoint with or without the ending
        of one of its files, or a file of weights.

    Raises:
      ValueError: if there is no checkpoint.
    """
    if not path:
        raise ValueError("--checkpoint_path is not given; it takes a train_dir or a checkpoint.")
    path = os.path.expanduser(path)
    if os.path.basename(path) == "checkpoint" and os.path.isfile(path):
        path = os.path.dirname(path) or "."  # TensorFlow's list of those in the folder
    if os.path.isdir(path):
        latest = latest_checkpoint(path) or _listed_checkpoint(path)
        if latest:
            return latest
        raise ValueError(
            f"--checkpoint_path {path} is a folder without a checkpoint. To take a file of weights "
            "give its whole path."
        )
    prefix = path.removesuffix(".index").removesuffix(".meta")
    if ".data-" in prefix:
        prefix = prefix.rpartition(".data-")[0]
    if os.path.exists(prefix + ".index") or os.path.isfile(prefix):  # a file: TensorFlow 1's V1
        return prefix
    raise ValueError(
        f"--checkpoint_path {path} does not exist. It takes a train_dir, a checkpoint in it such "
        f"as TRAIN_DIR/{CHECKPOINT_NAME}-1000, or a file of weights."
    )


def _listed_checkpoint(folder: str) -> str | None:
    """What TensorFlow's list in a folder names, whose checkpoints need no step; None if nothing."""
    try:
        return tf.train.latest_checkpoint(folder)
    except ValueError:  # the list is no text
        return None


def exists(path: str) -> bool:
    """Whether there is a folder, a file or a checkpoint of this name."""
    path = os.path.expanduser(path)
    return os.path.exists(path) or os.path.exists(path + ".index")


def latest_checkpoint(folder: str) -> str | None:
    """The checkpoint of the highest step in `folder`, or None.

    The files themselves are asked, not TensorFlow's list of them, so that a user can remove a
    checkpoint, and copy one without that list.
    """
    steps = {}
    for path in pathlib.Path(folder).glob("*.index"):
        stem, dash, step = path.name.removesuffix(".index").rpartition("-")
        if dash and step.isdecimal():
            steps[int(step)] = os.path.join(folder, f"{stem}-{step}")
    return steps[max(steps)] if steps else None


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """Which variables were set from a checkpoint: names, or names and the reason why not.

    Attributes:
      checkpoint: or file of weights.
      restored: names of variables.
      skipped: why the others were not.
      unexpected: what a file of weights holds and the network has not.
    """

    checkpoint: str
    restored: list[str]
    skipped: dict[str, str]
    unexpected: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"Restored {len(self.restored)} variables from {self.checkpoint}."]
        lines += [f"  left as initialised: {name} ({why})" for name, why in self.skipped.items()]
        lines += [f"  not used: {name}" for name in self.unexpected]
        return "\n".join(lines)


def restore_network(
    network_fn: NetworkFn,
    checkpoint_path: str,
    *,
    exclude_scopes: list[str] | None = None,
    ignore_missing: bool = False,
    skip_other_head: bool = False,
    use_moving_average: bool = False,
    bgr_to_rgb: bool = False,
) -> RestoreReport:
    """Sets a network's variables from a checkpoint, by their TF-Slim names.

    Takes checkpoints of this package, those of TF-Slim, which have the same names, and the files
    of other frameworks that `weight_formats` reads. Either all variables that are to be restored
    are, or none is.

    Args:
      network_fn: the network.
      checkpoint_path: as `find_checkpoint` takes it.
      exclude_scopes: names or scopes (`alexnet_v2/fc8`) that keep their values.
      ignore_missing: whether variables that the checkpoint lacks keep their values.
      skip_other_head: whether a last layer for another number of classes keeps its values.
      use_moving_average: whether to take moving averages where the checkpoint has them.
      bgr_to_rgb: whether to reverse the input channels of the first layer of a weight file.

    Returns:
      What was restored and what was not.

    Raises:
      ValueError: if there is no checkpoint, it cannot be read, lacks variables, or has them in
        other shapes; or if a scope excludes nothing.
    """
    prefix = find_checkpoint(checkpoint_path)
    variables = network_fn.variables
    source = _open(prefix, network_fn, bgr_to_rgb)
    shapes = source.shapes
    excluded = select_scopes("checkpoint_exclude_scopes", variables, exclude_scopes or [])
    head = _scope_of_logits(network_fn)
    keys, skipped, wrong = {}, {}, {}
    for name, variable in variables.items():
        key = _find_key(name, shapes, use_moving_average)
        if name in excluded:
            skipped[name] = "excluded"
        elif key is None:
            if not ignore_missing:
                wrong[name] = "is not in it"
            skipped[name] = "not in the checkpoint"
        elif list(shapes[key]) != list(variable.shape):
            why = f"{shapes[key]} there, {list(variable.shape)} here"
            is_other_head = (
                skip_other_head
                and name.startswith(head)
                and shapes[key][:-1] == list(variable.shape[:-1])
            )
            if not is_other_head:
                wrong[name] = f"has another shape: {why}"
            skipped[name] = f"for another number of classes: {why}"
        else:
            keys[name] = key
    if wrong:
        raise ValueError(_mismatch(prefix, network_fn, source, wrong, any_fits=bool(keys)))
    with damage_explained(prefix):
        values = {name: source.read(key) for name, key in keys.items()}
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise ValueError(f"The checkpoint {prefix} holds NaNs or infinities in {broken[0]}.")
    for name, value in values.items():
        variables[name].assign(value)
    return RestoreReport(prefix, list(values), skipped, source.unexpected)


class _Source(NamedTuple):
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


def _open(prefix: str, network_fn: NetworkFn, bgr_to_rgb: bool) -> _Source:
    if not os.path.exists(prefix + ".index") and not _is_tensorflow_v1(prefix):
        weights = read_weights(prefix)
        values, unexpected = foreign_weights.converted(network_fn, weights, bgr_to_rgb)
        return _Source(
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
    return _Source(shapes, reader.get_tensor, _unexpected(network_fn, shapes), scopes)


def _unexpected(network_fn: NetworkFn, shapes: Mapping[str, Any]) -> list[str]:
    """The weights in a checkpoint of TensorFlow that are none of the network's."""
    taken = {_find_key(name, shapes, False) for name in network_fn.variables}
    ours = any(key.startswith("network/") for key in shapes)
    return [
        f"{key} {shape}"
        for key, shape in shapes.items()
        if key not in taken
        # Beside weights there are an optimizer's state and counters.
        and (key.startswith("network/") if ours else key.endswith(("/weights", "/biases")))
    ]


def _is_of_a_run(path: str) -> bool:
    """Whether a checkpoint was written by this package, or cannot be read."""
    if not os.path.exists(path + ".index"):
        return False
    try:
        return any(name.startswith("network/") for name, _ in tf.train.list_variables(path))
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError):
        return True  # what is wrong with it is said where it is restored


def _is_tensorflow_v1(path: str) -> bool:
    """Whether a single file is a checkpoint that TensorFlow can read."""
    if is_weight_file(path):
        return False
    try:
        tf.train.load_checkpoint(path)
    except (tf.errors.OpError, RuntimeError, ValueError):
        return False
    return True


def select_scopes(flag: str, variables: Mapping[str, Any], scopes: list[str]) -> list[str]:
    """Returns the names of the variables in `scopes`; ValueError if a scope holds none."""
    selected: list[str] = []
    for scope in scopes:
        inside = [name for name in variables if f"{name}/".startswith(scope.rstrip("/") + "/")]
        if not inside:
            known = dict.fromkeys(name.rpartition("/")[0] for name in variables)
            raise ValueError(f"--{flag}: " + unknown_name_message("scope", scope, known))
        selected += inside
    return selected


@contextlib.contextmanager
def damage_explained(prefix: str) -> Iterator[None]:
    """Turns what TensorFlow raises on reading a torn or foreign checkpoint into a ValueError."""
    try:
        yield
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError, AssertionError) as error:
        # What TensorFlow says of a whole checkpoint that lacks a variable or has it in another
        # shape.
        if isinstance(error, AssertionError) or "incompatible tensor" in str(error):
            raise ValueError(
                f"The checkpoint {prefix} is of a run with other settings: another --optimizer, "
                "float16 or not, moving averages or not, other --trainable_scopes, another number "
                "of classes. Take those up again (flags.txt has them), or give another --train_dir "
                "and start from its weights with --checkpoint_path."
            ) from error
        raise ValueError(
            f"The checkpoint {prefix} cannot be read: it is damaged or incomplete. Give an "
            "earlier one, or remove its files to go on from the one before."
        ) from error


def tensorflow_variables(variables: Mapping[str, keras.Variable]) -> dict[str, tf.Variable]:
    """What `tf.train.Checkpoint` keeps by name, so that layers can be moved without harm."""
    return {name: variable.value for name, variable in variables.items()}


def write_text(path: str, text: str) -> None:
    """Writes a file whole or not at all."""
    temporary = f"{path}.incomplete"
    pathlib.Path(temporary).write_text(text)
    os.replace(temporary, path)


def all_finite(variables: Mapping[str, Any]) -> bool:
    """Whether no variable holds a NaN or an infinity."""
    return all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in variables.values())


def _find_key(name: str, shapes: Mapping[str, Any], use_moving_average: bool) -> str | None:
    escaped = name.replace(".", "..").replace("/", ".S")  # as tf.train.Checkpoint writes names
    keys = [f"network/{escaped}{_SUFFIX}", name]
    if use_moving_average:
        keys.insert(0, f"averages/{escaped}{_SUFFIX}")
    return next((key for key in keys if key in shapes), None)


def _scope_of_logits(network_fn: NetworkFn) -> str:
    """What the names of the last layer's variables begin with, such as `alexnet_v2/fc8/`."""
    return next(reversed(network_fn.variables), "").rpartition("/")[0] + "/"


def _mismatch(
    prefix: str, network_fn: NetworkFn, source: _Source, wrong: Mapping[str, str], any_fits: bool
) -> str:
    """Says what is wrong with which variables, and what to do about it."""
    network, head = network_fn.name, _scope_of_logits(network_fn)
    lines = [f"{name} {why}" for name, why in wrong.items()]
    lines += [f"{name} is in it, and {network} has no such" for name in source.unexpected]
    limit = 20 if any_fits else 4  # the rest would only say again that it is something else
    shown = "\n".join(f"  {line}" for line in lines[:limit])
    more = f"\n  and {len(lines) - limit} more" if len(lines) > limit else ""
    biases = _find_key(f"{head}biases", source.shapes, use_moving_average=False)
    outputs = list(source.shapes[biases])[-1:] if biases else []
    only_the_head = all(name.startswith(head) for name in wrong) and not source.unexpected
    if only_the_head and outputs and outputs != [network_fn.num_classes]:
        advice = (
            f"It answers with {outputs[0]} classes, and {network_fn.num_classes} are asked for: "
            "--dataset_name says whose they are."
        )
    else:
        holds = f"It holds variables of: {', '.join(source.scopes[:6])}. " if source.scopes else ""
        another = "" if any_fits else "Nothing in it fits. "
        advice = (
            f"{another}{holds}Give the network that it was trained with. train_image_classifier "
            "and convert_weights can also exclude scopes, and ignore what is missing."
        )
    return f"The checkpoint {prefix} does not fit {network}:\n{shown}{more}\n{advice}"
