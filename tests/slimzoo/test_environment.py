import json
import os
import pathlib
import subprocess
import sys

import pytest

from slimzoo import environment

ROOT = pathlib.Path(__file__).parents[2]
OURS = {*environment.VARIABLES, "XLA_FLAGS"}


def python(code, **variables):
    """What a new process prints, with nothing of ours in its environment."""
    inherited = {k: v for k, v in os.environ.items() if k not in OURS}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=True,
    )


def test_importing_a_library_changes_neither_environment_nor_streams():
    finished = python(
        "import json, os, sys\n"
        # What these set is their own affair.
        "import tensorflow, tensorflow_datasets, keras, h5py\n"
        "def state(): return dict(os.environ), os.fstat(2).st_ino, id(sys.stderr), id(sys.stdout)\n"
        "before = state()\n"
        "import slimzoo, slimzoo.commands.train_image_classifier, training.export\n"
        "from nets import nets_factory\n"
        "new = sorted(set(os.environ.items()) - set(before[0].items()))\n"
        "print(json.dumps([before == state(), new]))\n"
    )
    assert json.loads(finished.stdout.splitlines()[-1]) == [True, []]


@pytest.mark.parametrize("module", ["training.optimizers", "training.training_state", "nets"])
def test_another_backend_of_keras_is_named_wherever_one_begins(module):
    inherited = {k: v for k, v in os.environ.items() if k not in OURS}
    finished = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=ROOT,
        env=inherited | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: These networks need Keras on TensorFlow")
    assert "KERAS_BACKEND is 'jax'" in last


@pytest.mark.skipif(environment.has_gpu(), reason="TensorFlow may say why it does not use the GPU")
def test_a_notebook_that_sets_it_up_sees_nothing_of_tensorflow():
    """The README's snippet, on a network that is built in a moment."""
    finished = python(
        "from slimzoo import environment\n"
        "environment.set_up()\n"
        "import numpy as np\n"
        "from nets import nets_factory\n"
        "from preprocessing import preprocessing_factory\n"
        "network_fn = nets_factory.get_network_fn('cifarnet_18pct', num_classes=10)\n"
        "preprocess = preprocessing_factory.get_preprocessing(network_fn.preprocessing_name)\n"
        "image = preprocess(np.zeros([40, 50, 3], np.uint8), 32, 32)\n"
        "logits, end_points = network_fn(image[None])\n"
        "print(logits.shape)\n"
    )
    assert finished.stdout == "(1, 10)\n"
    assert finished.stderr == ""


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    environment.set_variables()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "{ours}"),
        ("--xla_dump_to=here", "--xla_dump_to=here {ours}"),
        ("--xla_backend_extra_options=theirs", "--xla_backend_extra_options=theirs"),
        ("a_file_of_flags.txt", "a_file_of_flags.txt"),
    ],
)
def test_flags_of_xla_that_the_user_has_set_are_kept(monkeypatch, given, expected):
    monkeypatch.setenv("XLA_FLAGS", given)
    for _ in range(2):
        environment.set_variables()
        ours = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
        assert os.environ["XLA_FLAGS"] == expected.format(ours=ours)
