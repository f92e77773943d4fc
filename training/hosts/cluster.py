"""Which hosts work together, as TF_CONFIG or flags say it, checked before anything is built.

A host runs one process, which TensorFlow calls a task; its place in the list is its index.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

JOBS = ("chief", "worker")
MAX_TIMEOUT_SECS = 3600.0  # TensorFlow itself gives up then
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_FLAGS_EXAMPLE = "--worker_hosts=host0:2222,host1:2222 --task_index=0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Which hosts work together, where the environment variable TF_CONFIG does not say it.

    Attributes:
      worker_hosts: HOST:PORT of each worker, in the same order on every host; the first one
        writes checkpoints.
      task_index: which of them this process is, from 0.
      cluster_timeout_secs: how long to wait for the others when a process starts.
    """

    worker_hosts: list[str] = dataclasses.field(default_factory=list)
    task_index: int | None = None
    cluster_timeout_secs: float = 600.0

    def __post_init__(self) -> None:
        """Checks what does not depend on TF_CONFIG."""
        if not 0 < self.cluster_timeout_secs <= MAX_TIMEOUT_SECS:
            raise ValueError(
                f"--cluster_timeout_secs is {self.cluster_timeout_secs}; it must be a number of "
                f"seconds greater than 0 and at most {MAX_TIMEOUT_SECS:.0f}."
            )
        if bool(self.worker_hosts) != (self.task_index is not None):
            given = "--worker_hosts" if self.worker_hosts else "--task_index"
            raise ValueError(
                f"{given} is given alone; --worker_hosts says which hosts work together, and "
                f"--task_index which of them this one is, for example {_FLAGS_EXAMPLE}."
            )


@dataclasses.dataclass(frozen=True)
class Task:
    """A process of the cluster: its job (`chief` or `worker`), its index, and HOST:PORT."""

    job: str
    index: int
    address: str


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Processes that work together.

    Attributes:
      tasks: all of them; the first one writes checkpoints.
      own: the index of this process in `tasks`.
      source: where this was given, for messages.
    """

    tasks: tuple[Task, ...]
    own: int
    source: str = dataclasses.field(default="TF_CONFIG", compare=False)

    def name(self, task: Task) -> str:
        """What messages call a task."""
        if task.job == "chief":
            return f"the chief at {task.address}"
        workers = sum(other.job == "worker" for other in self.tasks)
        return f"worker {task.index} of {workers} at {task.address}"

    def others(self) -> list[Task]:
        """All tasks but this process's."""
        return [task for number, task in enumerate(self.tasks) if number != self.own]

    def as_dict(self) -> dict[str, list[str]]:
        """The addresses of each job, as `tf.train.ClusterSpec` takes them."""
        jobs: dict[str, list[str]] = {}
        for task in self.tasks:
            jobs.setdefault(task.job, []).append(task.address)
        return jobs


# --------------------------------------------------------------- what was configured


def find_cluster(settings: ClusterSettings) -> Cluster:
    """Reads and checks the cluster that flags or TF_CONFIG describe.

    Raises:
      ValueError: if neither does, both do and differ, or what is described is not a cluster.
    """
    text = os.environ.get("TF_CONFIG")
    by_flags = None
    if settings.worker_hosts:
        by_flags = _checked(
            {"worker": list(settings.worker_hosts)},
            "worker",
            settings.task_index,
            _Given("--worker_hosts", _FLAGS_EXAMPLE, "--task_index", "--worker_hosts"),
        )
    if not text:
        if by_flags is None:
            raise ValueError(
                "--distribution_strategy=multi_worker_mirrored needs to know the hosts: give "
                f"{_FLAGS_EXAMPLE}, or set the environment variable TF_CONFIG, for example to "
                f"'{_EXAMPLE}'. Each host has its own index."
            )
        return by_flags
    by_variable = _parse(text)
    if by_flags is not None and by_flags != by_variable:
        raise ValueError(
            f"--worker_hosts and --task_index say that this is {_self_description(by_flags)}, and "
            f"TF_CONFIG that it is {_self_description(by_variable)}. Give one of the two, or the "
            "same in both."
        )
    return by_flags or by_variable


class _Given(NamedTuple):
    """How messages speak of a configuration: its name, an example, its index and its addresses."""

    name: str
    example: str
    index_name: str
    list_name: str

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what} Example: {self.example}")


_VARIABLE = _Given(
    "TF_CONFIG", _EXAMPLE, '"index" in "task" of TF_CONFIG', '"cluster" of TF_CONFIG'
)


def _parse(text: str) -> Cluster:
    """The cluster that the text of TF_CONFIG describes."""
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _VARIABLE.error(f"TF_CONFIG is not JSON ({error}): {shown}.") from error
    if not isinstance(content, dict):
        raise _VARIABLE.error(f'TF_CONFIG is {shown}; it must be an object with "cluster".')
    for key in ("cluster", "task"):
        if not isinstance(content.get(key), dict) or not content[key]:
            has = json.dumps(content.get(key)) if key in content else "missing"
            raise _VARIABLE.error(f'TF_CONFIG must hold an object "{key}", which is {has}.')
    task = content["task"]
    for key in ("type", "index"):
        if key not in task:
            raise _VARIABLE.error(
                f'TF_CONFIG has no "{key}" in "task", which is {json.dumps(task)}.'
            )
    index = task["index"]
    if isinstance(index, str) and index.isdecimal():  # TensorFlow takes it too
        index = int(index)
    return _checked(content["cluster"], task["type"], index, _VARIABLE)


def _checked(jobs: Mapping[str, Any], job: Any, index: Any, given: _Given) -> Cluster:
    for name, addresses in jobs.items():
        if name not in JOBS:
            raise given.error(
                f"{given.name} has a job {name!r} in its cluster; all processes of a training are "
                'of the job "worker" (one may be of the job "chief").'
            )
        if not isinstance(addresses, list) or not addresses:
            raise given.error(
                f"{given.name} gives {json.dumps(addresses)} as the hosts of the job {name!r}; it "
                "must be a list of at least one HOST:PORT."
            )
    if len(jobs.get("chief", ())) > 1:
        raise given.error(f"{given.name} has {len(jobs['chief'])} chiefs; there can be one.")
    for addresses in jobs.values():
        for address in addresses:
            _check_address(address, given)
    tasks = tuple(
        Task(name, number, address)
        for name in JOBS
        for number, address in enumerate(jobs.get(name, ()))
    )
    all_addresses = [task.address for task in tasks]
    if twice := next((a for a in all_addresses if all_addresses.count(a) > 1), None):
        raise given.error(
            f"{given.list_name} has {twice} twice; every process has a host and port of its own."
        )
    if not isinstance(job, str) or job not in jobs:
        raise given.error(
            f'{given.name} gives {json.dumps(job)} as the "type" of this task; its cluster has '
            f"{' and '.join(map(json.dumps, jobs))}."
        )
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[job]):
        raise given.error(
            f"{given.index_name} is {json.dumps(index)}; it must be an integer from 0 to "
            f"{len(jobs[job]) - 1}, as {given.list_name} has {len(jobs[job])} of the job {job!r}."
        )
    own = next(n for n, task in enumerate(tasks) if (task.job, task.index) == (job, index))
    return Cluster(tasks, own, given.name)


def _check_address(address: Any, given: _Given) -> None:
    host, port = host_and_port(address) if isinstance(address, str) else ("", "")
    is_ok = bool(host) and port.isdecimal() and port.isascii() and 0 < int(port) < 65536
    if not is_ok or re.search(r"[\s/,]", address) or (":" in host and address[0] != "["):
        raise given.error(
            f"{given.list_name} has {json.dumps(address)}; it must be HOST:PORT, the port a number "
            "from 1 to 65535, and an IPv6 address in brackets."
        )


def host_and_port(address: str) -> tuple[str, str]:
    """Takes HOST:PORT apart, and an IPv6 address out of its brackets."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def _self_description(cluster: Cluster) -> str:
    addresses = ", ".join(task.address for task in cluster.tasks)
    return f"{cluster.name(cluster.tasks[cluster.own])} among {addresses}"
