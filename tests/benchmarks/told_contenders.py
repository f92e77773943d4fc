"""Contenders that do as they are told; each runs in a process of its own."""

import os
import threading

from workloads import Repetition


def holding(mebibytes):
    """Holds so much memory, and prints where answers are expected."""
    held = b"x" * (mebibytes << 20)
    print("A library may print.")
    return Repetition(lambda: len(held), mebibytes, {"mebibytes": mebibytes})


def giving_up(after):
    """Fails when it has run so often, warming up included."""
    calls = []

    def run():
        calls.append(1)
        if len(calls) > after:
            raise RuntimeError("It has done enough.")

    return Repetition(run, 1)


def dying(seconds):
    """Ends its process after a while, not when it is asked something."""
    threading.Timer(seconds, os._exit, [3]).start()
    return Repetition(lambda: None, 1)
