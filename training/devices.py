"""Which devices share the work."""

from __future__ import annotations

import contextlib
import os

import tensorflow as tf

from slimzoo_registry import unknown_name_message
from training.hosts.cluster import ClusterSettings, find_cluster
from training.hosts.cooperation import join

STRATEGIES = ("mirrored", "multi_worker_mirrored")
# Of which one is for training alone.
TRAINING_STRATEGIES = (*STRATEGIES, "hybrid")


def make_strategy(
    name: str = "mirrored",
    num_replicas: int | None = None,
    cluster_settings: ClusterSettings | None = None,
) -> tf.distribute.Strategy:
    """Makes the `tf.distribute` strategy that the drivers run under.

    Args:
      name: `mirrored`, `multi_worker_mirrored`, or `hybrid`, whose convolutions are mirrored.
      num_replicas: devices of this host; None is every GPU, or one CPU device. Where there is no
        GPU, the CPU is divided into so many logical devices, which shows that a program is right
        but makes none faster.
      cluster_settings: for `multi_worker_mirrored`, which waits until all hosts are there; None
        takes them from TF_CONFIG.

    Returns:
      A strategy; with one replica, one that has no cost.

    Raises:
      ValueError: if there are fewer devices than `num_replicas`, the name is unknown, or the hosts
        are not described as they should be.
      TimeoutError: if a host does not come.
    """
    if name not in TRAINING_STRATEGIES:
        raise ValueError(unknown_name_message("distribution strategy", name, TRAINING_STRATEGIES))
    if name == "multi_worker_mirrored":
        if num_replicas:
            raise ValueError(
                "--num_replicas cannot be used with multi_worker_mirrored, which uses all devices "
                "of every host."
            )
        cluster_settings = cluster_settings or ClusterSettings()
        return join(find_cluster(cluster_settings), cluster_settings.cluster_timeout_secs)
    if cluster_settings and cluster_settings.worker_hosts:
        raise ValueError(
            f"--worker_hosts needs --distribution_strategy=multi_worker_mirrored; it is {name}, "
            "which uses the devices of one host."
        )
    if os.environ.get("TF_CONFIG"):
        print(
            "NOTE: the environment variable TF_CONFIG is not used with "
            f"--distribution_strategy={name}: this process works alone."
        )
        del os.environ["TF_CONFIG"]  # TensorFlow reads it for every strategy
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    wanted = num_replicas or max(num_gpus, 1)
    if num_gpus:
        kind, available = "GPU", num_gpus
    else:
        kind, available = "CPU", _divide_cpu(wanted)
    if wanted > available:
        raise ValueError(
            f"--num_replicas is {wanted}, but there are {available} logical {kind} devices."
        )
    devices = [f"{kind}:{i}" for i in range(wanted)]
    if wanted == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    # TensorFlow's collective sums have numbers that each strategy counts from the start, so that
    # several strategies of one process clash. Devices of one CPU need none.
    sums = None if num_gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=sums)


def per_replica_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> int:
    """Divides the global batch; raises ValueError if it does not divide evenly."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        below = batch_size - batch_size % replicas
        fitting = f"{below} or {below + replicas}" if below else f"{replicas}"
        raise ValueError(
            f"--batch_size is {batch_size}, which {replicas} replicas cannot share equally; "
            f"{fitting} would do."
        )
    return batch_size // replicas


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one among several hosts that writes checkpoints and metrics."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    resolver = strategy.cluster_resolver
    if resolver.task_type != "worker":
        return resolver.task_type in (None, "chief")
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def _divide_cpu(wanted: int) -> int:
    cpu = tf.config.list_physical_devices("CPU")[0]
    if wanted > 1:
        # Once TensorFlow has started, it has as many devices as it then was told.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * wanted
            )
    return len(tf.config.list_logical_devices("CPU"))
