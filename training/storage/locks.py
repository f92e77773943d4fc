"""Locks that keep two processes from writing into the same folder."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def locked(folder: str | pathlib.Path, *, waiting: str = "") -> Iterator[None]:
    """Holds a lock on a folder, which ends with the process whatever ends that.

    Args:
      folder: an existing one.
      waiting: what to print before waiting for another process that holds it; empty does not wait.

    Raises:
      ValueError: if another process holds it, and it is not waited for.
    """
    try:
        import fcntl
    except ImportError:  # not a Unix system; two processes at once are then the user's affair
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not waiting:
                raise ValueError(
                    f"Another process is writing {folder}. Wait until it has ended, or give "
                    "another folder."
                ) from error
            print(waiting, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
