"""What a run left of its training beside its checkpoints: its curves and its flags."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import re

from training.checkpoints.finding import BEST_FOLDER, is_of_a_run
from training.storage.json_files import is_like

_METRICS_NAME, _FLAGS_NAME = "metrics.jsonl", "flags.txt"
_MOST_POINTS = 500  # of a curve; more would be drawn on the same pixels


@dataclasses.dataclass(frozen=True)
class Curve:
    """One thing that was measured in a run, time after time.

    Attributes:
      name: for example "training loss".
      epochs: when.
      values: what.
    """

    name: str
    epochs: list[float]
    values: list[float]


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What a run left of its training.

    Attributes:
      checkpoint: that was evaluated.
      losses: curves of the mean cross-entropy in nats.
      accuracies: curves of the top-1 accuracy, 0 to 1.
      epoch: that the checkpoint is of; None if that is not known.
      flags: the lines of its flagfile.
      remarks: what is missing, as sentences.
    """

    checkpoint: str
    losses: list[Curve] = dataclasses.field(default_factory=list)
    accuracies: list[Curve] = dataclasses.field(default_factory=list)
    epoch: float | None = None
    flags: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)


def read_run_record(checkpoint: str) -> RunRecord:
    """Reads what lies in the folder of a checkpoint, or above it if it is that of the best.

    Nothing is raised: what cannot be read is a remark.

    Args:
      checkpoint: the prefix of its files, or a file of weights.
    """
    if not is_of_a_run(checkpoint):
        remark = "It is no checkpoint of a training run here, so there are no curves and no flags."
        return RunRecord(checkpoint, remarks=[remark])
    folder = pathlib.Path(checkpoint).absolute().parent
    if folder.name == BEST_FOLDER:
        folder = folder.parent
    remarks: list[str] = []
    flags = _read_lines(folder / _FLAGS_NAME, "The flags of its training are not there", remarks)
    lines = _read_lines(folder / _METRICS_NAME, "Its training curves are not there", remarks)
    points, damaged = _points(lines)
    if damaged:
        remarks.append(f"{damaged:,} lines of {folder / _METRICS_NAME} cannot be read.")
    if lines and not points:
        remarks.append("So its training curves are not there.")
    kinds = {"train": "training", "validation": "validation"}
    losses, accuracies = (
        [
            _thinned(Curve(f"{called} {name}", *map(list, zip(*found, strict=True))))
            for kind, called in kinds.items()
            if (found := [(p["epoch"], p[key]) for p in points if p["kind"] == kind and key in p])
        ]
        for key, name in (("loss", "loss"), ("top_1", "top-1"))
    )
    return RunRecord(checkpoint, losses, accuracies, _epoch_of(checkpoint, points), flags, remarks)


def _read_lines(path: pathlib.Path, otherwise: str, remarks: list[str]) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        remarks.append(f"{otherwise}: there is no {path.name} in {path.parent}.")
    except OSError as error:
        remarks.append(f"{otherwise}: {path} cannot be read: {error.strerror}.")
    return []


def _points(lines: list[str]) -> tuple[list[dict[str, float]], int]:
    """The lines of metrics.jsonl, and how many are none; the last may have been torn by a kill."""
    points, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            point = json.loads(line)
            kept = {
                key: point[key]
                for key in ("step", "epoch", "loss", "top_1")
                if is_like(point.get(key), 0.0) and math.isfinite(point[key])
            }
            points.append({"kind": str(point["kind"]), "epoch": kept["epoch"], **kept})
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            damaged += bool(line.strip()) and number < len(lines)
    return points, damaged


def _epoch_of(checkpoint: str, points: list[dict[str, float]]) -> float | None:
    if not (step := re.search(r"-(\d+)$", os.path.basename(checkpoint))):
        return None
    past = [point for point in points if point.get("step", math.inf) >= int(step[1])]
    return min((point["epoch"] for point in past), default=None)


def _thinned(curve: Curve) -> Curve:
    """The means of neighbours where there are too many points."""
    step = -(-len(curve.epochs) // _MOST_POINTS)
    parts = [slice(start, start + step) for start in range(0, len(curve.epochs), step)]
    epochs, values = (
        [math.fsum(numbers[part]) / len(numbers[part]) for part in parts]
        for numbers in (curve.epochs, curve.values)
    )
    return Curve(curve.name, epochs, values)
