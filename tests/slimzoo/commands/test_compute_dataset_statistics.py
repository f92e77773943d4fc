"""The command; what it computes is the test of `counting` and `pixel_statistics`."""

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from slimzoo.commands import compute_dataset_statistics
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig, compute
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train
from training.checkpoints.trained_model import load_trained_model
from training.dataset_preparation.pixel_statistics import load_statistics


@pytest.fixture
def statistics_config(photos, tmp_path):
    """Statistics of the 30 photos that `tiny` trains on."""
    return StatisticsConfig(
        dataset_name="folder",
        dataset_dir=photos,
        image_size=37,
        output_dir=str(tmp_path / "statistics"),
    )


def test_complete_they_are_not_computed_again(statistics_config, monkeypatch, capsys):
    statistics = compute(statistics_config)
    assert statistics.num_images == 30
    assert statistics == load_statistics(statistics_config.output_dir)
    monkeypatch.setattr(compute_dataset_statistics, "compute_statistics", None)
    capsys.readouterr()
    assert compute(statistics_config) == statistics
    assert "complete already" in capsys.readouterr().out


def test_ctrl_c_saves_and_the_same_command_goes_on(statistics_config, monkeypatch, capsys):
    original = compute_dataset_statistics.compute_statistics

    def interrupted(*arguments, stop_requested, **options):
        def at_each_image():
            signal.raise_signal(signal.SIGINT)
            return stop_requested()

        return original(*arguments, stop_requested=at_each_image, **options)

    with monkeypatch.context() as patch:
        patch.setattr(compute_dataset_statistics, "compute_statistics", interrupted)
        with pytest.raises(KeyboardInterrupt, match="saved after 1 images"):
            compute(statistics_config)
    assert compute(statistics_config).num_images == 30
    assert "Going on after 1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_name": None}, "--dataset_name is not given"),
        ({"output_dir": None}, "--output_dir is not given"),
        ({"image_size": 0}, "--image_size is 0; it must be a number greater than 0"),
        ({"image_size": 32}, "other statistics.*\n.*image_size: 37 there, 32 asked for"),
        ({"dataset_split_name": "train[:5]"}, r"split: train there, train\[:5\] asked for"),
        ({"dataset_split_name": "trian"}, "Did you mean 'train'"),
    ],
)
def test_mistakes_end_in_a_message(statistics_config, changes, message):
    if "other" in message or "there" in message:
        compute(statistics_config)
    with pytest.raises(ValueError, match=message):
        compute(dataclasses.replace(statistics_config, **changes))


def test_statistics_of_one_folder_do_not_answer_for_another(statistics_config, photos, tmp_path):
    compute(statistics_config)
    other = shutil.copytree(photos, tmp_path / "other")
    with pytest.raises(ValueError, match=rf"other statistics.*\n  dataset_dir: {photos} there"):
        compute(dataclasses.replace(statistics_config, dataset_dir=str(other)))


def test_the_command_that_comes_next_has_the_split(statistics_config, capsys):
    compute(dataclasses.replace(statistics_config, dataset_split_name="train[:50%]"))
    assert "--dataset_split_name='train[:50%]' --dataset_statistics=" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_trained_with_them_takes_its_mean_image_along(statistics_config, replaced, tmp_path):
    compute(statistics_config)
    # The released code's pipeline crops 32x32 from 37x37.
    config = replaced(
        preprocessing_name="alexnet_2012",
        preprocessing_options=[],
        dataset_statistics=statistics_config.output_dir,
        max_number_of_steps=2,
    )
    train(config)
    description = json.loads((tmp_path / "run" / "model.json").read_text())
    assert description["preprocessing_options"]["mean_image"] == "mean_image.npy"
    arguments = {"dataset_split_name": "validation", "max_num_batches": 1, "batch_size": 5}
    before = evaluate(EvaluationConfig(checkpoint_path=config.train_dir, **arguments))
    moved = tmp_path / "moved" / "best"
    shutil.move(config.train_dir, moved.parent)
    shutil.rmtree(statistics_config.output_dir)
    assert evaluate(EvaluationConfig(checkpoint_path=str(moved.parent), **arguments)) == before
    # It is found from the folder of the best checkpoint too, which lies below.
    moved.mkdir()
    for path in moved.parent.glob("model.ckpt-*"):
        shutil.move(path, moved)
    mean = np.load(moved.parent / "mean_image.npy")
    model = load_trained_model(str(moved))
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    given = model.preprocessing.device({"image": tf.constant(pixels)})
    np.testing.assert_allclose(given[0], -mean[2:34, 2:34], rtol=1e-6)
    os.remove(moved.parent / "mean_image.npy")
    with pytest.raises(ValueError, match=r"has no mean_image\.npy.*copy it along"):
        load_trained_model(str(moved))
