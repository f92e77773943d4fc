"""Standard output and error that never end a command, and that people can read in a terminal.

Who reads them may be gone: a terminal that is closed, or the `tee` behind a pipe, takes a week's
run with it otherwise, since every line that is printed then raises an OSError.

Messages come from every room and are of any length. Here, where all of them pass, a terminal gets
them in narrow lines; a file or a pipe gets each in one, as programs read them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO, cast

from slimzoo.narrow_lines import in_narrow_lines

# What moves the cursor, as progress bars and colors do, says itself where its lines end.
_MOVES_CURSOR = ("\r", "\x1b")


class SteadyStream:
    """A text stream that drops what cannot be written, and keeps to 80 columns of a terminal.

    Args:
      stream: what it writes to.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text, or drops it."""
        with contextlib.suppress(OSError):
            is_message = self._stream.isatty() and not any(map(text.count, _MOVES_CURSOR))
            self._stream.write(in_narrow_lines(text) if is_message else text)
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
