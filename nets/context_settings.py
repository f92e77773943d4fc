"""Settings that hold for what is called inside a `with`.

They are `contextvars`, which each thread has its own of: MirroredStrategy traces each replica in a
thread, which begins with the defaults.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def holding(setting: contextvars.ContextVar[T], value: T) -> Iterator[None]:
    """Gives a setting a value until the end of the `with`."""
    token = setting.set(value)
    try:
        yield
    finally:
        setting.reset(token)
