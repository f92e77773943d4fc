"""Waiting until the processes of all hosts are there, before TensorFlow connects them.

TensorFlow waits without a word and without an end, and while it does, Python code does not run. So
the processes meet here first: all of them report to the first one, at the port that TensorFlow
will use there, and that one lets all of them go on at the same moment. It tells those that wait
who is missing. A message is one line of JSON.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from training.hosts.cluster import Cluster, Task, host_and_port

_QUIET_SECS = 3.0  # hosts that are started together need no word
_REMIND_SECS = 60.0
_STATUS_SECS = 0.5  # between two messages to those that wait
_ANSWER_SECS = 2.0  # within which a host answers, or is said not to
_SILENCE_SECS = 5.0  # after which one that waits gives up a connection
_MAX_LINE = 1 << 16


def meet(cluster: Cluster, timeout_secs: float, say: Callable[[str], Any]) -> None:
    """Returns when all processes of a cluster have called this, in all of them.

    Args:
      cluster: who they are.
      timeout_secs: how long to wait.
      say: is given a line when there is something to wait for.

    Raises:
      ValueError: if the port of this process is in use, or it does not fit to the others.
      TimeoutError: if some do not come; names them.
    """
    check_port_is_free(cluster)
    waiting = _Waiting(cluster, timeout_secs, say)
    if cluster.own:
        _report(cluster, waiting)
    else:
        _receive(cluster, waiting)


def check_port_is_free(cluster: Cluster) -> None:
    """Raises ValueError if another process has the port that this one is to have.

    TensorFlow would share it, and each of the two would get a part of the connections.
    """
    own = cluster.tasks[cluster.own]
    port = int(host_and_port(own.address)[1])
    reasons = {
        errno.EADDRINUSE: "another process uses it, perhaps a worker that is still running",
        errno.EACCES: "ports below 1024 need special rights",
    }
    for family in (socket.AF_INET, socket.AF_INET6):  # gRPC listens on all addresses of the host
        try:
            socket.create_server(("", port), family=family).close()
            continue
        except OSError as error:
            why = reasons.get(error.errno or 0)
        if why:
            raise ValueError(
                f"Port {port}, which {cluster.source} gives to this process ({cluster.name(own)}), "
                f"cannot be opened: {why}. End that process, or give another port on every host."
            )


def why_no_answer(address: str, timeout_secs: float = _ANSWER_SECS) -> str | None:
    """Why nothing answers at HOST:PORT; None if something does."""
    try:
        _connection(address, timeout_secs).close()
    except OSError as error:
        return _reason(error)
    return None


class _Waiting:
    """Says now and then for whom this process waits, and ends it when it has waited for long."""

    def __init__(self, cluster: Cluster, timeout_secs: float, say: Callable[[str], Any]):
        self._cluster = cluster
        self._timeout_secs = timeout_secs
        self._say = say
        self._started = time.monotonic()
        self._said, self._said_at = "", self._started

    def for_tasks(self, reasons: dict[Task, str]) -> None:
        """Takes who is missing, and why ("" if there is nothing to say of it)."""
        names = [
            self._cluster.name(task) + (f" ({why})" if why else "") for task, why in reasons.items()
        ]
        missing = " and ".join(names)
        waited = time.monotonic() - self._started
        if waited >= self._timeout_secs:
            raise TimeoutError(
                f"Waited {waited:.0f} seconds for {missing}. Start the same command on every host "
                f"of {self._cluster.source}, each with its own index; --cluster_timeout_secs says "
                "how long to wait."
            )
        since = time.monotonic() - self._said_at
        if since >= (_QUIET_SECS if missing != self._said else _REMIND_SECS):
            self._say(f"Waiting for {missing}.")
            self._said, self._said_at = missing, time.monotonic()


# -------------------------------------------------------------- the first process


def _receive(cluster: Cluster, waiting: _Waiting) -> None:
    """Collects the others, and lets them go on when all are there."""
    present: dict[int, socket.socket] = {}
    port = int(host_and_port(cluster.tasks[0].address)[1])
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", port), family=family, dualstack_ipv6=dual) as server:
        server.settimeout(_STATUS_SECS)
        try:
            while True:
                for number in list(present):
                    if not _is_there(present[number]):
                        present.pop(number).close()
                missing = [n for n in range(1, len(cluster.tasks)) if n not in present]
                for connection in present.values():
                    with contextlib.suppress(OSError):  # the next round finds that it is gone
                        _send(connection, {"missing": missing})
                if not missing:
                    return
                waiting.for_tasks({cluster.tasks[number]: "" for number in missing})
                with contextlib.suppress(OSError):  # nobody came, or did not say who it is
                    _admit(server.accept()[0], cluster, present)
        finally:
            for connection in present.values():
                connection.close()


def _admit(connection: socket.socket, cluster: Cluster, present: dict[int, socket.socket]) -> None:
    """Adds who has come to `present`, or tells it why it does not belong here."""
    try:
        connection.settimeout(_ANSWER_SECS)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # so that a host without power is noticed
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
        hello = next(_messages(connection))
        number = hello.get("task")
        if hello.get("cluster") != cluster.as_dict():
            theirs, ours = json.dumps(hello.get("cluster")), json.dumps(cluster.as_dict())
            _send(connection, {"refused": f"it has the hosts {theirs}, and the first one {ours}"})
        elif number in present and _is_there(present[number]):
            _send(connection, {"refused": "another process with this index is there already"})
        elif isinstance(number, int) and 0 < number < len(cluster.tasks):
            if number in present:  # that one went away since it was last looked at
                present.pop(number).close()
            present[number] = connection
    finally:
        if connection not in present.values():
            connection.close()


def _is_there(connection: socket.socket) -> bool:
    """Whether the other side, which has nothing more to say, is still connected."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(_ANSWER_SECS)


# ------------------------------------------------------------- the other processes


def _report(cluster: Cluster, waiting: _Waiting) -> None:
    """Reports to the first process until it says that all are there."""
    first = cluster.tasks[0]
    while True:
        try:
            for missing in _told_by_the_first(cluster):
                if not missing:
                    return
                waiting.for_tasks({cluster.tasks[number]: "" for number in missing})
        except _NoAnswerError as error:
            waiting.for_tasks({first: str(error)})
        time.sleep(_STATUS_SECS)


class _NoAnswerError(Exception):
    """The first process does not answer, or not any more; says why."""


def _told_by_the_first(cluster: Cluster) -> Iterator[list[int]]:
    """Yields who is missing, again and again; raises ValueError if this process is refused."""
    try:
        with _connection(cluster.tasks[0].address, _ANSWER_SECS) as connection:
            connection.settimeout(_SILENCE_SECS)
            _send(connection, {"task": cluster.own, "cluster": cluster.as_dict()})
            for message in _messages(connection):
                if refusal := message.get("refused"):
                    own = cluster.name(cluster.tasks[cluster.own])
                    raise ValueError(
                        f"This process is {own} as {cluster.source} says, and was refused: "
                        f"{refusal}. Give all hosts the same list, and each its own index."
                    )
                yield message["missing"]
    except OSError as error:
        raise _NoAnswerError(_reason(error)) from error


# -------------------------------------------------------------------------- messages


def _connection(address: str, timeout_secs: float) -> socket.socket:
    return socket.create_connection(host_and_port(address), timeout_secs)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no host of this name is known here"
    if isinstance(error, TimeoutError):
        return "no answer"
    return (error.strerror or str(error)).lower()


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """Yields what the other side sends; raises OSError when it ends, or is no process of ours."""
    with connection.makefile("rb") as file:
        while line := file.readline(_MAX_LINE):
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                break
            yield message
        else:
            raise ConnectionError("it ended the connection")
    raise ConnectionError("another program answers, perhaps a worker that is about to end")
