"""Signals that ask a command to end: Ctrl-C, a job that is taken away, a terminal that is closed.

A command ends with one line and the status that shells expect. While there is nothing to save a
signal is raised as a KeyboardInterrupt, so that what is half written is cleared away; where there
is, it is noted, and the command leaves when the step at hand is done and saved.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

SECONDS_OF_ONE_WISH = 1.0
"""Signals that come so soon after the first add nothing to it."""

SECONDS_UNTIL_LOST = 0.3
"""What has been raised is raised again when it is not on its way so long after."""

SECONDS_TO_SPARE_LIBRARIES = 2.0
"""So long at most a signal is kept back while TensorFlow or an import is at work."""

_SECONDS_BETWEEN_LOOKS = 0.01

# Signals belong to the process, and so does what has been raised of them.
_raised: list[int] = []
_spares_libraries = False


class InterruptedBySignal(KeyboardInterrupt):
    """A KeyboardInterrupt that knows which signal it comes of.

    Args:
      number: of the signal.
      message: for the user; empty if there is nothing to say.

    Attributes:
      status: to exit with: 130 for Ctrl-C, 143 for those that do not come from the keyboard.
    """

    def __init__(self, number: int, message: str = ""):
        super().__init__(*filter(None, [message]))
        self.status = 130 if number == signal.SIGINT else 143


def raise_on_signals() -> None:
    """From now on each signal raises an InterruptedBySignal in the main thread.

    It is raised until it is heard. C++ that calls Python can print what was raised there and go
    on, as TensorFlow does where it imports a module; what is raised in `__del__` is lost too. Such
    prints are left out.
    """
    wish = _OneWish()
    first_at = 0.0

    def interrupt(number: int, frame: Any) -> None:
        nonlocal first_at
        if not wish.is_said_again(number):
            first_at = time.monotonic()
            _raised.append(number)
            raise_and_look_again(number, frame)

    def raise_and_look_again(number: int, frame: Any) -> None:
        waited = time.monotonic() - first_at
        if waited < SECONDS_TO_SPARE_LIBRARIES and _is_to_be_spared(frame):
            set_alarm(_SECONDS_BETWEEN_LOOKS)
            return
        set_alarm(SECONDS_UNTIL_LOST)
        raise InterruptedBySignal(number)

    def look_again(alarm: int, frame: Any) -> None:
        number = _raised[-1]
        if signal.getsignal(number) is not interrupt:
            signal.raise_signal(number)  # by now signals are noted
        elif sys.exc_info()[0] is None:
            raise_and_look_again(number, frame)
        else:  # it is on its way, and what is half written is being cleared away
            set_alarm(SECONDS_UNTIL_LOST)

    def set_alarm(seconds: float) -> None:
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.signal(signal.SIGALRM, look_again)
            signal.setitimer(signal.ITIMER_REAL, seconds)

    _handle(interrupt)
    sys.excepthook = _silent_after_a_signal(sys.excepthook)
    sys.unraisablehook = _silent_after_a_signal(sys.unraisablehook)


def spare_libraries() -> None:
    """From now on a signal is kept back for a moment where raising it could do harm.

    C++ of TensorFlow that calls Python, for an import for example, is not made for what is raised
    there: it lost it, and once the process died of it.
    """
    global _spares_libraries
    _spares_libraries = True


def _is_to_be_spared(frame: Any) -> bool:
    if not _spares_libraries or not hasattr(signal, "setitimer") or frame is None:
        return False
    file_name = frame.f_code.co_filename
    return file_name.startswith("<frozen") or f"{os.sep}tensorflow{os.sep}" in file_name


def _silent_after_a_signal(hook: Callable[..., Any]) -> Callable[..., None]:
    def report(*error: Any) -> None:
        if not _raised:
            hook(*error)

    return report


def ignore_signals() -> None:
    """From now on signals have no effect: the command is done, and Python takes its leave."""
    _cancel_alarm()
    _handle(signal.SIG_IGN)


def raised_interruption() -> InterruptedBySignal | None:
    """What was raised by a signal, if anything was.

    Libraries can turn it into an error of their own, or lose it.
    """
    return InterruptedBySignal(_raised[0]) if _raised else None


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Yields a list to which the first signal is appended; the program is not stopped.

    So the caller can finish the step at hand and save: a step that is torn apart would leave
    weights that no step count belongs to. A second Ctrl-C or SIGTERM, seconds later, has its usual
    effect. A KeyboardInterrupt that the caller then raises becomes one that knows the signal.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread alone
        return

    wish = _OneWish()

    def note(number: int, frame: Any) -> None:
        if wish.is_said_again(number):
            return
        if received:
            restore()
            signal.raise_signal(number)
        else:
            received.append(number)
            _cancel_alarm()  # one that was lost before need not be raised again

    restore = _handle(note)
    try:
        yield received
    except KeyboardInterrupt as interruption:
        if received and not isinstance(interruption, InterruptedBySignal):
            raise InterruptedBySignal(received[0], str(interruption)) from interruption
        raise
    finally:
        restore()


class _OneWish:
    """Tells a new wish from one that is said again.

    A terminal that is closed sends SIGHUP twice within a millisecond, from the shell and from the
    system, and a service manager may send SIGHUP after SIGTERM: nobody is in that much of a hurry.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def is_said_again(self, number: int) -> bool:
        """Whether a signal repeats the one before: soon after it, or as SIGHUP at any time."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
            return False
        is_hangup = hasattr(signal, "SIGHUP") and number == signal.SIGHUP
        return is_hangup or now - self._first < SECONDS_OF_ONE_WISH


def _cancel_alarm() -> None:
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, 0)


def _handle(handler: Any) -> Callable[[], None]:
    """Sets the handler of all signals, and returns what brings back those that there were."""
    outer = {number: signal.getsignal(number) for number in SIGNALS}
    # What nohup has told to be ignored stays so.
    handled = [
        number for number in SIGNALS if number == signal.SIGINT or outer[number] != signal.SIG_IGN
    ]
    for number in handled:
        signal.signal(number, handler)

    def restore() -> None:
        for number in handled:
            signal.signal(number, outer[number])

    return restore


def leave(interrupted: KeyboardInterrupt) -> NoReturn:
    """Ends the process with a line and the status of a signal."""
    exit_at_once(str(interrupted) or "Interrupted.", getattr(interrupted, "status", 130))


def exit_at_once(message: str, status: int) -> NoReturn:
    """Ends the process without freeing what a run that was broken off holds.

    A tf.data iterator can take a minute for it: its autotuner may be asleep. What had to be saved
    is saved.
    """
    if message:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is closed
            print(f"\n{message}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
