"""Folders that a command writes to, checked before it begins its work."""

from __future__ import annotations

import os

from training.zoo.cache import kept_checkpoint


def absolute(path: str) -> str:
    """The path without `~` and without need of the current folder."""
    return os.path.abspath(os.path.expanduser(path))


def results_folder(checkpoint: str) -> str:
    """Where what is made of a checkpoint goes by default: beside it, but not into the cache.

    Args:
      checkpoint: as `find_checkpoint` gives it.

    Returns:
      The checkpoint's folder; of a published checkpoint `runs/NAME` in the current folder.
    """
    published = kept_checkpoint(checkpoint)
    return os.path.join("runs", published.name) if published else os.path.dirname(checkpoint)


def new_folder(flag: str, path: str) -> str:
    """Checks that a folder can be made, or is empty; it is not made yet.

    Args:
      flag: what error messages call it.
      path: as the user gave it.

    Returns:
      The path, with the home folder in place of `~`.

    Raises:
      ValueError: if there is something in it, or it cannot be written.
    """
    folder = os.path.expanduser(path)
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise ValueError(
            f"{folder} exists already and is not overwritten. Remove it, or give another --{flag}."
        )
    return folder_to_write(flag, folder)


def folder_to_write(flag: str, path: str) -> str:
    """Checks that files can be written below a folder, which need not exist; it is not made yet.

    Args:
      flag: what error messages call it.
      path: as the user gave it.

    Returns:
      The path, with the home folder in place of `~`.

    Raises:
      ValueError: if it, or the nearest folder above that exists, is a file or cannot be written.
    """
    folder = os.path.expanduser(path)
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    why = None
    if not os.path.isdir(existing):
        why = f"{existing} is a file, not a folder"
    elif not os.access(existing, os.W_OK):
        why = f"no permission to write in {existing}"
    if why:
        raise ValueError(f"--{flag} {folder} cannot be written: {why}.")
    return folder


def made_folder(flag: str, path: str) -> str:
    """Makes a folder to write in, if it does not exist; see `folder_to_write`."""
    folder = folder_to_write(flag, path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--{flag} {folder} cannot be written: {error.strerror}.") from error
    return folder
