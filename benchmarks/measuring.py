"""Contenders measured by turns, and the figures that come of it.

Machines are shared and drift by more than what is to be shown. So the contenders of a case take
turns (ours, a peer, a ceiling, and again), never two at once; every figure is a median over the
rounds; and a ratio is the median of the ratios within each round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import tqdm

from contenders import Contender, Run, RunningContender
from workloads import LeftOutError


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The rates of one contender, one a round, in units a second.

    Attributes:
      contender: whose.
      facts: that its workload knows, for example "parameters".
      runs: one a round.
    """

    contender: Contender
    facts: dict[str, Any]
    runs: tuple[Run, ...]

    @property
    def rates(self) -> list[float]:
        """Units a second of each round."""
        return [run.amount / run.seconds for run in self.runs]

    @property
    def median(self) -> float:
        """The rate that counts."""
        return statistics.median(self.rates)

    def figures(self, rate_name: str) -> dict[str, Any]:
        """Returns what a report holds of it; `rate_name` is the key of the median."""
        slowest, fastest = min(self.rates), max(self.rates)
        figures = {
            rate_name: self.median,
            "slowest": slowest,
            "fastest": fastest,
            "spread": fastest / slowest,
            "rounds": self.rates,
            "peak_memory_mib": self.runs[-1].peak_memory_mib,
        }
        if self.runs[-1].peak_gpu_memory_mib is not None:
            figures["peak_gpu_memory_mib"] = self.runs[-1].peak_gpu_memory_mib
        return figures | self.facts


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A contender that could not be measured, and why."""

    contender: Contender
    reason: str


@dataclasses.dataclass(frozen=True)
class Case:
    """The measurements of contenders that took turns.

    Attributes:
      measurements: by the contender's name, in the order of the contenders.
      left_out: those that could not run.
    """

    measurements: dict[str, Measurement]
    left_out: tuple[LeftOut, ...]

    def fastest(self, names: Sequence[str]) -> Measurement | None:
        """The one of these contenders with the highest median; None if none was measured."""
        measured = [self.measurements[name] for name in names if name in self.measurements]
        return max(measured, key=lambda measurement: measurement.median, default=None)


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float]:
    """The ratio of two rates that were measured in the same rounds.

    Args:
      numerator: a rate for each round.
      denominator: a rate for each of the same rounds.

    Returns:
      "ratio", the median of the rounds' ratios; "smallest" and "largest" of them.
    """
    ratios = [above / below for above, below in zip(numerator, denominator, strict=True)]
    return {"ratio": statistics.median(ratios), "smallest": min(ratios), "largest": max(ratios)}


def measure(
    contenders: Sequence[Contender],
    *,
    runs: int,
    least_seconds: float,
    title: str = "",
    required: Sequence[str] = (),
) -> Case:
    """Measures contenders by turns, with a progress bar on standard error.

    Args:
      contenders: of different names.
      runs: rounds; each contender runs once in each.
      least_seconds: that a run lasts; it may take longer, as a step is not cut short.
      title: of the progress bar.
      required: names of contenders without which there is nothing to report.

    Raises:
      ValueError: if one of those cannot run.
    """
    left_out: list[LeftOut] = []
    timed: dict[str, list[Run]] = {}
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            tqdm.tqdm(total=len(contenders) * (runs + 1), desc=title, unit="run")
        )
        running: list[RunningContender] = []

        def leave_out(contender: Contender, error: LeftOutError) -> None:
            if contender.name in required:
                raise ValueError(f"{contender.name} cannot be measured: {error}") from error
            left_out.append(LeftOut(contender, str(error)))
            progress.write(f"left out: {contender.name}: {error}", file=progress.fp)

        for contender in contenders:
            progress.set_postfix_str(f"starting {contender.name}")
            try:
                started = RunningContender(contender)
                stack.callback(started.close)
                running.append(started)
                timed[contender.name] = []
            except LeftOutError as error:
                leave_out(contender, error)
            progress.update()
        for turn, participant in _turns(running, runs):
            if len(timed.get(participant.contender.name, ())) < turn:
                continue  # it failed in an earlier round
            progress.set_postfix_str(participant.contender.name)
            try:
                timed[participant.contender.name].append(participant.run(least_seconds))
            except LeftOutError as error:
                leave_out(participant.contender, error)
            progress.update()
    facts = {started.contender.name: started.facts for started in running}
    return Case(
        {
            contender.name: Measurement(
                contender, facts[contender.name], tuple(timed[contender.name])
            )
            for contender in contenders
            if len(timed.get(contender.name, ())) == runs
        },
        tuple(left_out),
    )


def _turns(
    running: Sequence[RunningContender], runs: int
) -> Iterator[tuple[int, RunningContender]]:
    """Who runs when: every second round backwards, so that a steady drift cancels."""
    for turn in range(runs):
        for participant in reversed(running) if turn % 2 else running:
            yield turn, participant
