import dataclasses
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf
from absl import flags

from slimzoo import program, quiet_start
from slimzoo.configuration import (
    EvaluationConfig,
    ExportConfig,
    TrainingConfig,
    parse_options,
)
from slimzoo.tool_configuration import ConversionConfig, PreparationConfig, StatisticsConfig

CONFIGS = [
    *(TrainingConfig, EvaluationConfig, ExportConfig),
    *(PreparationConfig, StatisticsConfig, ConversionConfig),
]

ROOT = pathlib.Path(__file__).parents[2]


def parse(config_class, *arguments):
    values = flags.FlagValues()
    program.define_flags(config_class, values)
    values(["program", *arguments])
    return program.read_flags(config_class, values)


@pytest.mark.parametrize("config_class", CONFIGS)
def test_without_flags_it_is_the_default_configuration(config_class):
    assert parse(config_class) == config_class()


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_flag_has_a_help_text_of_its_own(config_class):
    for field in dataclasses.fields(config_class):
        assert field.metadata["help"].endswith("."), field.name


def test_flags_of_every_kind_arrive_and_can_be_written_as_a_flagfile(tmp_path):
    config = parse(
        TrainingConfig,
        "--model_name=alexnet",
        "--batch_size=64",
        "--learning_rate=0.5",
        "--noaugment",
        "--trainable_scopes=a/b,a/c",
        "--moving_average_decay=0.99",
        '--preprocessing_options=augment=False,"deviation_rgb=(1,1,1)"',
        "--mixed_precision=bfloat16",
        "--validation_split_name=train[80%:]",
    )
    assert config.trainable_scopes == ["a/b", "a/c"]
    assert (config.batch_size, config.learning_rate, config.augment) == (64, 0.5, False)
    assert parse_options(
        "preprocessing_options",
        config.preprocessing_options,
        {"augment": True, "deviation_rgb": (2.0, 2.0, 2.0)},
    ) == {"augment": False, "deviation_rgb": (1, 1, 1)}
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text(program.flag_lines(config))
    assert parse(TrainingConfig, f"--flagfile={flagfile}") == config


def test_booleans_are_understood_in_either_case():
    options = ["a=false", "b=True", "c=TRUE"]
    defaults = {"a": True, "b": False, "c": False}
    assert parse_options("network_options", options, defaults) == {"a": False, "b": True, "c": True}


def run(driver, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / f"{driver}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize(
    ("driver", "arguments", "message"),
    [
        ("train_image_classifier", ["--model_name=alexnt"], "Did you mean 'alexnet'"),
        ("train_image_classifier", ["--bach_size=3"], "Did you mean: batch_size"),
        ("train_image_classifier", ["--batch_size=many"], "flag --batch_size=many"),
        ("train_image_classifier", ["--mixed_precision=int8"], "<float32|bfloat16|float16>"),
        ("train_image_classifier", ["train"], "Unexpected arguments: train"),
        ("eval_image_classifier", [], "--checkpoint_path is not given"),
        ("export_saved_model", ["--checkpoint_path=/nowhere"], "does not exist"),
        ("prepare_dataset", ["--encoding=png"], "<jpeg|raw>"),
    ],
)
def test_a_wrong_flag_ends_in_a_message_and_status_1(tmp_path, driver, arguments, message):
    if driver == "train_image_classifier":
        arguments = [*arguments, f"--train_dir={tmp_path / 'run'}", f"--dataset_dir={tmp_path}"]
    finished = run(driver, *arguments)
    assert finished.returncode == 1
    text = finished.stderr + finished.stdout
    assert message.replace(" ", "") in text.replace("\n", "").replace(" ", "")
    assert "Traceback" not in text
    assert not (tmp_path / "run").exists()


def test_tensorflows_messages_lose_the_names_of_nodes():
    decode = tf.data.Dataset.from_tensors(b"no image").map(tf.io.decode_jpeg)
    with pytest.raises(tf.errors.OpError) as raised:
        next(iter(decode))
    text = program.error_text(raised.value)
    assert "JPEG" in text
    assert "node" not in text
    assert "[[" not in text


@pytest.mark.skipif(quiet_start.HAS_GPU, reason="TensorFlow may say why it does not use the GPU")
def test_a_driver_prints_nothing_but_its_own_words():
    finished = run("export_saved_model", "--checkpoint_path=/nowhere")
    assert finished.stdout == ""
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("ERROR: --checkpoint_path /nowhere does not exist.")


def test_help_lists_the_flags():
    finished = run("train_image_classifier", "--help")
    assert finished.returncode == 0
    for flag in ("--batch_size", "--[no]augment", "--learning_rate_decay_type", "--train_dir"):
        assert flag in finished.stdout


def test_ctrl_c_is_named_and_has_its_own_exit_status():
    program = (
        "from slimzoo.program import run\n"
        "from slimzoo.tool_configuration import StatisticsConfig\n"
        "def command(config): raise KeyboardInterrupt\n"
        "run(StatisticsConfig, command)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 130
    assert finished.stderr.endswith("\nInterrupted.\n")
