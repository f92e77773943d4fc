"""The program that each contender runs in: told over a pipe to run, it answers with its time.

Lines of JSON in both directions. First comes what to build, as
`{"builder": "module:function", "arguments": {...}}`; then `{"least_seconds": ...}` for every run;
then the end of the input. `contenders.py` is the other side.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import traceback
from typing import Any, TextIO

from slimzoo import environment
from workloads import LeftOutError


def main() -> None:
    """Builds the workload and serves until the input ends."""
    environment.set_variables()  # for all contenders alike, before any imports TensorFlow
    # Libraries print on standard output; the answers keep it for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(answers)
    except LeftOutError as error:
        _answer(answers, left_out=str(error))
    except Exception as error:
        traceback.print_exc()
        message = str(error).strip().splitlines()
        _answer(answers, left_out=f"{type(error).__name__}: {message[0] if message else ''}")


def _serve(answers: TextIO) -> None:
    request = json.loads(sys.stdin.readline())
    module, _, function = request["builder"].partition(":")
    workload = getattr(importlib.import_module(module), function)(**request["arguments"])
    workload.warm_up()
    _answer(answers, facts=workload.facts)
    for line in sys.stdin:
        amount, seconds = workload.run(json.loads(line)["least_seconds"])
        _answer(
            answers,
            amount=amount,
            seconds=seconds,
            peak_memory_mib=_peak_memory_mib(),
            peak_gpu_memory_mib=_peak_gpu_memory_mib(),
        )


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
