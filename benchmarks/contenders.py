"""Contenders, each in a process of its own that stays alive and is told when to run.

Of their own, so that neither shares memory, threads or settings with another and a peak of memory
has one owner; alive, so that they can take turns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from workloads import LeftOutError

_PROGRAM = pathlib.Path(__file__).with_name("contender_process.py")
_SECONDS_TO_END = 30


def keep_freed_memory() -> None:
    """Asks the C library of every contender that starts from now on to keep memory that was freed.

    As slimzoo's drivers do for themselves, see `slimzoo.memory`. Peers are up to a quarter faster.
    """
    # glibc reads them when a process starts.
    os.environ |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


@dataclasses.dataclass(frozen=True)
class Contender:
    """What is to be measured.

    Attributes:
      name: as tables show it, for example "pytorch compiled".
      builder: "module:function"; the function returns a `Workload`, or raises `LeftOutError`.
      arguments: of that function, as JSON can hold them.
    """

    name: str
    builder: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """One timed run.

    Attributes:
      amount: work done, in the benchmark's unit.
      seconds: it took.
      peak_memory_mib: of the process since its start, libraries included.
      peak_gpu_memory_mib: None without a GPU.
    """

    amount: float
    seconds: float
    peak_memory_mib: float
    peak_gpu_memory_mib: float | None


class RunningContender:
    """A contender whose process has been started, built and warmed up.

    Attributes:
      contender: what runs in it.
      facts: of its workload.

    Raises:
      LeftOutError: from the constructor and from `run`, if it cannot run here.
    """

    def __init__(self, contender: Contender):
        self.contender = contender
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Several share a GPU, though not at the same time; TensorFlow would take all of it.
            env={"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ},
        )
        try:
            request = {"builder": contender.builder, "arguments": contender.arguments}
            self.facts: dict[str, Any] = self._ask(request)["facts"]
        except BaseException:
            self.close()
            raise

    def run(self, least_seconds: float) -> Run:
        """Runs it once for at least so long."""
        return Run(**self._ask({"least_seconds": least_seconds}))

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            # What it was told and never read, if it was killed, is lost.
            with contextlib.suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LeftOutError(f"its process ended: {self._last_words()}")
        answer = json.loads(line)
        if "left_out" in answer:
            raise LeftOutError(answer["left_out"])
        return answer

    def _last_words(self) -> str:
        status = self._process.wait(_SECONDS_TO_END)
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"status {status}{', ' + lines[-1] if lines else ''}"
