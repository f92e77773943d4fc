import pytest
import tensorflow as tf

from training import devices


def test_replicas_are_logical_devices_and_one_has_no_cost():
    assert isinstance(devices.make_strategy(num_replicas=1), tf.distribute.OneDeviceStrategy)
    assert devices.make_strategy(num_replicas=2).num_replicas_in_sync == 2


@pytest.mark.parametrize(
    ("name", "replicas", "message"),
    [
        ("mirored", None, "Unknown distribution strategy 'mirored'. Did you mean 'mirrored'"),
        ("mirrored", 7, "--num_replicas is 7, but there are 2 logical CPU devices"),
        ("multi_worker_mirrored", 2, "cannot be used with multi_worker_mirrored"),
        ("multi_worker_mirrored", None, "needs the environment variable TF_CONFIG"),
    ],
)
def test_what_there_is_not_is_said(monkeypatch, name, replicas, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        devices.make_strategy(name, replicas)


def test_a_batch_is_divided_evenly_or_not_at_all():
    strategy = devices.make_strategy(num_replicas=2)
    assert devices.per_replica_batch_size(8, strategy) == 4
    for batch_size, would_do in ((7, "6 or 8"), (1, "2 or 2")):
        with pytest.raises(ValueError, match=f"cannot share equally; {would_do} would do"):
            devices.per_replica_batch_size(batch_size, strategy)


def test_on_one_host_every_process_is_the_chief():
    assert devices.is_chief(devices.make_strategy(num_replicas=2))
