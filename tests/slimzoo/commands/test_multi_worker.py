import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from slimzoo.commands.train_image_classifier import train

ROOT = pathlib.Path(__file__).parents[3]

WORKER = """
import importlib.util, json, sys
from slimzoo.configuration import TrainingConfig
from slimzoo.commands.train_image_classifier import train
spec = importlib.util.spec_from_file_location("tiny_network", sys.argv[2])
tiny_network = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny_network)
tiny_network.register_tiny()
train(TrainingConfig(**json.loads(sys.argv[1])))
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.slow
def test_two_hosts_train_as_one_device_does(replaced, tmp_path):
    options = {
        "augment": False,
        "network_options": ["dropout_keep_prob=1"],
        "max_number_of_steps": 4,
        "validation_split_name": None,
    }
    alone = replaced(**options, train_dir=str(tmp_path / "alone"))
    train(alone)
    together = replaced(
        **options,
        train_dir=str(tmp_path / "together"),
        distribution_strategy="multi_worker_mirrored",
    )
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        cluster = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        workers.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    WORKER,
                    json.dumps(vars(together)),
                    str(ROOT / "tests" / "tiny_network.py"),
                ],
                env=os.environ | {"TF_CONFIG": json.dumps(cluster), "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    lines = [
        [json.loads(line) for line in pathlib.Path(run, "metrics.jsonl").read_text().splitlines()]
        for run in (alone.train_dir, together.train_dir)
    ]
    assert len(lines[0]) == len(lines[1])  # one of the two hosts wrote, not both
    for one, other in zip(*lines, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["top_1"] == one["top_1"]
    readers = [tf.train.load_checkpoint(run) for run in (alone.train_dir, together.train_dir)]
    for name in readers[0].get_variable_to_shape_map():
        if name.startswith("network/"):
            values = [reader.get_tensor(name) for reader in readers]
            np.testing.assert_allclose(*values, atol=1e-6)
