import json

import pytest

from training.hosts.cluster import Cluster, ClusterSettings, Task, find_cluster, host_and_port

TWO = ["host0:1", "host1:2"]
BY_FLAGS = ClusterSettings(worker_hosts=TWO, task_index=1)


def configured(cluster, job="worker", index=0, **others):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}, **others})


@pytest.fixture
def given(monkeypatch):
    """Sets TF_CONFIG to a text; to None removes it."""

    def give(text):
        if text is None:
            monkeypatch.delenv("TF_CONFIG", raising=False)
        else:
            monkeypatch.setenv("TF_CONFIG", text)

    return give


@pytest.mark.parametrize(
    ("text", "own", "addresses"),
    [
        (configured({"worker": TWO}), Task("worker", 0, "host0:1"), TWO),
        (configured({"worker": TWO}, index=1), Task("worker", 1, "host1:2"), TWO),
        (configured({"worker": TWO}, index="1"), Task("worker", 1, "host1:2"), TWO),
        (configured({"worker": ["h:1"]}), Task("worker", 0, "h:1"), ["h:1"]),
        (configured({"worker": ["[::1]:1"]}), Task("worker", 0, "[::1]:1"), ["[::1]:1"]),
        (configured({"worker": TWO}, environment="cloud"), Task("worker", 0, "host0:1"), TWO),
        # The chief is the first one, wherever it is written.
        (
            configured({"worker": TWO, "chief": ["c:3"]}),
            Task("worker", 0, "host0:1"),
            ["c:3", *TWO],
        ),
        (
            configured({"worker": TWO, "chief": ["c:3"]}, "chief"),
            Task("chief", 0, "c:3"),
            ["c:3", *TWO],
        ),
    ],
)
def test_tf_config_says_who_works_together_and_who_this_is(given, text, own, addresses):
    given(text)
    cluster = find_cluster(ClusterSettings())
    assert [task.address for task in cluster.tasks] == addresses
    assert cluster.tasks[cluster.own] == own
    assert own not in cluster.others()
    assert len(cluster.others()) == len(addresses) - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"TF_CONFIG is not JSON \(Expecting .*\): \{\. Example: \{"),
        ("'{}'", "TF_CONFIG is not JSON"),  # quotes that a shell should have taken
        ("[1]", r'TF_CONFIG is \[1\]; it must be an object with "cluster"'),
        ("3", "TF_CONFIG is 3; it must be an object"),
        ("null", "TF_CONFIG is null; it must be an object"),
        ("{}", 'TF_CONFIG must hold an object "cluster", which is missing'),
        ('{"cluster": {}}', 'TF_CONFIG must hold an object "cluster", which is {}'),
        ('{"cluster": ["h:1"]}', r'an object "cluster", which is \["h:1"\]'),
        (json.dumps({"cluster": {"worker": TWO}}), 'TF_CONFIG must hold an object "task", which'),
        (json.dumps({"cluster": {"worker": TWO}, "task": 1}), 'object "task", which is 1'),
        (
            json.dumps({"cluster": {"worker": TWO}, "task": {"index": 1}}),
            'TF_CONFIG has no "type" in "task", which is {"index": 1}',
        ),
        (
            json.dumps({"cluster": {"worker": TWO}, "task": {"type": "worker"}}),
            'TF_CONFIG has no "index" in "task"',
        ),
        (configured({"worker": TWO}, "master"), 'gives "master" as the "type" of this task'),
        (configured({"worker": TWO}, ["worker"]), r'gives \["worker"\] as the "type"'),
        (configured({"worker": TWO}, "chief"), 'its cluster has "worker"'),
        (configured({"worker": TWO}, "evaluator"), 'gives "evaluator" as the "type"'),
        (configured({"worker": TWO}, index=2), "is 2; it must be an integer from 0 to 1, as"),
        (configured({"worker": TWO}, index=-1), "is -1; it must be an integer from 0 to 1"),
        (configured({"worker": TWO}, index=0.5), "is 0.5; it must be an integer"),
        (configured({"worker": TWO}, index="x"), 'is "x"; it must be an integer'),
        (configured({"worker": TWO}, index=None), "is null; it must be an integer"),
        (configured({"worker": TWO}, index=True), "is true; it must be an integer"),
        (configured({"worker": ["h:1", "h:1"]}), '"cluster" of TF_CONFIG has h:1 twice'),
        (configured({"worker": ["h:1"], "chief": ["h:1"]}), "has h:1 twice"),
        (configured({"worker": ["h"]}), 'has "h"; it must be HOST:PORT'),
        (configured({"worker": ["h:"]}), 'has "h:"; it must be HOST:PORT'),
        (configured({"worker": [":1"]}), 'has ":1"; it must be HOST:PORT'),
        (configured({"worker": ["h:x"]}), 'has "h:x"; it must be HOST:PORT'),
        (configured({"worker": ["h:0"]}), "a number from 1 to 65535"),
        (configured({"worker": ["h:65536"]}), "a number from 1 to 65535"),
        (configured({"worker": ["::1:5"]}), "an IPv6 address in brackets"),
        (configured({"worker": ["grpc://h:1"]}), 'has "grpc://h:1"; it must be HOST:PORT'),
        (configured({"worker": ["h:1, g:1"]}), "it must be HOST:PORT"),
        (configured({"worker": [1]}), "has 1; it must be HOST:PORT"),
        (configured({"worker": []}), r"gives \[\] as the hosts of the job 'worker'"),
        (configured({"worker": "h:1"}), "it must be a list of at least one HOST:PORT"),
        (configured({"worker": {"0": "h:1"}}), "it must be a list of at least one HOST:PORT"),
        (configured({"worker": TWO, "ps": ["p:1"]}), "TF_CONFIG has a job 'ps' in its cluster"),
        (configured({"worker": TWO, "evaluator": ["e:1"]}), "has a job 'evaluator'"),
        (configured({"chief": TWO}, "chief"), "TF_CONFIG has 2 chiefs; there can be one"),
    ],
)
def test_what_is_wrong_in_tf_config_is_said_with_an_example(given, text, message):
    given(text)
    with pytest.raises(ValueError, match=message) as raised:
        find_cluster(ClusterSettings())
    assert "TF_CONFIG" in str(raised.value)
    assert str(raised.value).endswith(
        ' Example: {"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )


def test_the_example_is_accepted(given):
    given("{")
    with pytest.raises(ValueError, match="Example") as raised:
        find_cluster(ClusterSettings())
    given(str(raised.value).partition("Example: ")[2])
    assert len(find_cluster(ClusterSettings()).tasks) == 2


def test_flags_say_the_same(given):
    given(None)
    by_flags = find_cluster(BY_FLAGS)
    given(configured({"worker": TWO}, index=1))
    assert find_cluster(ClusterSettings()) == by_flags
    assert find_cluster(BY_FLAGS) == by_flags  # both, and the same


@pytest.mark.parametrize("other", [TWO[:1], [*TWO, "host2:1"], TWO[::-1], ["host0:1", "host1:3"]])
def test_flags_and_tf_config_that_differ_are_refused(given, other):
    given(configured({"worker": other}))
    message = "--worker_hosts and --task_index say that this is worker 1 of 2 at host1:2 among"
    with pytest.raises(ValueError, match=message) as raised:
        find_cluster(BY_FLAGS)
    assert f"TF_CONFIG that it is worker 0 of {len(other)} at {other[0]}" in str(raised.value)


@pytest.mark.parametrize(
    ("hosts", "index", "message"),
    [
        (TWO, 2, r"--task_index is 2; it must be an integer from 0 to 1, as --worker_hosts has 2"),
        (TWO, -1, "--task_index is -1"),
        (["a:1", "a:1"], 0, "--worker_hosts has a:1 twice"),
        (["a", "b:1"], 0, '--worker_hosts has "a"; it must be HOST:PORT'),
        (["a:1", ""], 0, '--worker_hosts has ""; it must be HOST:PORT'),
    ],
)
def test_what_is_wrong_in_flags_is_said_of_the_flag(given, hosts, index, message):
    given(None)
    with pytest.raises(ValueError, match=message) as raised:
        find_cluster(ClusterSettings(worker_hosts=hosts, task_index=index))
    assert "TF_CONFIG" not in str(raised.value)
    assert str(raised.value).endswith("--worker_hosts=host0:2222,host1:2222 --task_index=0")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"worker_hosts": TWO}, "--worker_hosts is given alone; .* --task_index=0"),
        ({"task_index": 0}, "--task_index is given alone; .* --task_index=0"),
        ({"cluster_timeout_secs": 0}, "--cluster_timeout_secs is 0; .* at most 3600"),
        ({"cluster_timeout_secs": 3601}, "--cluster_timeout_secs is 3601"),
        ({"cluster_timeout_secs": float("nan")}, "--cluster_timeout_secs is nan"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ClusterSettings(**values)


@pytest.mark.parametrize("text", [None, ""])
def test_without_any_configuration_both_ways_are_named(given, text):
    given(text)
    with pytest.raises(ValueError, match=r"give --worker_hosts=host0:2222,.* set .* TF_CONFIG"):
        find_cluster(ClusterSettings())


def test_a_task_is_called_as_its_user_knows_it():
    tasks = (Task("chief", 0, "c:1"), Task("worker", 0, "a:1"), Task("worker", 1, "b:1"))
    cluster = Cluster(tasks, 0)
    assert cluster.name(tasks[0]) == "the chief at c:1"
    assert cluster.name(tasks[2]) == "worker 1 of 2 at b:1"
    assert cluster.as_dict() == {"chief": ["c:1"], "worker": ["a:1", "b:1"]}


def test_an_ipv6_address_loses_its_brackets():
    assert host_and_port("[::1]:80") == ("::1", "80")
    assert host_and_port("localhost:80") == ("localhost", "80")
