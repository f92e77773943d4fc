import json
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"

# The benchmarks are scripts, which import the modules that lie beside them.
sys.path.append(str(BENCHMARKS))


@pytest.fixture(scope="session")
def run_benchmark():
    """Runs a script as a user would: (its report, what it printed on standard error)."""

    def run(script, *flags):
        finished = subprocess.run(
            [sys.executable, str(BENCHMARKS / script), *flags],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout), finished.stderr

    return run


@pytest.fixture(scope="session")
def check_figures():
    """What every row of measured figures has, and what holds of it."""

    def check(row, rate_name, runs):
        assert 0 < row["slowest"] <= row[rate_name] <= row["fastest"]
        assert row["spread"] == row["fastest"] / row["slowest"]
        assert len(row["rounds"]) == runs
        # More than Python alone and less than a server has: it is in MiB.
        assert 20 < row["peak_memory_mib"] < 100_000

    return check
