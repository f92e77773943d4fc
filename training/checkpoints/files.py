"""The files that a checkpoint of TensorFlow consists of: found, removed, moved, and read.

TensorFlow takes the path of a checkpoint for a pattern: in a folder called `a[lr=0.01]` it does not
find what it has just written. Here names are only names.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator

from training.storage import whole_files

CHECKPOINT_NAME = "model.ckpt"
ASIDE_FOLDER = "set_aside"

# What TensorFlow makes of the checkpoint NAME: a folder while it writes, data, then the index.
_TEMPORARY = re.compile(rf"{re.escape(CHECKPOINT_NAME)}-\d+_temp.*|checkpoint\.tmp.*")
_OWN = re.compile(rf"{re.escape(CHECKPOINT_NAME)}-\d+")
_PART = re.compile(rf"({re.escape(CHECKPOINT_NAME)}-\d+)\.data-\d+-of-\d+")


def checkpoints_in(folder: str) -> list[str]:
    """The checkpoints in a folder by rising step, each as the prefix of its files' names.

    The files themselves are asked, not TensorFlow's list of them, so that a user can remove a
    checkpoint, and copy one without that list.
    """
    return _checkpoints(folder, re.compile(r".*-\d+"))


def own_checkpoints_in(folder: str) -> list[str]:
    """Those of them that a run has saved there, and may remove: not what a user has named."""
    return _checkpoints(folder, _OWN)


def _checkpoints(folder: str, name: re.Pattern[str]) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    prefixes = [one.removesuffix(".index") for one in names if one.endswith(".index")]
    steps = {step_of(one): os.path.join(folder, one) for one in prefixes if name.fullmatch(one)}
    return [steps[step] for step in sorted(steps)]


def step_of(prefix: str) -> int:
    """The step that the name of a checkpoint says."""
    return int(prefix.rpartition("-")[2])


def remove_unwritten(prefix: str) -> None:
    """Removes what is left of a checkpoint that could not be written, but none that was there."""
    whole_files.remove(f"{prefix}_temp")
    if not os.path.exists(f"{prefix}.index"):
        remove_checkpoint(prefix)


def remove_checkpoint(prefix: str) -> None:
    """Removes the files of a checkpoint."""
    # The index first: without it nothing is taken for a checkpoint.
    for path in [f"{prefix}.index", *_files_of(prefix), f"{prefix}_temp"]:
        whole_files.remove(path)


def place_aside(prefix: str) -> str:
    """Where `set_aside` moves a checkpoint to."""
    folder, name = os.path.split(prefix)
    return os.path.join(folder, ASIDE_FOLDER, name)


def set_aside(prefix: str) -> str:
    """Moves a checkpoint that a run must not go on from into the folder `set_aside` beside it.

    Returns:
      The prefix of its files there.
    """
    place = place_aside(prefix)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    for path in [f"{prefix}.index", *_files_of(prefix)]:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, os.path.join(os.path.dirname(place), os.path.basename(path)))
    return place


def remove_leftovers(folder: str) -> None:
    """Removes what killed runs left of checkpoints; no other process may be writing there."""
    if not os.path.isdir(folder):
        return
    names = set(os.listdir(folder))
    for name in names:
        part = _PART.fullmatch(name)
        if _TEMPORARY.fullmatch(name) or (part and f"{part[1]}.index" not in names):
            whole_files.remove(os.path.join(folder, name))
    whole_files.remove_leftovers(folder)


@contextlib.contextmanager
def readable_path(prefix: str) -> Iterator[str]:
    """Yields a path under which TensorFlow reads a checkpoint, whatever its folder is called.

    Args:
      prefix: of the files' names, or the one file of TensorFlow 1's first format.
    """
    # Of the characters of a pattern, `*` and `?` stand for themselves too.
    if not set("[\\") & set(prefix) or os.sep == "\\":
        yield prefix
        return
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.basename(prefix)
        for path in [prefix, f"{prefix}.index", *_files_of(prefix)]:
            if os.path.exists(path):
                link = CHECKPOINT_NAME + os.path.basename(path).removeprefix(name)
                os.symlink(os.path.abspath(path), os.path.join(folder, link))
        yield os.path.join(folder, CHECKPOINT_NAME)


def missing_parts(prefix: str) -> list[str]:
    """The files of values that a checkpoint lacks beside its index."""
    names = map(os.path.basename, _files_of(prefix))
    parts = [part for name in names if (part := re.search(r"\.data-(\d{5})-of-(\d{5})$", name))]
    total = int(parts[0][2]) if parts else 1
    there = {int(part[1]) for part in parts}
    return [f"{prefix}.data-{n:05}-of-{total:05}" for n in range(total) if n not in there]


def _files_of(prefix: str) -> list[str]:
    """The files that a checkpoint has besides its index."""
    folder, name = os.path.split(prefix)
    return [
        os.path.join(folder, other)
        for other in os.listdir(folder or ".")
        if other.startswith((f"{name}.data-", f"{name}.meta"))
    ]
