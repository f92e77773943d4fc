"""Runs that are killed at random moments, again and again, end as one that never was.

    python -m pytest tests/soak -s

prints the table of docs/reliability.md. SLIMZOO_SOAK_SEED chooses other moments.
"""

import collections
import dataclasses
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from free_ports import free_ports
from tiny_network import assert_equal_values, encode_photo, saved_values

from training.checkpoints.finding import latest_checkpoint

ROOT = pathlib.Path(__file__).parents[2]
NUM_KILLS = 20
BATCH_SIZE, STEPS_PER_EPOCH = 8, 8
SECONDS_TO_END = 60  # that any process may take once the others are gone

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """64 photos to train on, and so many to validate on that it takes as long as an epoch."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 64), ("validation", 160)):
        for label, name in enumerate(("blue", "green")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count // 2):
                offset = 0 if split == "train" else 1000
                (folder / f"{number}.jpg").write_bytes(encode_photo(label, number + offset))
    return str(root)


@dataclasses.dataclass
class Run:
    """A run of the train command in one process, or in two that stand for two hosts."""

    folder: pathlib.Path
    flags: list[str]
    num_workers: int = 1
    started: float = 0.0
    processes: list = dataclasses.field(default_factory=list)

    def start(self):
        flags = [*self.flags, f"--train_dir={self.folder}", "--on_damaged_checkpoint=previous"]
        if self.num_workers > 1:
            hosts = ",".join(f"localhost:{port}" for port in free_ports(self.num_workers))
            flags += ["--distribution_strategy=multi_worker_mirrored", f"--worker_hosts={hosts}"]
        self.started = time.time()
        log = self.folder.with_suffix(".log").open("a")
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "train_image_classifier.py"), *flags),
                    *([f"--task_index={index}"] if self.num_workers > 1 else []),
                ],
                stdout=log,
                stderr=log,
            )
            for index in range(self.num_workers)
        ]

    def wait_for_progress(self):
        """Waits until a step has been taken since the last checkpoint, or a process has ended."""
        checkpoint = latest_checkpoint(str(self.folder))
        begun = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
        # What the process before wrote of later steps does not count: this one drops it first.
        while not self.is_written_since(self.started) or self.last_step() <= begun:
            if any(process.poll() is not None for process in self.processes):
                break
            time.sleep(0.01)

    def is_written_since(self, moment):
        path = self.folder / "metrics.jsonl"
        return path.exists() and path.stat().st_mtime > moment

    def last_step(self):
        path = self.folder / "metrics.jsonl"
        line = (lines_of(self.folder) or [""])[-1] if path.exists() else ""
        step = line.partition('"step": ')[2].partition(",")[0]
        return int(step) if step.isdecimal() else 0

    def is_running(self):
        return any(process.poll() is None for process in self.processes)

    def doing(self):
        """What the run is about to do, by what it has written last."""
        # Not "**/*_temp", which fails where a folder goes while it is looked into.
        if any(list(folder.glob("*_temp")) for folder in (self.folder, self.folder / "best")):
            return "saving"
        line = (lines_of(self.folder) or [""])[-1]
        if '"kind": "validation"' in line:
            return "after a validation"
        return "training" if self.last_step() % STEPS_PER_EPOCH else "validation"

    def kill(self, index):
        self.processes[index].send_signal(signal.SIGKILL)

    def wait(self, seconds):
        """Waits for all processes to end, and returns how long that took."""
        begun = time.monotonic()
        for process in self.processes:
            process.wait(timeout=max(0.1, begun + seconds - time.monotonic()))
        return time.monotonic() - begun


def events_as_tensorboard_shows_them(folder):
    """The steps of each curve, when a new session purges what the one before wrote later."""
    steps = collections.defaultdict(list)
    for path in sorted(folder.glob("events.*")):
        try:
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                if event.session_log.status == tf.compat.v1.SessionLog.START:
                    for tag in steps:
                        steps[tag] = [step for step in steps[tag] if step < event.step]
                for value in event.summary.value:
                    steps[value.tag].append(event.step)
        except tf.errors.DataLossError:
            pass  # the last record of a killed process, at which TensorBoard stops as well
    return steps


def names_in(folder):
    """The files of a run, but for TensorBoard's, whose names say when they were begun.

    Which checkpoints are the last depends on the clock; how many there are does not.
    """
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(re.sub(r"ckpt-\d+", "ckpt-N", path) for path in paths if "events" not in path)


def lines_of(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def stable(line):
    """A line of metrics.jsonl without what depends on the clock."""
    return line.partition(', "images_per_second"')[0]


HYBRID = ["--model_name=cifarnet", "--distribution_strategy=hybrid", "--num_replicas=2"]
IN_TURNS = ["--hybrid_scheme=b", "--fc_updates_per_step=2"]


@pytest.mark.parametrize(
    ("num_workers", "num_steps", "network"),
    [
        (1, 1600, ["--model_name=cifarnet_18pct"]),
        (2, 240, ["--model_name=cifarnet_18pct"]),
        (1, 1600, [*HYBRID, *IN_TURNS]),
    ],
    ids=["one_process", "two_hosts", "hybrid"],
)
def test_killed_twenty_times_a_run_ends_as_one_that_never_was(
    photos, tmp_path, num_workers, num_steps, network, capsys
):
    flags = [
        *("--dataset_name=folder", f"--dataset_dir={photos}", *network),
        *(f"--batch_size={BATCH_SIZE}", f"--max_number_of_steps={num_steps}"),
        *("--log_every_n_steps=1", "--save_interval_secs=0.3", "--moving_average_decay=0.9"),
    ]
    whole = Run(tmp_path / "whole", flags, num_workers)
    whole.start()
    whole.wait(1200)
    assert [process.returncode for process in whole.processes] == [0] * num_workers

    killed = Run(tmp_path / "killed", flags, num_workers)
    seed = int(os.environ.get("SLIMZOO_SOAK_SEED", "0"))
    generator = random.Random(seed)
    moments, waits = collections.Counter(), []
    while sum(moments.values()) < NUM_KILLS:
        killed.start()
        killed.wait_for_progress()
        wanted = generator.choice(["any", "any", "saving", "validation"])
        patience = time.monotonic() + generator.uniform(0, 1.5)
        until = time.monotonic() + 10
        while killed.is_running() and time.monotonic() < until:
            if (wanted == "any" and time.monotonic() > patience) or killed.doing() == wanted:
                break
            time.sleep(0.0005)
        assert killed.is_running(), killed.folder.with_suffix(".log").read_text()[-3000:]
        moments[killed.doing()] += 1
        killed.kill(generator.randrange(num_workers))
        waits.append(killed.wait(SECONDS_TO_END))
    killed.start()
    waits_at_end = killed.wait(1200)
    assert [process.returncode for process in killed.processes] == [0] * num_workers

    values = [saved_values(latest_checkpoint(str(run.folder))) for run in (whole, killed)]
    if num_workers == 1:
        assert_equal_values(*values)
    else:
        assert values[0].keys() == values[1].keys()
        for name, value in values[0].items():
            np.testing.assert_allclose(values[1][name], value, atol=1e-6, err_msg=name)
    assert names_in(killed.folder) == names_in(whole.folder)
    lines = [list(map(stable, lines_of(run.folder))) for run in (whole, killed)]
    if num_workers == 1:
        assert lines[0] == lines[1]
    assert len(lines[0]) == len(lines[1])
    for kind in ("", "validation"):
        shown = [events_as_tensorboard_shows_them(run.folder / kind) for run in (whole, killed)]
        assert shown[0] == shown[1]
    with capsys.disabled():
        print(
            f"\n| {num_workers} | {NUM_KILLS} | "
            + ", ".join(f"{moment} {count}" for moment, count in sorted(moments.items()))
            + f" | {max(waits):.1f} s | seed {seed}; the rest of the run {waits_at_end:.0f} s |"
        )
