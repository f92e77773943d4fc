import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from slimzoo import environment, program

ROOT = pathlib.Path(__file__).parents[2]


def run(driver, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / f"{driver}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_mistake_ends_in_a_message_and_status_1(tmp_path):
    finished = run(
        "train_image_classifier", "--model_name=alexnt", f"--train_dir={tmp_path / 'run'}"
    )
    assert finished.returncode == 1
    assert "Did you mean 'alexnet'" in finished.stderr
    assert "Traceback" not in finished.stderr + finished.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "ERROR: Unexpected arguments: train. Flags are --name=value."),
        ([], "ERROR: --dataset_name is not given. "),
        (["--output_dir=x", "--dataset_name=y"], "ERROR: a/b: Is a directory."),
    ],
)
def test_what_a_user_can_cause_ends_in_one_line(arguments, message):
    code = (
        "import sys\n"
        "from slimzoo import program\n"
        "from slimzoo.commands.compute_dataset_statistics import StatisticsConfig\n"
        "def command(config): raise IsADirectoryError(21, 'Is a directory', 'a/b')\n"
        "program.run(StatisticsConfig, command)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 1
    lines = finished.stderr.strip().splitlines()
    assert lines[-1].startswith(message)
    assert "Traceback" not in finished.stderr


def test_tensorflows_messages_lose_the_names_of_nodes():
    decode = tf.data.Dataset.from_tensors(b"no image").map(tf.io.decode_jpeg)
    with pytest.raises(tf.errors.OpError) as raised:
        next(iter(decode))
    text = program.error_text(raised.value)
    assert "JPEG" in text
    assert "node" not in text
    assert "[[" not in text


@pytest.mark.skipif(environment.has_gpu(), reason="TensorFlow may say why it does not use the GPU")
def test_a_command_prints_nothing_but_its_own_words():
    finished = run("export_saved_model", "--checkpoint_path=/nowhere")
    assert finished.stdout == ""
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("ERROR: --checkpoint_path /nowhere does not exist.")


def test_help_lists_the_flags():
    finished = run("train_image_classifier", "--help")
    assert finished.returncode == 0
    for flag in ("--batch_size", "--[no]augment", "--learning_rate_decay_type", "--train_dir"):
        assert flag in finished.stdout


def test_ctrl_c_while_it_imports_is_one_line():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "export_saved_model.py")], stderr=subprocess.PIPE, text=True
    )
    # The interpreter itself takes some 20 ms to start, and TensorFlow seconds to be imported.
    time.sleep(0.7)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "\nInterrupted.\n"


def test_ctrl_c_is_named_and_has_its_own_exit_status():
    code = (
        "from slimzoo.program import run\n"
        "from slimzoo.commands.export_saved_model import ExportConfig\n"
        "def command(config): raise KeyboardInterrupt\n"
        "run(ExportConfig, command)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "--checkpoint_path=x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 130
    assert finished.stderr.endswith("\nInterrupted.\n")
