import json
import pathlib
import re
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from free_ports import free_ports

from training import devices
from training.hosts import cooperation
from training.hosts.cluster import Cluster, Task
from training.hosts.cooperation import (
    check_same,
    check_same_flags,
    cluster_of,
    loss_message,
    wait_for_all,
    working_together,
)

TASKS = tuple(Task("worker", number, f"host{number}:1") for number in range(4))
RESET = (
    "Collective ops is aborted by: recvmsg:Connection reset by peer\nAdditional GRPC error "
    "information from remote target /job:worker/replica:0/task:2 while calling "
    "/tensorflow.WorkerService/RecvBuf:"
)
UNHEALTHY = (
    "Collective ops is aborted by: Error reported from /job:worker/task:1: The following tasks "
    "are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\nThe tasks have "
    "crashed."
)
NO_LEADER = (
    "Collective ops is aborted by: Deadline Exceeded\n\nRPC: "
    "/tensorflow.CoordinationService/Heartbeat\nThe error could be from a previous operation."
)


def everybody_answers(address):
    return None


def only_host3_does_not_answer(address):
    return "connection refused" if address == "host3:1" else None


@pytest.mark.parametrize(
    ("own", "error", "why_missing", "who"),
    [
        (0, RESET, everybody_answers, "Worker 2 of 4 at host2:1 (gives no sign of life)"),
        (0, UNHEALTHY, everybody_answers, "Worker 1 of 4 at host1:1 (gives no sign of life)"),
        (1, NO_LEADER, everybody_answers, "Worker 0 of 4 at host0:1 (gives no sign of life)"),
        (0, NO_LEADER, only_host3_does_not_answer, "Worker 3 of 4 at host3:1 (connection refused)"),
        (2, RESET, only_host3_does_not_answer, "Worker 3 of 4 at host3:1 (connection refused)"),
        (
            1,
            RESET,
            only_host3_does_not_answer,
            "Worker 2 of 4 at host2:1 (gives no sign of life), worker 3 of 4 at host3:1 "
            "(connection refused)",
        ),
        (
            0,
            "Collective ops is aborted by: something new",
            everybody_answers,
            "Another process (Collective ops is aborted by: something new)",
        ),
    ],
)
def test_who_was_lost_is_named(own, error, why_missing, who):
    message = loss_message(Cluster(TASKS, own), error, "run/model.ckpt-7", why_missing)
    assert message.startswith(f"{who} went away")
    assert message.endswith("on every host: it continues from run/model.ckpt-7.")
    without = loss_message(Cluster(TASKS, own), error, None, why_missing)
    assert without.endswith("Start the same command again on every host.")


@pytest.fixture
def shared(monkeypatch):
    """A strategy of one process that takes itself for one of several, whose others are gone."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    cluster = Cluster(tuple(Task("worker", n, name) for n, name in enumerate(addresses)), 0)
    monkeypatch.setattr(cooperation, "cluster_of", lambda strategy: cluster)
    return devices.make_strategy(num_replicas=2), cluster.tasks[1]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (tf.errors.UnavailableError, RESET),
        (tf.errors.UnavailableError, UNHEALTHY),
        (tf.errors.DeadlineExceededError, NO_LEADER),
        (tf.errors.AbortedError, "Collective ops is aborted by: Leader incarnation ID mismatch"),
        (tf.errors.FailedPreconditionError, "Device current incarnation doesn't match"),
        (tf.errors.CancelledError, "Collective ops is aborted by: cancelled"),
        (tf.errors.InternalError, "Collective ops is aborted by: Socket closed"),
    ],
)
def test_the_loss_of_a_process_is_explained(shared, kind, text):
    strategy, other = shared
    message = f"at {other.address} .* went away.* continues from run/model.ckpt-7"
    with (
        pytest.raises(ConnectionError, match=message),
        working_together(strategy, lambda: "run/model.ckpt-7"),
    ):
        raise kind(None, None, text)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a mistake"),
        KeyboardInterrupt(),
        tf.errors.InvalidArgumentError(None, None, "Input is empty."),
        tf.errors.InternalError(None, None, "out of something of this host"),
        tf.errors.UnavailableError(None, None, "storage.example is not there"),
    ],
)
def test_other_errors_pass(shared, error):
    with pytest.raises(type(error)) as raised, working_together(shared[0]):
        raise error
    assert raised.value is error


def test_a_process_alone_loses_nobody():
    strategy = devices.make_strategy()
    assert cluster_of(strategy) is None
    error = tf.errors.UnavailableError(None, None, RESET)
    with pytest.raises(tf.errors.UnavailableError), working_together(strategy):
        raise error
    check_same(strategy, batch_size=1)


def test_what_all_processes_must_have_alike_is_compared(shared, monkeypatch):
    strategy, other = shared  # its two replicas are taken for two processes
    numbers = iter([[5, 6], [7, 6]])

    def run(function):
        return tuple(tf.constant([next(numbers)], tf.int64) for _ in range(2))

    check_same(strategy, step=5, batch_size=6)
    monkeypatch.setattr(strategy, "run", run)
    monkeypatch.setattr(strategy, "gather", lambda rows, axis: tf.concat(rows, axis))
    waited = []
    monkeypatch.setattr(cooperation, "wait_for_all", waited.append)
    with pytest.raises(ValueError, match=f"agree on the step: 5 .*, 7 for .*{other.address}"):
        check_same(strategy, step=5, batch_size=6)
    assert waited == [strategy]  # the others have what they need to say the same


def test_flags_that_differ_are_named_with_what_was_given_here(shared, monkeypatch):
    strategy, _ = shared  # its two replicas are taken for two processes
    given = {"batch_size": 6, "learning_rate": 0.1}
    check_same_flags(strategy, given)

    def gather(rows, axis):
        own = strategy.experimental_local_results(rows)[0]
        other = own + tf.constant([[0, 1]], tf.int64)  # whose second flag is another
        return tf.concat([own, other], axis)

    monkeypatch.setattr(strategy, "gather", gather)
    with pytest.raises(
        ValueError, match=r"agree on --learning_rate \(here 0\.1\)\. Start"
    ) as error:
        check_same_flags(strategy, given)
    assert "batch_size" not in str(error.value)


def test_processes_that_do_not_agree_say_so_though_one_of_them_has_ended(shared, monkeypatch):
    strategy, _ = shared
    numbers = iter([5, 7])

    def run(function):
        return tuple(tf.constant([[next(numbers)]], tf.int64) for _ in range(2))

    def lost(strategy):
        raise tf.errors.UnavailableError(None, None, RESET)

    monkeypatch.setattr(strategy, "run", run)
    monkeypatch.setattr(strategy, "gather", lambda rows, axis: tf.concat(rows, axis))
    monkeypatch.setattr(cooperation, "wait_for_all", lost)
    with pytest.raises(ValueError, match="agree on the step"):
        check_same(strategy, step=5)


@pytest.mark.parametrize("lost_in", [1, 2], ids=["before", "after"])
def test_who_ends_before_all_have_come_is_lost_and_who_ends_afterwards_is_not(
    shared, monkeypatch, lost_in
):
    strategy, _ = shared
    sums = []
    reduce = strategy.reduce

    def lose(*arguments, **named):
        sums.append(reduce(*arguments, **named))
        if len(sums) == lost_in:
            raise tf.errors.UnavailableError(None, None, RESET)

    monkeypatch.setattr(strategy, "reduce", lose)
    if lost_in == 2:
        wait_for_all(strategy)
        assert [float(value) for value in sums] == [2.0, 2.0]
        return
    with pytest.raises(tf.errors.UnavailableError):
        wait_for_all(strategy)


def test_a_strategy_knows_its_cluster(monkeypatch):
    cluster = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}})
    )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    strategy = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    monkeypatch.setattr(
        tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver", resolver, raising=False
    )
    found = cluster_of(strategy)
    assert found.as_dict() == {"chief": ["c:1"], "worker": ["a:1", "b:1"]}
    assert found.tasks[found.own] == Task("worker", 1, "b:1")


PROCESS = """
import os, sys
from slimzoo import environment
environment.set_up()
from training.hosts import cooperation
from training.hosts.cluster import ClusterSettings, find_cluster
hosts, index, dies = sys.argv[1].split(","), int(sys.argv[2]), sys.argv[3]
cluster = find_cluster(ClusterSettings(worker_hosts=hosts, task_index=index))
cooperation._CONNECTING_SECS = 10.0
if dies == "connecting" and index == 0:
    cooperation.tf.distribute.MultiWorkerMirroredStrategy = lambda **_: os._exit(9)
strategy = cooperation.join(cluster, 60.0)
with cooperation.working_together(strategy, lambda: "run/model.ckpt-7"):
    if dies == "saving" and index == 0:
        os._exit(9)
print("ended well", flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dies", "statuses", "text"),
    [
        ("never", [0, 0], "ended well"),
        # One that has nothing more to do waits for the one that has something to write.
        ("saving", [9, 1], r"worker 0 of 2 at .* went away.* continues from run/model.ckpt-7"),
        ("connecting", [9, 1], "Timeout"),
    ],
)
def test_no_process_ends_well_before_all_do(monkeypatch, dies, statuses, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    hosts = ",".join(f"localhost:{port}" for port in free_ports(2))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, hosts, str(index), dies],
            cwd=pathlib.Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        started = time.monotonic()
        outputs = [process.communicate(timeout=100)[0] for process in processes]
        assert time.monotonic() - started < 60
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == statuses, outputs
    assert re.search(text, outputs[1], re.IGNORECASE), outputs[1]
