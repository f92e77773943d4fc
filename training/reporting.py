"""What a run shows while it trains: a progress bar, metrics.jsonl and TensorBoard summaries."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from typing import Any

import tensorflow as tf
import tqdm

from training.storage.whole_files import write_text

# Share of the time: below it, a faster input would hardly be noticed.
_WORTH_SAYING = 0.1

# Leaves room for the figures in 80 columns.
_BAR_FORMAT = "{percentage:3.0f}%|{bar:6}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Reporter:
    """Reports on a run in `train_dir`; a context manager.

    Args:
      train_dir: where metrics.jsonl and the summaries go.
      first_step: what the run resumes from; later lines of metrics.jsonl, written by a run that
        was stopped before its next checkpoint, are dropped.
      num_steps: of the whole run.
      steps_per_epoch: may be fractional.
      batch_size: images a step.
      silent: neither shows nor writes anything, as all hosts but one must.
    """

    def __init__(
        self,
        train_dir: str,
        first_step: int,
        num_steps: int,
        steps_per_epoch: float,
        batch_size: int,
        silent: bool = False,
    ):
        self._silent = silent
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._path = os.path.join(train_dir, "metrics.jsonl")
        self._summaries = {}
        if not silent:
            _drop_lines_after(self._path, first_step)
            self._summaries = {
                "train": _summary_writer(train_dir),
                "validation": _summary_writer(os.path.join(train_dir, "validation")),
            }
        # A log file gets a line every half a minute rather than ten a second.
        self._bar = tqdm.tqdm(
            initial=first_step,
            total=num_steps,
            unit="step",
            disable=silent,
            dynamic_ncols=True,
            smoothing=0,  # the time that is left counts validations in
            bar_format=_BAR_FORMAT,
            mininterval=0.2 if sys.stderr.isatty() else 30,
        )
        self._validated: float | None = None
        self._last_time = time.perf_counter()
        self._last_step = first_step
        self._paused = 0.0
        self._waited = 0.0

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()
        for writer in self._summaries.values():
            writer.close()

    def step(self) -> None:
        """Counts a step."""
        self._bar.update()

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if not self._silent:
            self._bar.write(text)

    def paused(self, seconds: float) -> None:
        """Leaves time spent on validation or saving out of images per second."""
        self._paused += seconds

    def waited(self, seconds: float) -> None:
        """Counts time in which the step waited for its batch."""
        self._waited += seconds

    def train_metrics(self, step: int, loss: float, top_1: float, learning_rate: float) -> None:
        """Reports averages over the steps since the last report."""
        now = time.perf_counter()
        seconds = now - self._last_time - self._paused
        rate = (step - self._last_step) * self._batch_size / max(seconds, 1e-9)
        waited = self._waited / max(seconds, 1e-9)
        self._last_time, self._last_step, self._paused, self._waited = now, step, 0.0, 0.0
        # A narrow terminal cuts the end off.
        shown = [f"loss {loss:.3f}", f"top-1 {top_1:.1%}"]
        if self._validated is not None:
            shown.append(f"val {self._validated:.1%}")
        shown.append(f"{rate:.3g} img/s" if rate < 100 else f"{rate:.0f} img/s")
        if waited > _WORTH_SAYING:
            shown.append(f"waits for input {waited:.0%}")
        shown += [f"epoch {step / self._steps_per_epoch:.1f}", f"rate {learning_rate:.2g}"]
        self._bar.set_postfix_str(", ".join(shown), refresh=False)
        metrics = {"loss": loss, "top_1": top_1, "learning_rate": learning_rate}
        speed = {"images_per_second": rate, "share_waiting_for_input": waited}
        self._write("train", step, metrics | speed)

    def validation_metrics(self, step: int, metrics: dict[str, Any]) -> None:
        """Reports a validation."""
        self._validated = metrics["top_1"]
        self._write("validation", step, metrics)

    def _write(self, kind: str, step: int, metrics: dict[str, Any]) -> None:
        if self._silent:
            return
        epoch = round(step / self._steps_per_epoch, 4)
        with open(self._path, "a") as file:
            file.write(json.dumps({"kind": kind, "step": step, "epoch": epoch} | metrics) + "\n")
        value = tf.compat.v1.Summary.Value
        self._summaries[kind].add_summary(
            tf.compat.v1.Summary(
                value=[value(tag=name, simple_value=number) for name, number in metrics.items()]
            ),
            step,
        )
        self._summaries[kind].flush()


def _summary_writer(folder: str) -> Any:
    # tf.summary.scalar cannot write where TensorBoard is not installed; this can, in a graph.
    with tf.Graph().as_default():
        return tf.compat.v1.summary.FileWriter(folder)


def _drop_lines_after(path: str, step: int) -> None:
    if not os.path.exists(path):
        return
    kept = []
    for line in pathlib.Path(path).read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            pass  # torn by the end of the run that wrote it
    write_text(path, "".join(kept))
