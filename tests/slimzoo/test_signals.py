"""Each command, interrupted in the middle of its work, as a user or a scheduler does it."""

import dataclasses
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tiny_network import tiny_config

from slimzoo.commands.train_image_classifier import train

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_run(photos, tmp_path_factory):
    """A run of a network that the commands know."""
    folder = tmp_path_factory.mktemp("run") / "run"
    config = tiny_config(photos, folder, max_number_of_steps=2, preprocessing_options=[])
    train(dataclasses.replace(config, model_name="cifarnet_18pct"))
    return folder


@pytest.fixture(autouse=True)
def nothing_is_ignored():
    """Whoever runs the tests may have done it with nohup, which commands would inherit."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def run(small_run, tmp_path):
    return shutil.copytree(small_run, tmp_path / "run")


@pytest.fixture
def many_photos(photos, tmp_path):
    """So many that no command is through with them at once."""
    folder = tmp_path / "many"
    for name in ("blue", "green", "red"):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(3000):
            path = folder / "train" / name / f"{number}.jpg"
            os.link(f"{photos}/train/{name}/{number % 10}.jpg", path)
    return folder


def arguments_of(command, run, photos, tmp_path):
    """The command, and the pattern of a file below tmp_path that appears when it is at work."""
    out = tmp_path / "out"
    dataset = ("--dataset_name=folder", f"--dataset_dir={photos}")
    return {
        "train_image_classifier": (
            [*dataset, "--model_name=cifarnet_18pct", f"--train_dir={out}", "--batch_size=32"],
            "out/metrics.jsonl",
        ),
        "eval_image_classifier": (
            [f"--checkpoint_path={run}", *dataset, "--dataset_split_name=train", "--batch_size=8"],
            "run/evaluation/*.incomplete",
        ),
        "export_saved_model": ([f"--checkpoint_path={run}"], "run/*.incomplete"),
        "classify_images": (
            [f"--checkpoint_path={run}", str(photos), f"--output={out}/answers.csv"],
            "out/*.incomplete",
        ),
        "prepare_dataset": ([*dataset, f"--output_dir={out}", "--image_size=32"], "out/*/*/*.json"),
        "compute_dataset_statistics": ([*dataset, f"--output_dir={out}"], "out"),
    }[command]


COMMANDS = [
    *("train_image_classifier", "eval_image_classifier", "export_saved_model"),
    *("classify_images", "prepare_dataset", "compute_dataset_statistics"),
]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_at_work_it_ends_with_a_line_and_leaves_nothing_half_written(
    command, number, run, many_photos, tmp_path
):
    arguments, sign = arguments_of(command, run, many_photos, tmp_path)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / f"{command}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(sign)) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert output.strip().splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in output
    if command == "train_image_classifier":
        assert list((tmp_path / "out").glob("model.ckpt-*.index"))
    left = [path.name for path in tmp_path.rglob("*.incomplete")]
    # What is taken up by the same command.
    assert left == (["1.0.0.incomplete"] if command == "prepare_dataset" else [])
    assert not list(tmp_path.rglob("*_temp"))


def test_a_terminal_that_is_closed_ends_a_run_that_is_saved(many_photos, tmp_path):
    arguments, _ = arguments_of("train_image_classifier", None, many_photos, tmp_path)
    process, terminal = pty.fork()
    if process == 0:
        script = str(ROOT / "train_image_classifier.py")
        os.execv(sys.executable, [sys.executable, script, *arguments])
    until = time.monotonic() + 60
    while not (tmp_path / "out" / "metrics.jsonl").exists() and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 10_000)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    assert list((tmp_path / "out").glob("model.ckpt-*.index"))


def test_nohup_is_heard(many_photos, tmp_path):
    arguments, sign = arguments_of("train_image_classifier", None, many_photos, tmp_path)
    process = subprocess.Popen(
        ["nohup", sys.executable, str(ROOT / "train_image_classifier.py"), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(sign)) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
