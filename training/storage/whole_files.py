"""Files and folders that are there whole or not at all: they are written under another name first.

That name is unique and ends in `.incomplete`, so that two processes never write to the same file
and what a killed one leaves can be told.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator

_ENDING = ".incomplete"
_TEMPORARY = re.compile(rf"\.[0-9a-f]{{8}}{re.escape(_ENDING)}$")


def write_text(path: str, text: str) -> None:
    """Writes a text file as UTF-8.

    Raises:
      OSError: with the name of the file, if it cannot be written; an earlier one is kept.
    """
    with written_whole(path) as temporary:
        pathlib.Path(temporary).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def written_whole(path: str, replaces_folder: bool = False) -> Iterator[str]:
    """Yields the name under which to write a file or a folder; in the end it gets its own.

    After an error or an interruption nothing of it is left, and what was at `path` before is kept.
    A folder takes the place of an empty one only, unless it may replace one with all in it.

    Args:
      path: of the file or folder.
      replaces_folder: a folder that is there is removed, after the new one is complete.

    Raises:
      OSError: with the name `path`, where the system names another or none.
    """
    if os.path.isdir(path):
        path = os.path.realpath(path)  # a link to a folder stays one
    temporary, earlier = _temporary_name(path), _temporary_name(path)
    try:
        with naming(path):
            yield temporary
            if replaces_folder and os.path.isdir(path):
                os.replace(path, earlier)
            os.replace(temporary, path)
    except BaseException:
        # A signal can come at any moment, also between the two.
        if os.path.lexists(earlier) and not os.path.lexists(path):
            os.replace(earlier, path)
        raise
    finally:
        _remove_all(temporary, earlier)


@contextlib.contextmanager
def written_together(folder: str) -> Iterator[str]:
    """Yields a folder to write files in, which in the end get into `folder` together.

    After an error or an interruption nothing of them is left, and what was in `folder` is kept.

    Args:
      folder: an existing one, that no other process writes to.

    Raises:
      OSError: with the name `folder`, where the system names another or none.
    """
    temporary = _temporary_name(os.path.join(folder, "files"))
    try:
        with naming(folder):
            os.mkdir(temporary)
            yield temporary
            for name in sorted(os.listdir(temporary)):
                os.replace(os.path.join(temporary, name), os.path.join(folder, name))
    finally:
        _remove_all(temporary)


def _temporary_name(path: str) -> str:
    return f"{path.rstrip(os.sep)}.{uuid.uuid4().hex[:8]}{_ENDING}"


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Gives an OSError the name of the file that was written: Python's has none of an open file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or os.strerror(error.errno), path) from error


def remove(path: str) -> None:
    """Removes a file or a folder with what is in it, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def _remove_all(*paths: str) -> None:
    """Removes paths, also when it is interrupted."""
    try:
        for path in paths:
            remove(path)
    except BaseException:
        for path in paths:
            remove(path)
        raise


def is_leftover(name: str) -> bool:
    """Whether something is called as what is being written is, or what a killed writer left."""
    return bool(_TEMPORARY.search(name))


def remove_leftovers(folder: str, *, folders: bool = False) -> None:
    """Removes the files that killed writers left in a folder; none may be writing there now.

    Args:
      folder: that they are in.
      folders: whether folders are removed as well. Beside a checkpoint an export may be writing
        one, which this process does not know of.
    """
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if is_leftover(name) and (folders or not os.path.isdir(path)):
            remove(path)
