"""Flags of TF-Slim's drivers: taken, or answered with what takes their place."""

import dataclasses
import pathlib
import re
import subprocess
import sys

import pytest
import tf_slim_drivers
from absl import flags

from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import current_names, define_flags
from slimzoo.help_text import help_text
from slimzoo.tf_slim_flags import (
    EVAL_FLAGS,
    EXPORT_FLAGS,
    TRAIN_FLAGS,
    answer_tf_slim_flags,
    define_tf_slim_flags,
)

ROOT = pathlib.Path(__file__).parents[2]
DRIVERS = {
    "train_image_classifier": (TrainingConfig, TRAIN_FLAGS, tf_slim_drivers.TRAIN),
    "eval_image_classifier": (EvaluationConfig, EVAL_FLAGS, tf_slim_drivers.EVAL),
    "export_inference_graph": (ExportConfig, EXPORT_FLAGS, tf_slim_drivers.EXPORT),
}
FREEZE_GRAPH = [
    *("input_graph", "input_checkpoint", "input_binary", "output_graph", "output_node_names")
]
every_driver = pytest.mark.parametrize("driver", DRIVERS)
every_flag = pytest.mark.parametrize(
    ("driver", "one"),
    [(driver, one) for driver, (_, table, _) in DRIVERS.items() for one in table],
    ids=lambda value: getattr(value, "name", value),
)


def answered(driver, *arguments):
    config_class, table, _ = DRIVERS[driver]
    values = flags.FlagValues()
    define_flags(config_class, values)
    define_tf_slim_flags(table, values)
    values(["program", *arguments])
    return answer_tf_slim_flags(table, values)


@every_driver
def test_every_flag_of_the_original_is_taken_or_in_the_table(driver):
    config_class, table, originals = DRIVERS[driver]
    assert config_class.tf_slim_flags is table
    taken = {field.name for field in dataclasses.fields(config_class)}
    taken |= set(current_names(config_class))
    replaced = [one.name for one in table]
    assert not taken & set(replaced)
    # In the original's order; what comes after is of other programs.
    not_taken = [name for name in originals if name not in taken]
    assert replaced[: len(not_taken)] == not_taken
    assert replaced[len(not_taken) :] == FREEZE_GRAPH * (config_class is ExportConfig)


@every_driver
def test_the_defaults_are_those_of_the_original(driver):
    _, table, originals = DRIVERS[driver]
    for one in table:
        assert one.default == originals.get(one.name)
        assert one.default is None or type(one.default) is one.kind


def other_value(one):
    """A value that is not the default, as the command line has it, and as messages show it."""
    if one.kind is bool:
        return f"--{one.name}"
    return f"--{one.name}={ {int: 7, float: 0.5, str: 'a/b.pb'}[one.kind] }"


@every_flag
def test_another_value_is_answered_with_what_takes_its_place(driver, one):
    given = other_value(one)
    if one.passes:
        said = f"NOTE: {given} of TF-Slim is not needed. {one.instead}"
        assert answered(driver, given) == said
        return
    with pytest.raises(ValueError, match="is a flag of TF-Slim") as raised:
        answered(driver, given)
    message = str(raised.value)
    assert message.startswith(f"{given} is a flag of TF-Slim. {one.instead}")
    assert ("Here: --" in message) == (one.computed is not None)


@every_flag
def test_the_default_passes_with_a_line(driver, one):
    if one.default is None:
        return  # which cannot be given
    given = f"--no{one.name}" if one.kind is bool else f"--{one.name}={one.default}"
    said = f"{given} is TF-Slim's default, and changes nothing."
    if one.passes:
        said = f"{given} of TF-Slim is not needed. {one.instead}"
    assert answered(driver, given) == f"NOTE: {said}"


@every_driver
def test_without_any_nothing_is_said(driver):
    assert answered(driver, "--model_name=inception_v3", "--dataset_dir=x") == ""


@pytest.mark.parametrize(
    ("arguments", "computed"),
    [
        # TF-Slim's batches of 32 images, and epochs, are of one clone.
        (["--num_clones=2"], ["--num_replicas=2 --batch_size=64 --num_epochs_per_decay=4"]),
        (
            ["--num_clones=4", "--batch_size=50", "--num_epochs_per_decay=2.5"],
            ["--num_replicas=4 --batch_size=200 --num_epochs_per_decay=10"],
        ),
        (
            ["--worker_replicas=2", "--task=1", "--num_clones=2"],
            [
                "--num_replicas=2 --batch_size=128",
                "--worker_hosts=HOST0:2222,HOST1:2222 --task_index=1 --batch_size=128",
                "--task_index=1",
            ],
        ),
        (["--replicas_to_aggregate=3", "--batch_size=10"], ["--batch_size=30"]),
    ],
)
def test_the_answer_is_computed_from_what_is_given(arguments, computed):
    with pytest.raises(ValueError, match="is a flag of TF-Slim") as raised:
        answered("train_image_classifier", *arguments)
    lines = str(raised.value).splitlines()
    assert len(lines) == len(computed)  # one for each flag
    for line, expected in zip(lines, computed, strict=True):
        assert expected in line


def test_an_output_file_becomes_a_folder():
    with pytest.raises(ValueError, match=r"Here: --export_dir=/tmp/inception_v3_inf_graph$"):
        answered("export_inference_graph", "--output_file=/tmp/inception_v3_inf_graph.pb")


@every_flag
def test_every_flag_that_an_answer_names_exists(driver, one):
    known = {"all", "dir"}  # of saved_model_cli
    for config_class in (DRIVERS[driver][0], ExportConfig):
        known |= {field.name for field in dataclasses.fields(config_class)}
    assert set(re.findall(r"--(?:no)?(\w+)", one.instead)) <= known


@every_driver
def test_help_says_that_they_are_known_and_does_not_list_them(driver):
    config_class, table, _ = DRIVERS[driver]
    text = " ".join(help_text(config_class, "About.").split())
    assert "Flags of TF-Slim are known too." in text
    for one in table:
        assert f"--{one.name}:" not in text
        assert f"--[no]{one.name}:" not in text


def test_a_command_ends_before_it_reads_or_writes_anything(tmp_path):
    finished = subprocess.run(
        [
            *(sys.executable, str(ROOT / "train_image_classifier.py"), "--num_clones=2"),
            *("--num_readers=8", "--dataset_dir=/nowhere", f"--train_dir={tmp_path / 'run'}"),
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    lines = finished.stderr.strip().splitlines()
    assert lines[-1].startswith("ERROR: --num_clones=2 is a flag of TF-Slim. Give --num_replicas.")
    assert not (tmp_path / "run").exists()
