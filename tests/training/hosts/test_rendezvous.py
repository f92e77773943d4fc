"""Processes are threads here; the ports are real ones of the loopback interface."""

import concurrent.futures
import json
import socket
import time

import pytest
from free_ports import free_ports

from training.hosts import rendezvous
from training.hosts.cluster import Cluster, Task
from training.hosts.rendezvous import check_port_is_free, meet, why_no_answer


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """What takes seconds takes tenths of them."""
    monkeypatch.setattr(rendezvous, "_QUIET_SECS", 0.15)
    monkeypatch.setattr(rendezvous, "_STATUS_SECS", 0.05)
    monkeypatch.setattr(rendezvous, "_SILENCE_SECS", 0.3)


@pytest.fixture
def clusters():
    """The cluster of three processes on this host, as each of them sees it."""
    addresses = [f"localhost:{port}" for port in free_ports(3)]
    tasks = tuple(Task("worker", number, address) for number, address in enumerate(addresses))
    return [Cluster(tasks, number) for number in range(3)]


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield pool


def started(pool, cluster, timeout_secs=5.0):
    """A process that waits for the others, and the lines that it says."""
    said = []
    return pool.submit(meet, cluster, timeout_secs, said.append), said


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_when_the_last_one_has_come(pool, clusters, order):
    waiting = []
    for number in order[:2]:
        waiting.append(started(pool, clusters[number]))
        time.sleep(0.3)
    assert not any(future.done() for future, _ in waiting)
    last, said = started(pool, clusters[order[2]])
    for future in (last, *(future for future, _ in waiting)):
        assert future.result(timeout=5) is None
    assert not said  # nobody is waited for
    missing = clusters[0].name(clusters[0].tasks[order[2]])
    for _, lines in waiting:
        assert any(line.startswith("Waiting for ") and missing in line for line in lines)


def test_one_alone_waits_for_nobody(clusters):
    said = []
    began = time.monotonic()
    meet(Cluster(clusters[0].tasks[:1], 0), 5.0, said.append)
    assert time.monotonic() - began < 5.0
    assert not said


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (0, ["worker 1 of 3 at localhost:", "worker 2 of 3 at localhost:"]),
        (1, ["worker 0 of 3 at localhost:", "(connection refused)"]),
    ],
)
def test_who_does_not_come_is_named_in_the_end(clusters, number, names):
    started = time.monotonic()
    with pytest.raises(
        TimeoutError, match=r"Waited [01] seconds for .* --cluster_timeout_secs"
    ) as end:
        meet(clusters[number], 0.4, print)
    assert time.monotonic() - started < 3
    for name in names:
        assert name in str(end.value)


def test_one_that_waits_hears_from_the_first_who_else_is_missing(pool, clusters):
    first, _ = started(pool, clusters[0])
    with pytest.raises(TimeoutError, match=r"for worker 2 of 3 at localhost:[0-9]+[.]"):
        meet(clusters[1], 0.6, print)
    # And the first one hears that it has gone.
    two, one = started(pool, clusters[2])[0], started(pool, clusters[1])[0]
    for future in (first, one, two):
        future.result(timeout=5)


def test_the_same_line_is_not_said_again_at_once(clusters):
    said = []
    with pytest.raises(TimeoutError):
        meet(clusters[0], 1.0, said.append)
    assert len(said) == 1


def test_a_name_that_no_host_has_is_waited_for(clusters):
    """A host may get its name when it starts, as in Kubernetes."""
    tasks = (Task("worker", 0, "no-such-host.invalid:1"), clusters[0].tasks[1])
    said = []
    with pytest.raises(TimeoutError, match=r"invalid:1 .no host of this name is known here."):
        meet(Cluster(tasks, 1), 0.4, said.append)
    assert said == [
        "Waiting for worker 0 of 2 at no-such-host.invalid:1 (no host of this name is known here)."
    ]


def test_another_list_of_hosts_is_refused(pool, clusters):
    first, _ = started(pool, clusters[0], timeout_secs=1.0)
    shorter = Cluster(clusters[1].tasks[:2], 1)
    with pytest.raises(ValueError, match=r"worker 1 of 2 .*, and was refused: it has the hosts"):
        meet(shorter, 5.0, print)
    with pytest.raises(TimeoutError):
        first.result(timeout=5)


@pytest.mark.parametrize("is_there", [False, True])
def test_who_has_gone_can_come_again_at_once(clusters, is_there):
    with socket.create_server(("localhost", 0)) as server:
        pairs = [
            (socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(2)
        ]
    (before, ours_before), (again, ours_again) = pairs
    with before, ours_before, again, ours_again:
        if not is_there:
            before.close()
        hello = {"task": 1, "cluster": clusters[1].as_dict()}
        again.sendall(json.dumps(hello).encode() + b"\n")
        present = {1: ours_before}
        rendezvous._admit(ours_again, clusters[0], present)
        assert present == {1: ours_before if is_there else ours_again}


def test_the_same_index_twice_is_refused(pool, clusters, monkeypatch):
    first, _ = started(pool, clusters[0])
    one, _ = started(pool, clusters[1])
    time.sleep(0.3)
    # The second one would be on another host, where the port is free.
    with pytest.raises(ValueError, match="another process with this index is there already"):
        meet(clusters[1], 5.0, print)
    started(pool, clusters[2])
    for future in (first, one):
        future.result(timeout=5)


def test_what_says_something_else_or_nothing_is_not_taken_for_a_process(pool, clusters):
    first, _ = started(pool, clusters[0])
    time.sleep(0.2)
    address = ("localhost", int(clusters[0].tasks[0].address.rpartition(":")[2]))
    for text in (b"", b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"task": 9}\n', b"\xff\n"):
        with socket.create_connection(address) as stranger:
            stranger.sendall(text)
    time.sleep(0.2)
    assert not first.done()  # none of them counts as one who has come
    others = [started(pool, cluster)[0] for cluster in clusters[1:]]
    assert [future.result(timeout=5) for future in (first, *others)] == [None] * 3


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x06\x04\x00\n", b"[1]\n", b"hello\n"])
def test_another_program_at_the_port_of_the_first_one_is_waited_out(clusters, answer):
    """A worker that ended just now may still answer there, as TensorFlow does."""
    with socket.create_server(("localhost", free_ports(1)[0])) as server:
        address = f"localhost:{server.getsockname()[1]}"
        tasks = (Task("worker", 0, address), *clusters[0].tasks[1:])
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(meet, Cluster(tasks, 1), 0.5, print)
            with server.accept()[0] as connection:
                connection.sendall(answer)
            with pytest.raises(TimeoutError, match="for worker 0 of 3 at localhost:"):
                waiting.result(timeout=5)


@pytest.mark.parametrize("host", ["", "localhost"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_port_that_another_process_has_is_said_to_be(clusters, number, host):
    port = int(clusters[0].tasks[number].address.rpartition(":")[2])
    with (
        socket.create_server((host, port)),
        pytest.raises(ValueError, match=f"Port {port}, which TF_CONFIG gives .* another process"),
    ):
        meet(clusters[number], 5.0, print)
    check_port_is_free(clusters[number])


def test_why_nothing_answers():
    port = free_ports(1)[0]
    assert why_no_answer(f"localhost:{port}") == "connection refused"
    with socket.create_server(("localhost", port)):
        assert why_no_answer(f"localhost:{port}") is None


def test_a_message_is_a_line_of_json(clusters, pool):
    port = int(clusters[0].tasks[0].address.rpartition(":")[2])
    with socket.create_server(("localhost", port)) as server:
        waiting = pool.submit(meet, clusters[1], 5.0, print)
        connection = server.accept()[0]
        with connection, connection.makefile("rb") as file:
            hello = json.loads(file.readline())
            assert hello == {"task": 1, "cluster": clusters[0].as_dict()}
            connection.sendall(b'{"missing": [2]}\n{"missing": []}\n')
        waiting.result(timeout=5)
