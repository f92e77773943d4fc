"""Finds the checkpoint that a user means, by a folder's or a file's name."""

from __future__ import annotations

import os

import tensorflow as tf

from training.checkpoints.files import CHECKPOINT_NAME, checkpoints_in, readable_path
from training.zoo.cache import fetch
from training.zoo.table import PREFIX, named_checkpoint
from weight_formats import is_weight_file

BEST_FOLDER = "best"


def find_checkpoint(path: str | None) -> str:
    """Turns what a user gives as --checkpoint_path into the prefix of a checkpoint's files.

    Args:
      path: a folder with checkpoints (the last is taken), a checkpoint with or without the ending
        of one of its files, a file of weights, or `zoo:NAME` for a published checkpoint, which is
        downloaded if it is not in the cache.

    Raises:
      ValueError: if there is no checkpoint, or it cannot be downloaded.
    """
    if not path:
        raise ValueError("--checkpoint_path is not given; it takes a train_dir or a checkpoint.")
    if published := named_checkpoint(path):
        return fetch(published)
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
    run, name = os.path.split(path.rstrip(os.sep))
    run = run or "."
    last = latest_checkpoint(run) if name == BEST_FOLDER else None
    if last and not exists(path):
        raise ValueError(
            f"--checkpoint_path {path} does not exist: the run in {run} was not validated, so that "
            f"none of its checkpoints is the best. Give --checkpoint_path={run}, which takes its "
            f"last, {os.path.basename(last)}."
        )
    prefix = path.removesuffix(".index").removesuffix(".meta")
    if ".data-" in prefix:
        prefix = prefix.rpartition(".data-")[0]
    if os.path.exists(prefix + ".index") or os.path.isfile(prefix):  # a file: TensorFlow 1's V1
        return prefix
    raise ValueError(
        f"--checkpoint_path {path} does not exist. It takes a train_dir, a checkpoint in it such "
        f"as TRAIN_DIR/{CHECKPOINT_NAME}-1000, a file of weights, or {PREFIX}NAME, a published "
        "checkpoint."
    )


def _listed_checkpoint(folder: str) -> str | None:
    """What TensorFlow's list in a folder names, whose checkpoints need no step; None if nothing."""
    try:
        listed = tf.train.get_checkpoint_state(folder)
    except (ValueError, tf.errors.OpError):  # the list is no text
        return None
    prefix = listed.model_checkpoint_path if listed else ""
    is_there = os.path.exists(f"{prefix}.index") or os.path.isfile(prefix)
    return prefix if is_there else None


def exists(path: str) -> bool:
    """Whether there is a folder, a file or a checkpoint of this name."""
    path = os.path.expanduser(path)
    return os.path.exists(path) or os.path.exists(path + ".index")


def latest_checkpoint(folder: str) -> str | None:
    """The checkpoint of the highest step in `folder`, or None."""
    return next(reversed(checkpoints_in(folder)), None)


def is_of_a_run(path: str) -> bool:
    """Whether a checkpoint was written by this package, or cannot be read."""
    if not os.path.exists(path + ".index"):
        return False
    try:
        with readable_path(path) as readable:
            names = [name for name, _ in tf.train.list_variables(readable)]
        return any(name.startswith("network/") for name in names)
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError):
        return True  # what is wrong with it is said where it is restored


def is_tensorflow_v1(path: str) -> bool:
    """Whether a single file is a checkpoint that TensorFlow can read."""
    if is_weight_file(path):
        return False
    try:
        with readable_path(path) as readable:
            tf.train.load_checkpoint(readable)
    except (tf.errors.OpError, RuntimeError, ValueError):
        return False
    return True
