"""How commands run: those that need it in a process of their own, as a user starts them."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from absl import flags

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
    assert finished.stdout == ""
    lines = finished.stderr.strip().splitlines()
    assert lines[-1].startswith("ERROR: Unknown network 'alexnt'. Did you mean 'alexnet'?")
    if not environment.has_gpu():  # TensorFlow may say why it does not use the GPU
        assert len(lines) == 1
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()


def test_help_begins_with_what_the_command_does_and_lists_the_flags():
    finished = run("train_image_classifier", "--help")
    assert finished.returncode == 0
    assert "Trains an image classifier." in finished.stdout.partition("flags:")[0]
    for flag in ("--batch_size", "--[no]augment", "--learning_rate_decay_type", "--train_dir"):
        assert flag in finished.stdout


def imports_tensorflow(pid, seconds):
    """Whether a process, started so long ago, is at an import that takes seconds."""
    maps = pathlib.Path(f"/proc/{pid}/maps")
    if not maps.exists():  # not on Linux
        return seconds > 0.7  # an interpreter takes some 20 ms to start
    return "/tensorflow/" in maps.read_text()


def test_ctrl_c_while_it_imports_is_one_line():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "export_saved_model.py")], stderr=subprocess.PIPE, text=True
    )
    begun = time.monotonic()
    while not imports_tensorflow(process.pid, time.monotonic() - begun):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "\nInterrupted.\n"


# One process imports TensorFlow, and a copy of it runs each command.
COMMANDS = """
import json, os, sys
from slimzoo import environment, program
environment.set_up()
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig

def fails(config): raise IsADirectoryError(21, 'Is a directory', 'a/b')
def is_read_no_more(config): raise AssertionError
def is_interrupted(config): raise KeyboardInterrupt
def prints_a_cat(config): print('caf\u00e9/\u732b')
def is_interrupted_with_advice(config): raise KeyboardInterrupt('Interrupted and saved.')

for name, arguments in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if name == 'is_read_no_more':  # as by `| head`
        os.close(read)
        read = os.open(os.devnull, os.O_RDONLY)
    if not (child := os.fork()):
        os.dup2(write, 1)
        os.dup2(write, 2)
        if name == 'prints_a_cat':  # on a terminal that has no letters for it
            sys.stdout.reconfigure(encoding='ascii')
        sys.argv[1:] = arguments
        program.run(StatisticsConfig, globals()[name])
    os.close(write)
    with open(read) as pipe:
        printed = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, printed]), flush=True)
"""
GIVEN = ["--output_dir=x", "--dataset_name=y"]
CASES = [
    # command, its arguments, its exit status, what the last line of its output begins with
    ("fails", ["train"], 1, "ERROR: Unexpected arguments: train. Flags are --name=value."),
    ("fails", [], 1, "ERROR: --dataset_name is not given. "),
    ("fails", GIVEN, 1, "ERROR: a/b: Is a directory."),
    (
        "fails",
        ["--output_dri=x"],
        1,
        "ERROR: Unknown command line flag 'output_dri'. Did you mean --output_dir?",
    ),
    (
        "fails",
        ["--eval_image_size=9"],
        1,
        "ERROR: Unknown command line flag 'eval_image_size'. Did ",
    ),
    ("fails", ["--image_size=big"], 1, "ERROR: flag --image_size=big: "),
    ("is_read_no_more", ["--help"], 0, ""),
    ("prints_a_cat", GIVEN, 0, r"caf\xe9/\u732b"),
    ("is_interrupted", GIVEN, 130, "Interrupted."),
    ("is_interrupted_with_advice", GIVEN, 130, "Interrupted and saved."),
]


@pytest.fixture(scope="module")
def outcomes():
    """The exit status and the output of each of `CASES`."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot copy a process")
    commands = json.dumps([case[:2] for case in CASES])
    finished = subprocess.run(
        [sys.executable, "-c", COMMANDS, commands],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[number][0])
def test_what_a_user_can_cause_ends_in_one_line_and_a_status(outcomes, number):
    *_, status, message = CASES[number]
    assert outcomes[number][0] == status
    lines = outcomes[number][1].strip().splitlines() or [""]
    assert lines[-1].startswith(message)
    assert "Traceback" not in outcomes[number][1]


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("eval_image_size", ["images", "image_size", "top_k"], " Did you mean --image_size?"),
        ("image_size", ["top_k", "train_image_size"], " Did you mean --train_image_size?"),
        ("train_image_size", ["eval_image_size"], " Did you mean --eval_image_size?"),
        ("otput", ["output_dir", "output_file"], " Did you mean --output_dir or --output_file?"),
        ("zebra", ["top_k"], ""),
    ],
)
def test_an_unknown_flag_is_told_which_is_meant(name, known, hint):
    values = flags.FlagValues()
    for one in known:
        flags.DEFINE_string(one, None, "", flag_values=values)
    with pytest.raises(flags.UnrecognizedFlagError) as raised:
        values(["program", f"--{name}=1"])
    assert program.unknown_flag(raised.value, known) == (
        f"Unknown command line flag '{name}'.{hint} --help lists the flags."
    )


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (flags.DEFINE_integer, "flag --steps=2.5: takes a whole number"),
        (flags.DEFINE_float, "flag --steps=many: takes a number"),
    ],
    ids=["integer", "float"],
)
def test_what_is_no_number_is_said_in_plain_words(define, message):
    values = flags.FlagValues()
    define("steps", 1, "", flag_values=values)
    with pytest.raises(flags.IllegalFlagValueError) as raised:
        values(["program", message.split()[1].rstrip(":")])
    assert program.in_plain_words(str(raised.value)) == message


def test_tensorflows_messages_lose_the_names_of_nodes():
    decode = tf.data.Dataset.from_tensors(b"no image").map(tf.io.decode_jpeg)
    with pytest.raises(tf.errors.OpError) as raised:
        next(iter(decode))
    text = program.error_text(raised.value)
    assert "JPEG" in text
    assert "node" not in text
    assert "[[" not in text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "a"), "a: No such file or directory."),
        (OSError("no more room"), "no more room"),
        (ValueError(), "ValueError"),
        (
            tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory"),
            "failed to allocate memory Give a smaller --batch_size.",
        ),
    ],
)
def test_what_a_user_is_told_of_an_error(error, text):
    assert program.error_text(error) == text


def test_the_command_that_comes_next_is_started_as_this_one_was(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "prepare_dataset.py")])
    script = f"python {ROOT / 'train_image_classifier.py'}"
    assert program.beside_this_program("train_image_classifier") == script
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "prepare_dataset")])  # as installed
    assert program.beside_this_program("train_image_classifier") == "train_image_classifier"
