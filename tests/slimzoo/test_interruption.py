import os
import signal
import threading

import pytest

from slimzoo.interruption import signals_noted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(number):
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with signals_noted() as received:
        assert not received
        os.kill(os.getpid(), number)
        assert received == [number]
        # A second one has its usual effect.
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_another_thread_than_the_first_notes_nothing_and_does_not_fail():
    outcome = []

    def work():
        with signals_noted() as received:
            outcome.append(list(received))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == [[]]
