"""Two ways to run a benchmark: as a user does, and here, which starts no process."""

import contextlib
import importlib
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys

import pytest
from absl import app, flags

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"

# The benchmarks are scripts, which import the modules that lie beside them. Those that define
# flags must not be imported by a module of tests: several define a flag of the same name.
sys.path.append(str(BENCHMARKS))

import contender_process  # noqa: E402
import contenders  # noqa: E402
import measuring  # noqa: E402
import photos  # noqa: E402


class ContenderHere:
    """Stands in for a `RunningContender`: the same workload, built and run in this process."""

    def __init__(self, contender):
        self.contender = contender
        # As they would arrive.
        arguments = json.loads(json.dumps(contender.arguments))
        with contender_process.errors_as_reasons():
            self._workload = contender_process.build(contender.builder, arguments)
        self.facts = self._workload.facts

    def run(self, least_seconds):
        with contender_process.errors_as_reasons():
            return contenders.Run(**contender_process.timed_run(self._workload, least_seconds))

    def close(self):
        self._workload = None


@contextlib.contextmanager
def flags_apart():
    """What is imported from the benchmarks within is forgotten at the end, flags included."""
    app.define_help_flags()
    modules, defined, parsed = set(sys.modules), set(flags.FLAGS), flags.FLAGS.is_parsed()
    try:
        yield
    finally:
        for name in set(flags.FLAGS) - defined:
            # A script that is run is known by its path; an import that failed has left its flags.
            module = pathlib.Path(flags.FLAGS.find_module_defining_flag(name)).stem
            if (BENCHMARKS / f"{module}.py").exists():
                delattr(flags.FLAGS, name)
        for name in set(sys.modules) - modules:
            if (
                BENCHMARKS
                in pathlib.Path(getattr(sys.modules[name], "__file__", None) or "").parents
            ):
                del sys.modules[name]
        if not parsed:
            flags.FLAGS.unparse_flags()


@pytest.fixture(autouse=True)
def _this_checkout(monkeypatch):
    """Processes that are started import this checkout, wherever slimzoo was installed from."""
    paths = [str(BENCHMARKS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture
def benchmark_module():
    """Imports a module that defines flags, or whose imports do."""
    with flags_apart():
        yield importlib.import_module


@pytest.fixture
def start_here(monkeypatch):
    """Runs a script in this process: (exit status, standard output, standard error).

    Its contenders run in this process too. TensorFlow takes seconds to start, and most of what a
    script does is the same in every process; that they are given one each is for `run_benchmark`.
    """

    def parse_and_run(main):
        # Not absl's own, which also changes how this process logs.
        sys.exit(main(app.parse_flags_with_usage(sys.argv)))

    monkeypatch.setattr(app, "run", parse_and_run)
    monkeypatch.setattr(measuring, "RunningContender", ContenderHere)

    def start(script, *arguments):
        path = str(BENCHMARKS / script)
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        status, output, errors = 0, io.StringIO(), io.StringIO()
        with (
            flags_apart(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                runpy.run_path(path, run_name="__main__")
            except SystemExit as exit:
                status = exit.code or 0
        return status, output.getvalue(), errors.getvalue()

    yield start
    if torch := sys.modules.get("torch"):
        torch.set_float32_matmul_precision("highest")  # as it was before a contender set it


@pytest.fixture
def run_here(start_here):
    """Runs a script in this process: (its report, what it printed on standard error)."""

    def run(script, *arguments):
        status, output, errors = start_here(script, *arguments)
        assert status == 0, errors
        return json.loads(output), errors

    return run


@pytest.fixture(scope="session")
def run_benchmark():
    """Runs a script as a user would: (its report, what it printed on standard error)."""

    def run(script, *arguments):
        finished = subprocess.run(
            [sys.executable, str(BENCHMARKS / script), *arguments],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout), finished.stderr

    return run


@pytest.fixture(scope="session")
def photos_folder(tmp_path_factory):
    """Synthetic photos, as `photos.py` writes them."""
    folder = str(tmp_path_factory.mktemp("photos"))
    photos.write_photos(folder, 8)
    return folder


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
