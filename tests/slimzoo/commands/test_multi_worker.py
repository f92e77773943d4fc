"""Two processes of this machine stand for two hosts."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from free_ports import free_ports
from tiny_network import metrics, saved_weights

from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train
from slimzoo.flags import flag_lines

ROOT = pathlib.Path(__file__).parents[3]

WORKER = """
import importlib.util, json, os, pathlib, sys
from slimzoo import environment
environment.set_up()
options, tiny_path, pid_path, command = sys.argv[1:]
pathlib.Path(pid_path).write_text(str(os.getpid()))
spec = importlib.util.spec_from_file_location("tiny_network", tiny_path)
tiny_network = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_network)
tiny_network.register_tiny()
from absl import flags
from slimzoo import program
from slimzoo.commands import eval_image_classifier, train_image_classifier
from slimzoo.configuration import TrainingConfig
sys.argv = [command, *json.loads(options)]
if command == "train":
    program.run(TrainingConfig, train_image_classifier.train)
else:
    program.run(eval_image_classifier.EvaluationConfig, eval_image_classifier.evaluate)
"""


def flag_list(config):
    """The flags that `config` is made from, but for those that say what is distributed how."""
    own = ("--worker_hosts", "--task_index", "--distribution_strategy")
    return [line for line in flag_lines(config).splitlines() if not line.startswith(own)]


class Hosts:
    """Two processes that run a command together.

    Args:
      folder: where they keep their output.
      options: the flags of the command; `{index}` in them is which of the two it is.
      command: `train` or `evaluate`.
      prefix: a command that runs theirs.
      by_variable: whether TF_CONFIG tells them who they are, instead of flags.
    """

    def __init__(self, folder, options, command="train", prefix=(), by_variable=False):
        self.addresses = [f"localhost:{port}" for port in free_ports(2)]
        self._folder = folder
        self._arguments = (options, command, prefix, by_variable)
        self.processes = [self._start(0), self._start(1)]

    def _start(self, index):
        options, command, prefix, by_variable = self._arguments
        env = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        env |= {"PYTHONPATH": str(ROOT)}
        if by_variable:
            task = {"type": "worker", "index": index}
            cluster = {"cluster": {"worker": self.addresses}, "task": task}
            env |= {"TF_CONFIG": json.dumps(cluster)}
        else:
            hosts = ",".join(self.addresses)
            options = [*options, f"--worker_hosts={hosts}", f"--task_index={index}"]
        options = [option.replace("{index}", str(index)) for option in options]
        options.append("--distribution_strategy=multi_worker_mirrored")
        tiny = str(ROOT / "tests" / "tiny_network.py")
        pid = str(self._folder / f"{index}.pid")
        with open(self._folder / f"{index}.txt", "w") as output:
            return subprocess.Popen(
                [*prefix, sys.executable, "-c", WORKER, json.dumps(options), tiny, pid, command],
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill(self, index, number=signal.SIGKILL):
        os.kill(int((self._folder / f"{index}.pid").read_text()), number)

    def output(self, index):
        return (self._folder / f"{index}.txt").read_text()

    def statuses(self, timeout_secs):
        """The exit statuses of both; fails if one is still there after so many seconds."""
        end = time.monotonic() + timeout_secs
        try:
            return [process.wait(max(end - time.monotonic(), 0.1)) for process in self.processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there: {self.output(0)}\n{self.output(1)}")

    def wait_until(self, condition, timeout_secs=150):
        end = time.monotonic() + timeout_secs
        while not condition():
            is_over = any(process.poll() is not None for process in self.processes)
            if is_over or time.monotonic() > end:
                pytest.fail(f"{self.output(0)}\n{self.output(1)}")
            time.sleep(0.05)


def losses(folder):
    """The loss of each step; of one that was taken twice, the second."""
    return {line["step"]: line["loss"] for line in metrics(folder)}


def steps_taken(folder):
    with contextlib.suppress(FileNotFoundError, ValueError):
        return len(metrics(folder))
    return 0


def assert_same_training(one, other):
    assert losses(other).keys() == losses(one).keys()
    np.testing.assert_allclose(
        list(losses(other).values()), list(losses(one).values()), rtol=1e-5, atol=0
    )
    weights, others = saved_weights(one), saved_weights(other)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, atol=1e-6, err_msg=name)


@pytest.fixture
def steady(replaced):
    """A run without what is random in another way on every replica."""

    def make(**options):
        return replaced(augment=False, network_options=["dropout_keep_prob=1"], **options)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("by_variable", [False, True])
def test_two_replicas_and_two_hosts_train_as_one_device_does(steady, tmp_path, by_variable):
    runs = [str(tmp_path / name) for name in ("alone", "replicas", "hosts")]
    options = {"max_number_of_steps": 4, "validation_split_name": None}
    train(steady(**options, train_dir=runs[0]))
    train(steady(**options, train_dir=runs[1], num_replicas=2))
    assert_same_training(runs[0], runs[1])
    flags = flag_list(steady(**options, train_dir=runs[2]))
    with Hosts(tmp_path, flags, by_variable=by_variable) as hosts:
        assert hosts.statuses(200) == [0, 0], hosts.output(0) + hosts.output(1)
    assert_same_training(runs[0], runs[2])
    for kind in ("train", "validation"):  # one of the two hosts wrote, not both
        steps = [line["step"] for line in metrics(runs[2], kind)]
        assert steps == sorted(set(steps))
    assert "E0000" not in hosts.output(0) + hosts.output(1)


@pytest.fixture
def keep_going(tmp_path):
    """The shell loop of docs/several_hosts.md, with a shorter pause."""
    text = (ROOT / "docs" / "several_hosts.md").read_text()
    loop = re.search(r"```bash\n(# keep_going.sh.*?)```", text, re.DOTALL)[1]
    assert "sleep 5" in loop
    path = tmp_path / "keep_going.sh"
    path.write_text(loop.replace("sleep 5", "sleep 0.5"))
    return ["bash", str(path)]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_comes_back_and_the_training_ends_as_if_nothing_had_been(
    steady, tmp_path, keep_going, killed
):
    options = {"max_number_of_steps": 40, "save_interval_secs": 0.0}
    alone, together = steady(**options, train_dir=str(tmp_path / "alone")), str(tmp_path / "two")
    train(alone)
    flags = flag_list(steady(**options, train_dir=together))
    with Hosts(tmp_path, flags, prefix=keep_going) as hosts:
        hosts.wait_until(lambda: steps_taken(together) >= 6)
        hosts.kill(killed)
        assert hosts.statuses(200) == [0, 0], hosts.output(0) + hosts.output(1)
    output = hosts.output(1 - killed)
    lost = rf"ERROR: Worker {killed} of 2 at {hosts.addresses[killed]} \(.*\) went away"
    assert re.search(rf"{lost}.*: it continues from {together}/model.ckpt-\d+\.\n", output), output
    assert "Resuming from" in hosts.output(0)
    assert_same_training(alone.train_dir, together)


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_when_one_host_is_told_to_stop_both_do_at_the_same_step_and_the_first_saves(
    steady, tmp_path, told
):
    run = str(tmp_path / "run")
    flags = flag_list(steady(max_number_of_steps=1000, train_dir=run, log_every_n_steps=1))
    with Hosts(tmp_path, flags) as hosts:
        hosts.wait_until(lambda: steps_taken(run) >= 3)
        hosts.kill(told, signal.SIGTERM)
        statuses = hosts.statuses(60)
    # Who hears of it from the other one has not been signalled itself.
    assert statuses == ([143, 130] if told == 0 else [130, 143])
    step = steps_taken(run)
    assert [path.name for path in pathlib.Path(run).glob("*.index")] == [f"model.ckpt-{step}.index"]
    for index, who in enumerate(("", " by the first host")):
        message = hosts.output(index).splitlines()[-1]
        assert message == (
            f"Interrupted and saved{who} at step {step:,}. The same commands on all hosts continue."
        )


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_host_that_hangs_is_noticed(steady, tmp_path, stopped):
    run = str(tmp_path / "run")
    flags = flag_list(steady(max_number_of_steps=1000, train_dir=run))
    with Hosts(tmp_path, flags) as hosts:
        hosts.wait_until(lambda: steps_taken(run) >= 3)
        hosts.kill(stopped, signal.SIGSTOP)
        assert hosts.processes[1 - stopped].wait(60) == 1
        message = hosts.output(1 - stopped).splitlines()[-1]
        name = f"ERROR: Worker {stopped} of 2 at {hosts.addresses[stopped]}"
        assert message.startswith(f"{name} (gives no sign of life) went away"), message
        hosts.kill(stopped, signal.SIGCONT)
        assert hosts.processes[stopped].wait(60) == 1
        assert hosts.output(stopped).splitlines()[-1].startswith("ERROR: Worker")


@pytest.mark.slow
def test_hosts_that_do_not_share_train_dir_are_refused(steady, tmp_path):
    train(steady(max_number_of_steps=2, train_dir=str(tmp_path / "run0")))
    flags = flag_list(steady(max_number_of_steps=4, train_dir=str(tmp_path / "run{index}")))
    with Hosts(tmp_path, flags) as hosts:
        assert hosts.statuses(200) == [1, 1]
    for index in range(2):
        message = hosts.output(index).splitlines()[-1]
        assert message.startswith("ERROR: The processes do not agree on the step that training")
        assert "starts from: 2 for worker 0 of 2" in message
        assert "0 for worker 1 of 2" in message


@pytest.mark.slow
def test_hosts_that_are_given_other_flags_are_refused(steady, tmp_path):
    """With another optimizer or network TensorFlow would tell of shapes, with a rate of nothing."""
    flags = flag_list(steady(max_number_of_steps=4, train_dir=str(tmp_path / "run")))
    with Hosts(tmp_path, [*flags, "--learning_rate=0.0{index}1"]) as hosts:
        assert hosts.statuses(200) == [1, 1]
    for index in range(2):
        message = hosts.output(index).splitlines()[-1]
        given = f"--learning_rate (here 0.0{index}1)"
        assert message.startswith(f"ERROR: The processes do not agree on {given}. Start the same")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_hosts_that_evaluate_otherwise_are_refused(run, tmp_path):
    folder = tmp_path / "evaluation"
    flags = [f"--checkpoint_path={run.train_dir}", f"--eval_dir={folder}"]
    with Hosts(tmp_path, [*flags, "--max_num_batches=1{index}"], command="evaluate") as hosts:
        assert hosts.statuses(200) == [1, 1]
    for index in range(2):
        message = hosts.output(index).splitlines()[-1]
        given = f"--max_num_batches (here 1{index})"
        assert message.startswith(f"ERROR: The processes do not agree on {given}. Start the same")
    assert not folder.exists()


@pytest.mark.slow
def test_two_hosts_evaluate_as_one_does(run, tmp_path):
    """And neither ends well before both have."""
    flags = [f"--checkpoint_path={run.train_dir}", "--batch_size=6"]
    alone = evaluate(EvaluationConfig(checkpoint_path=run.train_dir, batch_size=6))
    flags += [f"--eval_dir={tmp_path / 'evaluation'}"]
    with Hosts(tmp_path, flags, command="evaluate") as hosts:
        assert hosts.statuses(200) == [0, 0], hosts.output(0) + hosts.output(1)
    written = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert written["top_1"] == alone.top_1
    assert written["loss"] == pytest.approx(alone.loss, rel=1e-5)


def test_a_host_that_does_not_come_is_named(replaced, trained):
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    options = {
        "distribution_strategy": "multi_worker_mirrored",
        "worker_hosts": addresses,
        "task_index": 0,
        "cluster_timeout_secs": 0.2,
    }
    message = f"Waited [01] seconds for worker 1 of 2 at {addresses[1]}[.] Start the same command"
    with pytest.raises(TimeoutError, match=message):
        train(replaced(**options))
    with pytest.raises(TimeoutError, match=message):
        evaluate(EvaluationConfig(checkpoint_path=str(trained), **options))


def test_hosts_for_one_host_are_refused(replaced):
    hosts = {"worker_hosts": ["a:1", "b:1"], "task_index": 0}
    message = "--worker_hosts needs --distribution_strategy=multi_worker_mirrored"
    with pytest.raises(ValueError, match=message):
        train(replaced(**hosts))
