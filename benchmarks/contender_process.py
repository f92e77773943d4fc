"""The program that each contender runs in: told over a pipe to run, it answers with its time.

Lines of JSON in both directions. First comes what to build, as
`{"builder": "module:function", "arguments": {...}}`; then `{"least_seconds": ...}` for every run;
then the end of the input. `contenders.py` is the other side.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

from slimzoo import environment
from workloads import LeftOutError, Workload


def main() -> None:
    """Builds the workload and serves until the input ends."""
    environment.set_variables()  # for all contenders alike, before any imports TensorFlow
    # Libraries print on standard output; the answers keep it for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        with errors_as_reasons():
            workload = build(**json.loads(sys.stdin.readline()))
            _answer(answers, facts=workload.facts)
            for line in sys.stdin:
                _answer(answers, **timed_run(workload, **json.loads(line)))
    except LeftOutError as error:
        _answer(answers, left_out=str(error))


@contextlib.contextmanager
def errors_as_reasons() -> Iterator[None]:
    """Makes any error a `LeftOutError` that names it, and prints where it came from."""
    try:
        yield
    except LeftOutError:
        raise
    except Exception as error:
        traceback.print_exc()
        message = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {message[0] if message else ''}"
        raise LeftOutError(reason) from error


def build(builder: str, arguments: dict[str, Any]) -> Workload:
    """Calls "module:function" with the arguments, and warms up what it gives."""
    module, _, function = builder.partition(":")
    workload: Workload = getattr(importlib.import_module(module), function)(**arguments)
    workload.warm_up()
    return workload


def timed_run(workload: Workload, least_seconds: float) -> dict[str, Any]:
    """Runs it once; returns the fields of `contenders.Run`."""
    amount, seconds = workload.run(least_seconds)
    return {
        "amount": amount,
        "seconds": seconds,
        "peak_memory_mib": _peak_memory_mib(),
        "peak_gpu_memory_mib": _peak_gpu_memory_mib(),
    }


def _answer(answers: TextIO, **content: Any) -> None:
    print(json.dumps(content), file=answers, flush=True)


def _peak_memory_mib() -> float:
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        # On Linux this would begin with the peak of the process that started this one.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_gpu_memory_mib() -> float | None:
    """Of the library that this process has loaded; None without a GPU."""
    if torch := sys.modules.get("torch"):
        return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    if tensorflow := sys.modules.get("tensorflow"):
        if not tensorflow.config.list_physical_devices("GPU"):
            return None
        return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return None


if __name__ == "__main__":
    main()
