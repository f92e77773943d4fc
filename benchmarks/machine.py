"""What a measurement was made on: hardware and versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from typing import Any

_PACKAGES = ("tensorflow", "keras", "numpy", "torch", "tf-slim")

# Those that decide how fast a convolution can be on a CPU.
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_machine() -> dict[str, Any]:
    """The hardware, as the operating system tells it.

    Returns:
      "processor"; "cores", those this process may use; "memory_gib"; "cpu_features", which of
      AVX2, AVX-512 and its bfloat16, and AMX's bfloat16 there are; "gpus", their names; "system".
    """
    information = _first_processor()
    flags = information.get("flags", "").split()
    return {
        "processor": information.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "cpu_features": [feature for feature in _CPU_FEATURES if feature in flags],
        "gpus": _gpus(),
        "system": platform.platform(),
    }


def describe_versions() -> dict[str, str]:
    """Python and the packages that are compared; those that are not installed are missing."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _first_processor() -> dict[str, str]:
    try:
        with open("/proc/cpuinfo") as file:
            lines = file.read().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _gpus() -> list[str]:
    # Not asked of TensorFlow, which would take a share of the GPU into this process.
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return finished.stdout.strip().splitlines() if finished.returncode == 0 else []
