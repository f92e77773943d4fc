"""Errors against epochs: which learning rate is best, when a goal is reached, and the plot."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import NamedTuple

import drawing

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """A run: its variant, rate, seed, and (epoch, error) after each epoch."""

    variant: str
    learning_rate: float
    seed: int
    points: Points


def best_rate(found: Mapping[float, Points], goal: float) -> float:
    """The rate at which the error falls to the goal first; if none does, is lowest in the end.

    Args:
      found: (epoch, error) after each epoch, by the rate.
      goal: the error.

    Raises:
      ValueError: if there is no rate.
    """
    if not found:
        raise ValueError("Training diverged at every rate.")

    def merit(rate: float) -> tuple[float, float]:
        reached = epochs_to(goal, found[rate])
        return float("inf") if reached is None else reached, found[rate][-1][1]

    return min(found, key=merit)


def epochs_to(goal: float, curve: Points) -> float | None:
    """The first epoch after which the error is at most `goal`; None if there is none."""
    return next((epoch for epoch, error in curve if error <= goal), None)


def plot(curves: list[Curve], goal: float, measured_on: str, title: str, path: str) -> None:
    """Draws each run, and of each variant's runs the median, into a PNG file.

    Args:
      curves: of all variants, those of one behind one another.
      goal: an error that a line marks.
      measured_on: the split, for the axis.
      title: of the plot.
      path: of the file.
    """
    pyplot = drawing.pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for number, variant in enumerate(dict.fromkeys(curve.variant for curve in curves)):
        of_variant = [curve for curve in curves if curve.variant == variant]
        errors = [dict(curve.points) for curve in of_variant]
        for by_epoch in errors:
            axes.plot(
                list(by_epoch), list(by_epoch.values()), color=f"C{number}", alpha=0.3, linewidth=1
            )
        epochs = sorted(set.intersection(*(set(curve) for curve in errors)))
        medians = [statistics.median(curve[epoch] for curve in errors) for epoch in epochs]
        rate = of_variant[0].learning_rate
        seeds = f", median of {len(errors)} seeds" if len(errors) > 1 else ""
        label = f"{variant}, rate {rate:g}{seeds}"
        axes.plot(epochs, medians, color=f"C{number}", label=label)
    axes.axhline(goal, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="epochs", ylabel=f"error on {measured_on}", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
