"""Downloads published checkpoints, each once, into the folder that Keras keeps downloads in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import sys
import urllib.error
from collections.abc import Iterator

import keras

from training.storage.locks import locked
from training.storage.whole_files import remove_leftovers, written_whole
from training.zoo.archives import find_checkpoint_among, unpack_checkpoint
from training.zoo.table import PREFIX, PublishedCheckpoint, published_checkpoints

_FOLDER = "slimzoo"
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_PATIENCE_SECS = 60.0  # without a byte from the server
_said: set[str] = set()


def cache_folder() -> str:
    """Where published checkpoints are kept: below KERAS_HOME, which is ~/.keras by default."""
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    return os.path.abspath(os.path.join(os.path.expanduser(home), _FOLDER))


def kept_checkpoint(path: str) -> PublishedCheckpoint | None:
    """The published checkpoint that a path in the cache is of; None if it is of no such."""
    folder, name = os.path.split(os.path.dirname(os.path.abspath(path)))
    return published_checkpoints.get(name) if folder == cache_folder() else None


def fetch(published: PublishedCheckpoint) -> str:
    """Gives the path of a published checkpoint, and downloads it if it is not in the cache.

    Whatever interrupts a download, nothing is left that is taken for whole the next time. A second
    process waits for the first one's.

    Args:
      published: of the table.

    Returns:
      The prefix of its files' names, or the file of weights.

    Raises:
      ValueError: with the URL, if it cannot be downloaded, is not what its authors published, or
        does not hold the checkpoint; or if the cache cannot be written.
    """
    folder = os.path.join(cache_folder(), published.name)
    what = f"{PREFIX}{published.name}"
    if not os.path.isdir(folder):
        with _explained(what):
            os.makedirs(cache_folder(), exist_ok=True)
            waiting = f"{what}: waiting for another process that writes {cache_folder()}"
            with locked(cache_folder(), waiting=waiting):
                if not os.path.isdir(folder):
                    _fill(published, folder)
                    _said.add(folder)
    path = _path_in(folder, published)
    if folder not in _said:
        _said.add(folder)
        print(f"{what} is in the cache already: {path}", flush=True)
    return path


def _fill(published: PublishedCheckpoint, folder: str) -> None:
    """Makes the folder of a checkpoint, of what was put into the cache by hand or downloaded."""
    remove_leftovers(cache_folder(), folders=True)  # of killed processes: none writes there now
    what = f"{PREFIX}{published.name}"
    by_hand = os.path.join(cache_folder(), published.file_name)
    try:
        with written_whole(folder) as temporary:
            os.mkdir(temporary)
            file = by_hand if os.path.isfile(by_hand) else _downloaded(published, temporary)
            size = os.path.getsize(file)
            _check_and_unpack(published, file, temporary)
    except OSError:
        if not os.path.isdir(folder):
            raise
        return  # where files cannot be locked, another process was sooner
    whence = file if file == by_hand else published.url
    print(f"{what}: {whence}, {size / 1e6:,.1f} MB, is kept in {folder}", flush=True)


def _downloaded(published: PublishedCheckpoint, folder: str) -> str:
    """Downloads the file at the URL into a folder."""
    what = f"{PREFIX}{published.name}"
    print(f"{what} is downloaded once, from {published.url} to {cache_folder()}", flush=True)
    try:
        with _patience(), _bar_on_a_terminal_alone():
            return keras.utils.get_file(origin=published.url, cache_subdir=folder)
    except Exception as error:  # Keras raises that class itself
        is_of_the_disk = isinstance(error, OSError) and not isinstance(
            error, ConnectionError | TimeoutError
        )
        if is_of_the_disk:
            raise
        raise ValueError(
            f"{what} cannot be downloaded from {published.url}: {_why(error)}. Nothing of it is "
            f"kept. {_advice(published)}"
        ) from error


def _why(error: Exception) -> str:
    """The reason in what Keras raises, which has the error of the connection as its context."""
    cause = error.__context__ if isinstance(error.__context__, urllib.error.URLError) else error
    if isinstance(cause, urllib.error.HTTPError):
        return f"the server answers {cause.code} {cause.reason}"
    if isinstance(cause, urllib.error.ContentTooShortError):
        return f"the connection was cut ({cause.reason})"
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, TimeoutError):
        return f"the server has sent nothing for {_PATIENCE_SECS:.0f} seconds"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)


def _advice(published: PublishedCheckpoint) -> str:
    return (
        "Give the same command again; or get that file in another way, put it as "
        f"{published.file_name} into {cache_folder()}, and give the same command again."
    )


def _check_and_unpack(published: PublishedCheckpoint, file: str, folder: str) -> None:
    """Checks a file, and leaves in `folder` nothing but the checkpoint.

    Raises:
      ValueError: with the URL, if it is not what was published.
    """
    try:
        _check_digest(published, file)
        if published.file_name.endswith(_ARCHIVES):
            unpack_checkpoint(file, published.checkpoint, folder)
            if os.path.dirname(file) == folder:
                os.remove(file)
        elif os.path.dirname(file) != folder:
            shutil.copyfile(file, os.path.join(folder, published.file_name))
    except ValueError as error:
        by_hand = os.path.dirname(file) != folder
        whence = f"{file}, to be that of {published.url}," if by_hand else published.url
        remedy = f"Remove {file}. " if by_hand else "Nothing of it is kept. "
        raise ValueError(
            f"{PREFIX}{published.name}: what comes from {whence} is not taken: {error}. {remedy}"
            f"{_advice(published)}"
        ) from error


def _check_digest(published: PublishedCheckpoint, path: str) -> None:
    if not published.digest:
        return
    algorithm, _, expected = published.digest.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if not found.startswith(expected):
        raise ValueError(
            f"its {algorithm} is {found}, and that of the published file "
            f"{'begins with ' if len(expected) < len(found) else 'is '}{expected}"
        )


def _path_in(folder: str, published: PublishedCheckpoint) -> str:
    """The checkpoint in its folder in the cache."""
    names = os.listdir(folder)
    if published.file_name in names:
        return os.path.join(folder, published.file_name)
    try:
        wanted = os.path.basename(published.checkpoint)
        return os.path.join(folder, find_checkpoint_among(names, wanted))
    except ValueError as error:
        raise ValueError(
            f"{PREFIX}{published.name}: something is wrong with {folder}: {error}. Remove that "
            "folder, and give the same command again."
        ) from error


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Says of errors of the disk what to do."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{what} cannot be kept in {cache_folder()}: {error.strerror or error}. Free some "
            "space there, or set the environment variable KERAS_HOME to a folder that you may "
            "write in."
        ) from error


@contextlib.contextmanager
def _bar_on_a_terminal_alone() -> Iterator[None]:
    """Keeps Keras from filling a log with each state of its progress bar."""
    if sys.stdout.isatty() or not keras.config.is_interactive_logging_enabled():
        yield
        return
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        keras.config.enable_interactive_logging()


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Has connections that are made inside give up when nothing comes; Keras has no such option."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_SECS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
