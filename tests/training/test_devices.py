import json

import numpy as np
import pytest
import tensorflow as tf

from training import devices


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="a GPU is taken where there is one"
)
def test_one_cpu_device_is_the_default_and_more_are_logical_ones():
    assert isinstance(devices.make_strategy(), tf.distribute.OneDeviceStrategy)
    strategy = devices.make_strategy(num_replicas=2)
    assert strategy.num_replicas_in_sync == 2
    assert [name.rpartition("device:")[2] for name in strategy.extended.worker_devices] == [
        "CPU:0",
        "CPU:1",
    ]


@pytest.mark.parametrize(
    ("name", "num_replicas", "message"),
    [
        ("mirored", None, "Unknown distribution strategy 'mirored'. Did you mean 'mirrored'"),
        ("mirrored", 7, "--num_replicas is 7, but there are"),
        ("multi_worker_mirrored", 2, "--num_replicas cannot be used with multi_worker_mirrored"),
        ("multi_worker_mirrored", None, "needs to know the hosts: give --worker_hosts"),
    ],
)
def test_what_does_not_exist_or_fit_is_named(monkeypatch, name, num_replicas, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        devices.make_strategy(name, num_replicas)


def test_a_cluster_that_is_not_used_is_said_and_not_read_by_tensorflow_either(monkeypatch, capsys):
    monkeypatch.setenv("TF_CONFIG", "no JSON")
    assert devices.make_strategy("mirrored", 2).num_replicas_in_sync == 2
    assert "TF_CONFIG is not used with --distribution_strategy=mirrored" in capsys.readouterr().out


def test_replicas_share_a_batch_equally_or_not_at_all():
    strategy = devices.make_strategy(num_replicas=2)
    assert devices.per_replica_batch_size(6, strategy) == 3
    with pytest.raises(ValueError, match=r"--batch_size is 7, which 2 replicas .* 6 or 8 would do"):
        devices.per_replica_batch_size(7, strategy)
    with pytest.raises(ValueError, match="share equally; 2 would do"):
        devices.per_replica_batch_size(1, strategy)
    with pytest.raises(ValueError, match="--batch_size is 1, which 2 replicas cannot share"):
        devices.per_replica_batch_size(1, strategy)


def several_hosts(monkeypatch, jobs, job, index):
    """A strategy as the host of this task has it; nothing is sent, so none is started."""
    cluster = {name: [f"host{i}:1" for i in range(count)] for name, count in jobs.items()}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
    )
    strategy = object.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    monkeypatch.setattr(
        tf.distribute.MultiWorkerMirroredStrategy, "cluster_resolver", resolver, raising=False
    )
    return strategy


@pytest.mark.parametrize(
    ("jobs", "job", "index", "expected"),
    [
        ({"worker": 2}, "worker", 0, True),
        ({"worker": 2}, "worker", 1, False),
        ({"chief": 1, "worker": 2}, "chief", 0, True),
        ({"chief": 1, "worker": 2}, "worker", 0, False),
        ({"worker": 2, "evaluator": 1}, "evaluator", 0, False),
    ],
)
def test_one_of_several_hosts_writes(monkeypatch, jobs, job, index, expected):
    assert devices.is_chief(several_hosts(monkeypatch, jobs, job, index)) is expected


def test_one_host_writes():
    assert devices.is_chief(devices.make_strategy())


def test_several_strategies_of_one_process_add_up_each_its_own():
    for length in (2, 3, 2):
        strategy = devices.make_strategy(num_replicas=2)

        @tf.function
        def add_up(strategy=strategy, length=length):
            def of_replica():
                replica = tf.distribute.get_replica_context()
                number = tf.cast(replica.replica_id_in_sync_group, tf.float32)
                return replica.all_reduce("SUM", tf.range(float(length)) + number)

            return strategy.run(of_replica)

        for total in strategy.experimental_local_results(add_up()):
            np.testing.assert_array_equal(total, 2 * np.arange(length) + 1)
