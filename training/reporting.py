"""What a run shows while it trains: a progress bar, metrics.jsonl and TensorBoard summaries."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from preprocessing.decoding import plain_message
from training.forecast import Forecast
from training.progress_bar import Figure, ProgressBar
from training.storage.whole_files import write_text

# Share of the time: below it, a faster input would hardly be noticed.
_WORTH_SAYING = 0.1
# From then on it is known whether pauses take most of the time: the first of them builds graphs.
_ENOUGH_PAUSES = 3
_ENOUGH_SECONDS = 10.0


class Reporter:
    """Reports on a run in `train_dir`; a context manager.

    Args:
      train_dir: where metrics.jsonl and the summaries go.
      first_step: what the run resumes from. Later lines of metrics.jsonl and later points of
        TensorBoard, of a run that was stopped before its next checkpoint, are dropped.
      num_steps: of the whole run.
      batch_size: images a step.
      silent: neither shows nor writes anything, as all hosts but one must.
      forecast: says how long the run will take, once it knows; None says nothing.
    """

    def __init__(
        self,
        train_dir: str,
        first_step: int,
        num_steps: int,
        batch_size: int,
        silent: bool = False,
        forecast: Forecast | None = None,
    ):
        self._silent = silent
        self._forecast = forecast
        self._batch_size = batch_size
        self._path = os.path.join(train_dir, "metrics.jsonl")
        self._summaries = {}
        self._unwritable: set[str] = set()
        for kind, folder in (("train", ""), ("validation", "validation")):
            if not silent:
                with self._going_on("TensorBoard's events"):
                    self._summaries[kind] = _summary_writer(os.path.join(train_dir, folder))
        self._bar = ProgressBar(first_step, num_steps, silent)
        self._figures: list[Figure] = []
        self._validated: float | None = None
        self._last_time = time.perf_counter()
        self._last_step = first_step
        self._paused = 0.0
        self._waited = 0.0
        self._started = self._last_time
        self._all_pauses: list[float] = []  # in seconds
        self._is_said_of_pauses = False
        self._forget_after(first_step)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()
        for writer in self._summaries.values():
            with self._going_on("TensorBoard's events"):
                writer.close()

    def step(self, count: int = 1) -> None:
        """Counts a step, or so many that were taken together."""
        self._bar.update(count)
        if self._forecast and (said := self._forecast.step(time.perf_counter(), count)):
            self.say(said)

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if not self._silent:
            self._bar.write(text)

    def go_back(self, step: int) -> None:
        """Forgets what was reported of later steps."""
        self._bar.n = step
        self._bar.initial = min(self._bar.initial, step)  # or it counts time backwards
        self._bar.refresh()
        self._last_time, self._last_step, self._paused, self._waited = (
            *(time.perf_counter(), step),
            *(0.0, 0.0),
        )
        self._forget_after(step)

    def paused(self, seconds: float) -> None:
        """Leaves time spent on validation or saving out of images per second.

        If it is most of the time so far, a line says so, once.
        """
        self._paused += seconds
        if self._forecast:
            self._forecast.paused(seconds)
        self._all_pauses.append(seconds)
        self._say_if_pauses_are_most()

    def waited(self, seconds: float) -> None:
        """Counts time in which the step waited for its batch."""
        self._waited += seconds

    def train_metrics(
        self, step: int, epoch: float, loss: float, top_1: float, learning_rate: float
    ) -> None:
        """Reports averages over the steps since the last report."""
        now = time.perf_counter()
        seconds = now - self._last_time - self._paused
        rate = (step - self._last_step) * self._batch_size / max(seconds, 1e-9)
        waited = self._waited / max(seconds, 1e-9)
        self._last_time, self._last_step, self._paused, self._waited = now, step, 0.0, 0.0
        self._figures = [
            Figure(f"loss {loss:.3f}", 8),
            Figure(f"top-1 {top_1:.1%}", 7),
            Figure(f"{rate:.3g} img/s" if rate < 100 else f"{rate:.0f} img/s", 5),
            Figure(f"epoch {epoch:.1f}", 2),
            Figure(f"rate {learning_rate:.2g}", 1),
        ]
        if waited > _WORTH_SAYING:
            self._figures.insert(3, Figure(f"waits for input {waited:.0%}", 3))
        self._show()
        metrics = {"loss": loss, "top_1": top_1, "learning_rate": learning_rate}
        speed = {"images_per_second": rate, "share_waiting_for_input": waited}
        self._write("train", step, epoch, metrics | speed)

    def validation_metrics(self, step: int, epoch: float, metrics: dict[str, Any]) -> None:
        """Reports a validation; the bar shows it with the next line that is said."""
        self._validated = metrics["top_1"]
        self._show()
        self._write("validation", step, epoch, metrics)

    def _say_if_pauses_are_most(self) -> None:
        total, elapsed = sum(self._all_pauses), time.perf_counter() - self._started
        is_known = len(self._all_pauses) >= _ENOUGH_PAUSES and total >= _ENOUGH_SECONDS
        validates = self._validated is not None
        if is_known and validates and total > elapsed / 2 and not self._is_said_of_pauses:
            self._is_said_of_pauses = True
            self.say(
                f"NOTE: {total / elapsed:.0%} of the time so far went into validating and saving. "
                "A larger --validation_interval_epochs does both less often."
            )

    def _show(self) -> None:
        figures = list(self._figures)
        if self._validated is not None:
            figures.insert(2, Figure(f"val {self._validated:.1%}", 6))
        self._bar.show(figures)

    def _write(self, kind: str, step: int, epoch: float, metrics: dict[str, Any]) -> None:
        if self._silent:
            return
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4)} | metrics
        with self._going_on(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        value = tf.compat.v1.Summary.Value
        summary = tf.compat.v1.Summary(
            value=[value(tag=name, simple_value=number) for name, number in metrics.items()]
        )
        if writer := self._summaries.get(kind):
            with self._going_on("TensorBoard's events"):
                writer.add_summary(summary, step)
                writer.flush()

    def _forget_after(self, step: int) -> None:
        if self._silent:
            return
        with self._going_on(self._path):
            if dropped := _drop_lines_after(self._path, step):
                self.say(dropped)
        # TensorBoard then shows none of what a session before has written of these steps.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        for writer in self._summaries.values():
            with self._going_on("TensorBoard's events"):
                writer.add_session_log(start, step + 1)

    @contextlib.contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """Lets a run go on whose log cannot be written, and says so once."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if what not in self._unwritable:
                self._unwritable.add(what)
                why = error.strerror if isinstance(error, OSError) else plain_message(error)
                self.say(f"WARNING: {what} cannot be written: {why}. The run goes on without.")


def _summary_writer(folder: str) -> Any:
    # tf.summary.scalar cannot write where TensorBoard is not installed; this can, in a graph.
    with tf.Graph().as_default():
        return tf.compat.v1.summary.FileWriter(folder)


def _drop_lines_after(path: str, step: int) -> str:
    """Keeps the lines up to a step.

    Returns:
      What to say of a file that holds something else than such lines; empty if there is nothing.
    """
    if not os.path.exists(path):
        return ""
    kept, num_damaged = [], 0
    lines = pathlib.Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line.decode() + "\n")
        except (ValueError, LookupError, TypeError, RecursionError):
            num_damaged += bool(line) and number < len(lines)  # the last was torn by a kill
    said = ""
    if num_damaged:
        os.replace(path, f"{path}.damaged")
        said = (
            f"WARNING: {num_damaged:,} lines of {path} cannot be read, and are left out. The file "
            f"as it was is {os.path.basename(path)}.damaged."
        )
    write_text(path, "".join(kept))
    return said
