"""Hosts that work together: waiting until all are there, and saying who is not there any more.

    strategy = join(find_cluster(ClusterSettings()), timeout_secs=600)
    with working_together(strategy, last_checkpoint):
        ...

TensorFlow tells the other processes within about ten seconds that one is lost, and the operation
at hand fails in them. It cannot replace one: all are started again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import faulthandler
import functools
import re
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from training.hosts.cluster import JOBS, Cluster, Task
from training.hosts.rendezvous import meet, why_no_answer

_CONNECTING_SECS = 120.0  # takes a second or two; more with many GPUs
# What TensorFlow raises when it cannot reach another process, or no longer the same one.
_LOSSES = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_LOSS = re.compile(
    "Collective ops is aborted|CoordinationService|tensorflow.WorkerService|incarnation"
)
_TASK = re.compile(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)")


def join(cluster: Cluster, timeout_secs: float) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Waits until all processes of a cluster are there, and returns the strategy that they share.

    Args:
      cluster: who they are.
      timeout_secs: how long to wait; for whom, is printed.

    Raises:
      ValueError: if the port of this process is in use, or it does not fit to the others.
      TimeoutError: if some do not come; names them.
      ConnectionError: if one came and went away.
    """
    if len(cluster.tasks) == 1:
        print(f"{cluster.source} has one host: this process works alone.", flush=True)
    meet(cluster, timeout_secs, functools.partial(print, flush=True))
    own = cluster.tasks[cluster.own]
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.as_dict()),
        task_type=own.job,
        task_id=own.index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # If one of them dies this very moment, TensorFlow waits for it, for an hour or for ever, and
    # lets no Python code run. What it prints then is no message, but the process ends.
    faulthandler.dump_traceback_later(_CONNECTING_SECS, exit=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except _LOSSES as error:
        raise ConnectionError(loss_message(cluster, str(error), None)) from error
    finally:
        faulthandler.cancel_dump_traceback_later()
        if on_sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # TensorFlow has taken it for itself


def cluster_of(strategy: tf.distribute.Strategy) -> Cluster | None:
    """The processes that share `strategy`; None if it is of one process."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict()
    tasks = tuple(
        Task(job, index, address) for job in JOBS for index, address in enumerate(jobs.get(job, ()))
    )
    keys = [(task.job, task.index) for task in tasks]
    return Cluster(tasks, keys.index((resolver.task_type, resolver.task_id)))


@contextlib.contextmanager
def working_together(
    strategy: tf.distribute.Strategy, last_checkpoint: Callable[[], str | None] = lambda: None
) -> Iterator[None]:
    """Holds what processes do together: none is done before all are, and a loss is explained.

    Without the first, one that had nothing to write would end well where the one that writes
    fails, and nobody would start it again.

    Args:
      strategy: that they share; of one process, nothing is done.
      last_checkpoint: gives what a run that is started again goes on from.

    Raises:
      ConnectionError: if another process went away; says which, and what to do.
    """
    cluster = cluster_of(strategy)
    try:
        yield
        if cluster is not None:
            wait_for_all(strategy)
    except _LOSSES as error:
        if cluster is None or not _LOSS.search(str(error)):
            raise
        raise ConnectionError(loss_message(cluster, str(error), last_checkpoint())) from error


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when all processes have called this, and each may end without loss to the others.

    Args:
      strategy: that they share; of one process, it returns at once.

    Raises:
      tf.errors.OpError: if one went away before it had called this.
    """
    _add_up(strategy)
    # The first process to have that sum could end while another still waits for its part of it. So
    # there is a second one, which nobody begins before having the first. Whom it fails for, knows
    # that all have called this.
    with contextlib.suppress(*_LOSSES):
        _add_up(strategy)


def _add_up(strategy: tf.distribute.Strategy) -> None:
    strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)


def check_same(strategy: tf.distribute.Strategy, **values: int) -> None:
    """Raises ValueError if a value is not the same in all processes; all must call this."""
    cluster = cluster_of(strategy)
    if cluster is None:
        return
    for name, found in _different(strategy, cluster, values).items():
        each = ", ".join(f"{value} for {cluster.name(task)}" for task, value in found.items())
        raise ValueError(
            f"The processes do not agree on the {name.replace('_', ' ')}: {each}. Start the "
            "same command on every host, on the same images, and with a train_dir that all "
            "hosts see (a shared file system)."
        )


def check_same_flags(strategy: tf.distribute.Strategy, values: Mapping[str, Any]) -> None:
    """Raises ValueError if the processes were started with other flags; all must call this.

    Args:
      strategy: that they share; of one process, nothing is done.
      values: of the flags, by their names.
    """
    cluster = cluster_of(strategy)
    if cluster is None:
        return
    sums = {name: zlib.crc32(repr(value).encode()) for name, value in values.items()}
    if different := _different(strategy, cluster, sums):
        given = ", ".join(f"--{name} (here {values[name]})" for name in different)
        raise ValueError(
            f"The processes do not agree on {given}. Start the same command on every host, with "
            "another --task_index alone."
        )


def _different(
    strategy: tf.distribute.Strategy, cluster: Cluster, values: Mapping[str, int]
) -> dict[str, dict[Task, int]]:
    """What each process has of those values that are not the same in all.

    If there are any, it returns when all processes know them, so that each may end.
    """
    own = tf.constant([list(values.values())], tf.int64)
    rows = strategy.gather(strategy.run(lambda: own), axis=0).numpy()
    per_task = len(rows) // len(cluster.tasks)
    found = {
        name: {task: int(rows[n * per_task, column]) for n, task in enumerate(cluster.tasks)}
        for column, name in enumerate(values)
    }
    different = {
        name: of_tasks for name, of_tasks in found.items() if len({*of_tasks.values()}) > 1
    }
    if different:
        with contextlib.suppress(*_LOSSES):
            wait_for_all(strategy)  # all are to say so, before the first one ends
    return different


def loss_message(
    cluster: Cluster,
    error: str,
    checkpoint: str | None,
    why_missing: Callable[[str], str | None] | None = None,
) -> str:
    """What to tell when `error`, of TensorFlow, says that another process went away."""
    others = {(task.job, task.index): task for task in cluster.others()}
    named = {(job, int(index)) for job, index in _TASK.findall(error)}
    lost = {
        others[key]: "gives no sign of life" for key in sorted(named) if key in others
    } | _reasons(cluster, why_missing or why_no_answer)
    if not lost and "CoordinationService" in error and cluster.own:
        lost = {cluster.tasks[0]: "gives no sign of life"}  # the service runs there
    who = ", ".join(f"{cluster.name(task)} ({why})" for task, why in lost.items())
    if not who:
        who = f"Another process ({error.splitlines()[0]})"
    message = (
        f"{who[0].upper()}{who[1:]} went away, and all are needed; what was printed there "
        "last may say why. Start the same command again on every host"
    )
    return f"{message}: it continues from {checkpoint}." if checkpoint else f"{message}."


def _reasons(cluster: Cluster, why_missing: Callable[[str], str | None]) -> dict[Task, str]:
    """Why each of the others that does not answer does not."""
    others = cluster.others()
    with concurrent.futures.ThreadPoolExecutor(max(len(others), 1)) as pool:
        answers = pool.map(why_missing, [task.address for task in others])
        return {task: why for task, why in zip(others, answers, strict=True) if why}
