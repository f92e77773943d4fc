"""Ctrl-C between two steps rather than inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Yields a list to which the first SIGINT or SIGTERM is appended; the program is not stopped.

    So the caller can finish the step at hand and save: a step that is torn apart would leave
    weights that no step count belongs to. A second signal has its usual effect.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return
    outer = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in outer.items():
            signal.signal(number, handler)

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    for number in outer:
        signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
