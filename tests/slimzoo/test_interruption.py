import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from slimzoo import interruption
from slimzoo.interruption import InterruptedBySignal, signals_noted

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def usual():
    """What signals do outside: here they are counted, and nothing is ended."""
    received = []
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        signal.signal(number, lambda number, frame: received.append(number))
    yield received
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_has_its_usual_effect(usual, number, monkeypatch):
    monkeypatch.setattr(interruption, "SECONDS_OF_ONE_WISH", 0)
    with signals_noted() as signals:
        assert not signals
        signal.raise_signal(number)
        assert (signals, usual) == ([number], [])
        signal.raise_signal(number)
        assert (signals, usual) == ([number], [number])
    signal.raise_signal(number)
    assert (signals, usual) == ([number], [number] * 2)


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_signals_close_together_are_one_wish(usual, first, second):
    """As of a terminal that is closed, or a service that is stopped."""
    with signals_noted() as signals:
        signal.raise_signal(first)
        signal.raise_signal(second)
        assert (signals, usual) == ([first], [])


def test_a_terminal_is_closed_only_once(usual, monkeypatch):
    monkeypatch.setattr(interruption, "SECONDS_OF_ONE_WISH", 0)
    with signals_noted() as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert (signals, usual) == ([signal.SIGTERM], [])


def test_afterwards_signals_do_what_they_did_before_also_after_an_error(usual):
    def fail():
        with signals_noted():
            noting.append(signal.getsignal(signal.SIGINT))
            raise RuntimeError

    noting = []
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError):
        fail()
    assert noting[0] is not handler
    assert signal.getsignal(signal.SIGINT) is handler


def test_in_another_thread_signals_are_left_alone(usual):
    """Python would not let it set a handler: a run that a notebook starts in a thread goes on."""
    seen = []

    def work():
        with signals_noted() as signals:
            seen.append((signals, signal.getsignal(signal.SIGINT) is handler))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], True)]


@pytest.mark.parametrize("number", NUMBERS)
def test_who_leaves_because_of_a_signal_says_of_which(usual, number):
    def leave():
        with signals_noted() as signals:
            signal.raise_signal(number)
            assert signals
            raise KeyboardInterrupt("Interrupted and saved.")

    with pytest.raises(InterruptedBySignal, match="Interrupted and saved") as raised:
        leave()
    assert raised.value.status == (130 if number == signal.SIGINT else 143)


def test_an_interruption_of_another_origin_stays_what_it_is(usual):
    def leave():
        with signals_noted():
            raise KeyboardInterrupt("The first host stops.")

    with pytest.raises(KeyboardInterrupt, match="The first host stops") as raised:
        leave()
    assert type(raised.value) is KeyboardInterrupt


@contextlib.contextmanager
def interrupted():
    """Expects an interruption, after which nothing is raised again."""
    try:
        yield
    except InterruptedBySignal:
        signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        pytest.fail("nothing was raised")


@pytest.fixture
def nothing_raised(monkeypatch):
    monkeypatch.setattr(interruption, "_raised", [])
    monkeypatch.setattr(interruption, "_spares_libraries", False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_raised_and_remembered(usual, nothing_raised, number):
    interruption.raise_on_signals()
    assert interruption.raised_interruption() is None
    with interrupted():
        signal.raise_signal(number)
    assert interruption.raised_interruption().status == (130 if number == signal.SIGINT else 143)
    signal.raise_signal(number)  # what is half written is being cleared away


def lose_what_a_signal_raises(number):
    with contextlib.suppress(InterruptedBySignal):
        signal.raise_signal(number)


class Interrupted:
    """When it goes, what is raised there is lost, and printed."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_library_loses_is_not_printed(usual, nothing_raised, monkeypatch, number):
    printed = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: printed.append(error))
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    interruption.raise_on_signals()
    sys.excepthook(ValueError, ValueError("something else"), None)
    assert len(printed) == 1
    Interrupted(number)  # and gone
    sys.excepthook(InterruptedBySignal, InterruptedBySignal(number), None)  # as PyErr_Print does
    assert len(printed) == 1
    assert interruption.raised_interruption()


def wait_for_a_signal():
    until = time.monotonic() + 10
    while time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_library_loses_is_raised_again(usual, nothing_raised, monkeypatch, number):
    monkeypatch.setattr(interruption, "SECONDS_UNTIL_LOST", 0.05)
    interruption.raise_on_signals()
    lose_what_a_signal_raises(number)
    with interrupted():
        wait_for_a_signal()


AT_WORK = """
import time
def work(signal, number, done):
    signal.raise_signal(number)
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        pass
    done.append(True)
"""


@pytest.mark.parametrize("spares", [True, False])
def test_a_library_that_is_at_work_is_not_interrupted_for_a_moment(usual, nothing_raised, spares):
    names = {}
    exec(compile(AT_WORK, f"packages{os.sep}tensorflow{os.sep}ops.py", "exec"), names)
    interruption.raise_on_signals()
    if spares:
        interruption.spare_libraries()
    done = []

    def call():
        names["work"](signal, signal.SIGTERM, done)
        wait_for_a_signal()

    with interrupted():
        call()
    assert done == [True] * spares


def test_a_library_that_is_at_work_for_long_is_interrupted(usual, nothing_raised, monkeypatch):
    monkeypatch.setattr(interruption, "SECONDS_TO_SPARE_LIBRARIES", 0.05)
    names = {}
    exec(compile(AT_WORK, f"packages{os.sep}tensorflow{os.sep}ops.py", "exec"), names)
    interruption.raise_on_signals()
    interruption.spare_libraries()
    done = []
    with interrupted():
        names["work"](signal, signal.SIGTERM, done)
    assert not done


def test_clearing_away_is_not_disturbed_by_the_signal_that_it_is_for(
    usual, nothing_raised, monkeypatch
):
    monkeypatch.setattr(interruption, "SECONDS_UNTIL_LOST", 0.01)
    interruption.raise_on_signals()
    cleared = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            time.sleep(0.1)
            cleared.append(True)

    with interrupted():
        work()
    assert cleared


def test_what_was_lost_is_noted_where_signals_are(usual, nothing_raised, monkeypatch):
    monkeypatch.setattr(interruption, "SECONDS_UNTIL_LOST", 0.05)
    interruption.raise_on_signals()
    lose_what_a_signal_raises(signal.SIGTERM)
    with signals_noted() as signals:
        time.sleep(0.5)
        assert signals == [signal.SIGTERM]


def test_what_was_lost_is_no_second_wish_where_another_has_been_noted(
    usual, nothing_raised, monkeypatch
):
    monkeypatch.setattr(interruption, "SECONDS_UNTIL_LOST", 0.05)
    monkeypatch.setattr(interruption, "SECONDS_OF_ONE_WISH", 0.01)
    interruption.raise_on_signals()
    lose_what_a_signal_raises(signal.SIGTERM)
    with signals_noted() as signals:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.3)
        assert signals == [signal.SIGINT]


def test_a_command_that_is_done_is_not_interrupted_any_more(usual):
    interruption.ignore_signals()
    for number in NUMBERS:
        signal.raise_signal(number)
    assert usual == []


def test_what_nohup_ignores_stays_ignored(usual, nothing_raised):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interruption.raise_on_signals()
    signal.raise_signal(signal.SIGHUP)
    with signals_noted() as signals:
        signal.raise_signal(signal.SIGHUP)
    assert (signals, usual, interruption.raised_interruption()) == ([], [], None)


@pytest.mark.parametrize(
    ("interrupted", "status", "said"),
    [
        (InterruptedBySignal(signal.SIGTERM), 143, "\nInterrupted.\n"),
        (InterruptedBySignal(signal.SIGINT, "Saved."), 130, "\nSaved.\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
)
def test_it_leaves_with_a_line_and_a_status(monkeypatch, capsys, interrupted, status, said):
    statuses = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    interruption.leave(interrupted)
    assert statuses == [status]
    assert capsys.readouterr().err == said
