"""Runs with `--distribution_strategy=hybrid`: what they save, and what goes on from it."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from tiny_network import (
    CLASSES,
    assert_equal_values,
    metrics,
    saved_values,
    train_until_interrupted,
)

from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train

# The same on any number of devices, because nothing is dropped.
WHOLE = {
    "network_options": ["dropout_keep_prob=1.0"],
    "batch_size": 8,
    "max_number_of_steps": 8,
    "learning_rate_decay_type": "fixed",
    "moving_average_decay": 0.9,
}


@pytest.fixture
def four_classes(photos, tmp_path):
    """A folder of photos of four classes, for as many devices."""
    for split in ("train", "validation"):
        for folder, name in zip((*CLASSES, CLASSES[0]), "abcd", strict=True):
            shutil.copytree(f"{photos}/{split}/{folder}", tmp_path / "four" / split / name)
    return {"dataset_dir": str(tmp_path / "four"), **WHOLE}


def hybrid(replaced, replicas=2, **values):
    return replaced(distribution_strategy="hybrid", num_replicas=replicas, **values)


def assert_close_values(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_to_the_values_of_one_that_is_not(replaced, tmp_path, capsys):
    options = {"hybrid_scheme": "b", "fc_updates_per_step": 2, "moving_average_decay": 0.9}
    whole = hybrid(replaced, train_dir=str(tmp_path / "whole"), **options)
    train(whole)
    stopped = hybrid(replaced, **options)
    train_until_interrupted(stopped)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "hybrid, scheme b: of the 195 parameters of the fully connected layers a device has at "
        "most 106; these have 2 updates a step, and the convolutions one at 2 times the rate"
        in printed
    )
    train(stopped)
    assert_equal_values(saved_values(stopped.train_dir), saved_values(whole.train_dir))


@pytest.mark.slow
def test_checkpoints_move_between_devices_and_strategies(replaced, four_classes, tmp_path):
    one_device = replaced(train_dir=str(tmp_path / "one"), **four_classes)
    train(one_device)
    together = {"steps_per_call": 2, "log_every_n_steps": 2}
    for steps, config in (
        (2, hybrid(replaced, 4, **four_classes)),
        (4, replaced(num_replicas=2, **four_classes)),
        (6, hybrid(replaced, 2, hybrid_scheme="c", **together, **four_classes)),
        (8, replaced(**four_classes)),
    ):
        train(dataclasses.replace(config, max_number_of_steps=steps))
    assert_close_values(saved_values(config.train_dir), saved_values(one_device.train_dir))


@pytest.mark.slow
def test_validation_evaluation_and_what_it_reports_are_those_of_one_device(
    replaced, four_classes, tmp_path
):
    # 28 photos in batches of 8 over 4 devices: at the end some have one, some have none.
    one_device = replaced(
        train_dir=str(tmp_path / "one"), validation_split_name=None, **four_classes
    )
    several = hybrid(replaced, 4, validation_split_name=None, **four_classes)
    results = []
    for config in (one_device, several):
        train(config)
        evaluation = EvaluationConfig(
            checkpoint_path=config.train_dir,
            dataset_name="folder",
            dataset_dir=config.dataset_dir,
            eval_dir=str(tmp_path / "eval"),
        )
        results.append((evaluate(evaluation).loss, metrics(config.train_dir, "validation")))
    (one, one_lines), (other, other_lines) = results
    assert [line["loss"] for line in other_lines] == pytest.approx(
        [line["loss"] for line in one_lines], rel=1e-4
    )
    assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_replicas": None}, "is for two devices or more, and here is one.*--num_replicas=2"),
        ({"num_replicas": 7, "batch_size": 14}, "num_replicas is 7, but there are 4"),
        (
            # And before a dataset is prepared, which can take long.
            {"model_name": "mobilenet_v1_025", "dataset_name": "imagenet2012"},
            "mobilenet_v1_025 has none behind a convolutional stage",
        ),
        ({"num_replicas": 3, "batch_size": 9}, "fc2 has 16 units, which 3 devices cannot share"),
        ({"num_replicas": 4, "batch_size": 8}, "fc3 has 3 units, which 4 devices cannot share"),
        (
            {"worker_hosts": ["a:1", "b:1"], "task_index": 0},
            "--worker_hosts needs .*multi_worker_mirrored",
        ),
        (
            {"hybrid_scheme": "c", "num_replicas": 4, "batch_size": 8},
            "has 2 of each; --batch_size must be a multiple of 16: 16",
        ),
        ({"fc_updates_per_step": 2}, "layers once in a step. The schemes b and c take 1, 2,"),
        (
            {"hybrid_scheme": "b", "fc_updates_per_step": 3},
            "2 times in a step. The schemes b and c take 1, 2,",
        ),
        (
            # And before a network is built.
            {"hybrid_scheme": "b", "fc_updates_per_step": 2, "clip_global_norm": 0.5},
            "--clip_global_norm=0.5 is for .* --fc_updates_per_step=2 updates .*Leave out one",
        ),
        (
            {"distribution_strategy": "mirrored", "hybrid_scheme": "b"},
            "hybrid_scheme is for --distribution_strategy=hybrid, and here that is mirrored: leave",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_cannot_be_divided_is_said_and_leaves_nothing(replaced, values, message):
    config = replaced(**{"distribution_strategy": "hybrid", "num_replicas": 2, **values})
    with pytest.raises(ValueError, match=message):
        train(config)
    assert not os.path.exists(config.train_dir)
