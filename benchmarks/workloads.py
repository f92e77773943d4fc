"""What a contender does when it is told to run: work that is counted and timed."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class LeftOutError(Exception):
    """A contender cannot run here; the message says why, and is printed."""


class Workload(abc.ABC):
    """Work that can be done again and again.

    Attributes:
      facts: what is known of it beside its speed, such as its number of parameters; goes into the
        report.
    """

    facts: dict[str, Any]

    @abc.abstractmethod
    def warm_up(self) -> None:
        """Does what only the first run has to do: tracing, compiling, filling caches."""

    @abc.abstractmethod
    def run(self, least_seconds: float) -> tuple[float, float]:
        """Works for at least so long.

        Returns:
          The amount of work done, in the unit that the benchmark counts, and the seconds it took.
        """


class Repetition(Workload):
    """One function over and over.

    Args:
      function: returns when its work is finished, on a GPU too.
      amount: of work in a call.
      facts: see `Workload`.
      warm_up_calls: after how many calls the function has its usual speed.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        amount: float,
        facts: dict[str, Any] | None = None,
        warm_up_calls: int = 1,
    ):
        self._function = function
        self._amount = amount
        self._warm_up_calls = warm_up_calls
        self.facts = facts or {}

    def warm_up(self) -> None:
        """Calls the function."""
        for _ in range(self._warm_up_calls):
            self._function()

    def run(self, least_seconds: float) -> tuple[float, float]:
        """Calls the function until the time is over, and at least once."""
        started = time.perf_counter()
        calls = 0
        while not calls or time.perf_counter() - started < least_seconds:
            self._function()
            calls += 1
        return calls * self._amount, time.perf_counter() - started


class Stream(Workload):
    """Elements of a stream that is opened anew for each run.

    A stream left open would go on working in the background, at another contender's expense, and
    would hand over what it had prepared meanwhile as if it had cost nothing.

    Args:
      open_stream: gives the elements, without end.
      consume: what is done with each.
      amount: of work in an element.
      warm_up_elements: how many are taken at least from a fresh stream before the clock
        starts; it also runs for as long as it is then timed.
      finish: waits for what `consume` may have left running.
      facts: see `Workload`.
    """

    def __init__(
        self,
        open_stream: Callable[[], Iterable[Any]],
        consume: Callable[[Any], Any],
        amount: float,
        warm_up_elements: int = 2,
        finish: Callable[[], None] = lambda: None,
        facts: dict[str, Any] | None = None,
    ):
        self._open_stream = open_stream
        self._consume = consume
        self._amount = amount
        self._warm_up_elements = warm_up_elements
        self._finish = finish
        self.facts = facts or {}

    def warm_up(self) -> None:
        """Takes the first elements of a stream."""
        self.run(0.0)

    def run(self, least_seconds: float) -> tuple[float, float]:
        """Takes elements until the time is over, and at least one."""
        elements = iter(self._open_stream())
        # TensorFlow tunes how many threads work on a stream while it is being read.
        self._take(elements, self._warm_up_elements, least_seconds)
        started = time.perf_counter()
        taken = self._take(elements, 1, least_seconds)
        return taken * self._amount, time.perf_counter() - started

    def _take(self, elements: Iterator[Any], least_elements: int, least_seconds: float) -> int:
        started = time.perf_counter()
        taken = 0
        while taken < least_elements or time.perf_counter() - started < least_seconds:
            self._consume(next(elements))
            taken += 1
        self._finish()
        return taken
