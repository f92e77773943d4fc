"""Standard output and error that never end a command: who reads them may be gone.

A terminal that is closed, or the `tee` behind a pipe, takes a week's run with it otherwise, since
every line that is printed then raises an OSError.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO, cast


class SteadyStream:
    """A text stream that drops what cannot be written.

    Args:
      stream: what it writes to.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text, or drops it."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what has been kept back, or leaves it."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Makes this process' standard output and error steady."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # as under pythonw
            setattr(sys, name, cast(TextIO, SteadyStream(stream)))


@contextlib.contextmanager
def standard_error_kept_silent() -> Iterator[None]:
    """Keeps from the user what C++ writes to standard error, by its descriptor.

    For what says nothing to a user, and raises what is wrong.
    """
    if sys.stderr is None:  # it is closed
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        outer = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(outer, 2)
            os.close(outer)
