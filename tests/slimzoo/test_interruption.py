import signal
import threading

import pytest

from slimzoo.interruption import signals_noted


@pytest.fixture
def usual():
    """What signals do outside: here they are counted, and nothing is ended."""
    received = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, lambda number, frame: received.append(number))
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_has_its_usual_effect(usual, number):
    with signals_noted() as signals:
        assert not signals
        signal.raise_signal(number)
        assert (signals, usual) == ([number], [])
        signal.raise_signal(number)
        assert (signals, usual) == ([number], [number])
    signal.raise_signal(number)
    assert (signals, usual) == ([number], [number] * 2)


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
