"""Runs that go on: at their place in the data, one in a folder, from a checkpoint that is whole."""

import dataclasses
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import assert_equal_values, metrics, saved_values, saved_weights

from nets.batch_normalization import BatchNormalization
from nets.nets_factory import register_network
from slimzoo.commands import train_image_classifier
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train
from training import input_pipeline
from training.checkpoints.saving import RunCheckpoints
from training.storage.locks import locked

# ------------------------------------------------------------- progress in the data


def in_epochs(run, **values):
    """Goes on with a run of 6 steps of 10 images, two epochs, which is now counted in epochs."""
    values = {"max_number_of_steps": None, "log_every_n_steps": 1, **values}
    return dataclasses.replace(run, **values)


@pytest.mark.slow
def test_with_larger_batches_the_epochs_that_are_left_are_trained(run, capsys):
    config = in_epochs(run, num_epochs=4.0, batch_size=15, learning_rate_decay_type="polynomial")
    assert train(config) == f"{run.train_dir}/model.ckpt-10"
    printed = capsys.readouterr().out
    assert "model.ckpt-6, epoch 2.00." in printed
    assert "steps 6 to 10 of 15 images" in printed
    lines = metrics(run.train_dir)[6:]
    assert [line["epoch"] for line in lines] == [2.5, 3, 3.5, 4]
    # The rate falls along a line over the four epochs, of which two have passed.
    assert [line["learning_rate"] for line in lines] == pytest.approx(
        [0.05 * left / 8 for left in (4, 3, 2, 1)]
    )
    train(config)
    printed = capsys.readouterr().out
    assert "taken 10 of 10 steps, which are 4 of 4 epochs in whole batches; nothing" in (
        " ".join(printed.split())
    )


@pytest.mark.slow
def test_with_smaller_batches_it_goes_on_in_the_middle_of_an_epoch(replaced):
    """After four steps of 10 images, the third epoch's first third is done with the second step."""
    train(replaced(max_number_of_steps=4))
    config = in_epochs(replaced(), num_epochs=2.0, batch_size=5)
    assert train(config).endswith("model.ckpt-8")
    assert [line["epoch"] for line in metrics(config.train_dir)][3:] == pytest.approx(
        [1.3333, 1.5, 1.6667, 1.8333, 2], abs=1e-4
    )


@pytest.mark.slow
def test_every_image_comes_once_an_epoch_whatever_the_batch_sizes_were(replaced, monkeypatch):
    seen = []
    make_batches = input_pipeline.training_batches

    def watched(*arguments, **options):
        def note(batch):
            tf.py_function(lambda index: seen.extend(index.numpy().tolist()), [batch["index"]], [])
            return batch

        return make_batches(*arguments, **options).map(note).prefetch(0)

    taken = 0
    monkeypatch.setattr(input_pipeline, "training_batches", watched)
    orders = []
    for steps, batch_size in ((2, 10), (4, 5), (6, 15)):
        seen.clear()
        train(replaced(max_number_of_steps=steps, batch_size=batch_size))
        orders += seen[: 2 * batch_size]  # what was read ahead was not trained on
        taken += 2 * batch_size
    assert taken == 60
    assert [sorted(orders[:30]), sorted(orders[30:])] == [list(range(30))] * 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [-1, 0])
def test_when_photos_come_or_go_it_goes_on_at_its_epoch_and_says_so(
    replaced, photos, tmp_path, capsys, number
):
    root = shutil.copytree(photos, tmp_path / "changing")
    folder = root / "train" / "red"
    config = in_epochs(replaced(dataset_dir=str(root)), num_epochs=3.0)
    train(dataclasses.replace(config, max_number_of_steps=4))
    capsys.readouterr()
    train(dataclasses.replace(config, max_number_of_steps=5))
    assert "changed" not in capsys.readouterr().out.replace("The flags are not", "")
    (folder / "0.jpg").rename(folder / "other.jpg" if number == 0 else tmp_path / "0.jpg")
    train(config)
    printed = capsys.readouterr().out
    count = f"{30 + number} now and were 30" if number else "30 as before, but not the same"
    assert f"The images to train on have changed. They are {count}." in printed
    assert "It goes on at epoch 1.6" in printed
    epochs = [line["epoch"] for line in metrics(config.train_dir)]
    assert epochs == sorted(epochs)
    assert epochs[-1] == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("first_step", range(5, 13))
def test_a_run_is_as_long_wherever_it_is_taken_up(replaced, first_step):
    """40 images; five batches of 4, and then of 8: two epochs are 7.5 more."""
    config = replaced(max_number_of_steps=None, num_epochs=2.0, batch_size=8)
    place = (5 * 4 + (first_step - 5) * 8) / 8
    assert train_image_classifier._num_steps(config, 5.0, first_step, place) == 13


def test_where_nothing_is_to_do_a_run_says_of_itself_what_it_said(run, photos, tmp_path, capsys):
    folder = pathlib.Path(run.train_dir)
    names = ("model.json", "flags.txt")
    before = [(folder / name).read_bytes() for name in names]
    fewer = tmp_path / "fewer"
    shutil.copytree(f"{photos}/validation", fewer / "train")
    train(dataclasses.replace(run, dataset_dir=str(fewer), max_number_of_steps=3, batch_size=5))
    assert "nothing to do" in capsys.readouterr().out
    assert [(folder / name).read_bytes() for name in names] == before
    (folder / "model.json").write_text("{")  # which is of no use to anybody
    train(dataclasses.replace(run, max_number_of_steps=3))
    assert json.loads((folder / "model.json").read_text())["model_name"] == run.model_name


def test_fewer_steps_than_a_run_has_taken_are_nothing_to_do(run, capsys):
    config = dataclasses.replace(run, max_number_of_steps=3, batch_size=15)
    train(dataclasses.replace(config, learning_rate_decay_type="polynomial"))
    assert "This run has taken 6 of 3 steps; nothing to do." in capsys.readouterr().out


def test_flags_that_an_earlier_version_did_not_have_are_not_called_changed(run, capsys):
    flags = pathlib.Path(run.train_dir, "flags.txt")
    lines = [line for line in flags.read_text().splitlines() if "max_image_pixels" not in line]
    lines.append("--num_epochs_per_decay=2.0")  # a default once
    flags.write_text("\n".join(lines) + "\n")
    train(run)
    assert "The flags are not" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_an_earlier_version_counted_steps_of_its_batch_size(replaced, monkeypatch, capsys):
    config = replaced(max_number_of_steps=4)
    with monkeypatch.context() as patch:

        def as_before(*arguments, added, **options):
            return RunCheckpoints(*arguments, **options)

        patch.setattr(train_image_classifier, "RunCheckpoints", as_before)
        train(config)
    assert not any(name.startswith("progress") for name in saved_values(config.train_dir))
    train(in_epochs(config, num_epochs=2.0, batch_size=5))
    assert "epoch 1.33." in capsys.readouterr().out
    assert metrics(config.train_dir)[4]["epoch"] == 1.5


# --------------------------------------------------------------- one run in a folder


def test_a_second_training_in_the_same_folder_is_refused(replaced):
    config = replaced()
    os.makedirs(config.train_dir)
    with locked(config.train_dir), pytest.raises(ValueError, match="Another process is writing"):
        train(config)
    train(config)


@pytest.mark.slow
def test_a_run_may_be_called_as_one_likes(replaced, tmp_path):
    name = "a[lr=0.01]b\\c d#%é"
    config = replaced(train_dir=str(tmp_path / name), validation_split_name=None)
    train(config)
    longer = dataclasses.replace(config, max_number_of_steps=9)
    assert train(longer) == f"{tmp_path / name}/model.ckpt-9"
    assert [line["step"] for line in metrics(config.train_dir)] == list(range(1, 10))
    assert len(list((tmp_path / name).glob("model.ckpt-*.index"))) == 3
    assert evaluate(EvaluationConfig(checkpoint_path=f"{config.train_dir}/best")).num_examples
    assert evaluate(EvaluationConfig(checkpoint_path=config.train_dir)).num_examples


def test_a_run_that_cannot_begin_leaves_no_folder(replaced):
    config = replaced(checkpoint_path="/nowhere")
    with pytest.raises(ValueError, match="does not exist"):
        train(config)
    assert not os.path.exists(config.train_dir)


def test_a_newest_checkpoint_that_is_damaged_does_not_end_a_run_that_is_restarted(
    run, replaced, capsys
):
    data = pathlib.Path(f"{run.train_dir}/model.ckpt-6.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:200])
    train(replaced(max_number_of_steps=9, on_damaged_checkpoint="previous"))
    assert "WARNING: The checkpoint" in capsys.readouterr().out
    assert [line["step"] for line in metrics(run.train_dir)] == list(range(1, 10))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rmsprop", "adagrad", "ftrl"])
def test_what_an_optimizer_gathered_goes_on_to_the_same_weights(replaced, tmp_path, optimizer):
    options = {"optimizer": optimizer, "learning_rate_decay_type": "fixed", "ftrl_l1": 0.01}
    whole = replaced(**options, max_number_of_steps=4, train_dir=str(tmp_path / "whole"))
    train(whole)
    train(replaced(**options, max_number_of_steps=2))
    resumed = replaced(**options, max_number_of_steps=4)
    train(resumed)
    assert_equal_values(saved_values(whole.train_dir), saved_values(resumed.train_dir))


# --------------------------------------------------------------- batch normalization


@pytest.mark.slow
def test_a_run_goes_on_with_its_decay_of_statistics(replaced, registries_restored, capsys):
    @register_network(
        first_layer="conv1",
        head="fc2",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cuda_convnet",
    )
    def normalized(images, num_classes=3):
        net = keras.layers.Conv2D(4, 3, 4, use_bias=False, name="conv1")(images / 64)
        net = BatchNormalization(momentum=0.9997, name="norm1")(net)
        net = keras.layers.GlobalAveragePooling2D(name="pool1")(keras.layers.ReLU()(net))
        logits = keras.layers.Dense(num_classes, name="fc2")(net)
        return logits, {"normalized/fc2": logits}

    statistics = {}
    for folder, stops in (("at_once", [4]), ("in_parts", [2, 4])):
        for stop in stops:
            config = replaced(
                model_name="normalized",
                max_number_of_steps=stop,
                batch_norm_decay=0.5,
                learning_rate_decay_type="fixed",  # not by when the run is over
            )
            config = dataclasses.replace(config, train_dir=f"{config.train_dir}_{folder}")
            train(config)
        weights = saved_weights(config.train_dir)
        statistics[folder] = weights["normalized/norm1/moving_variance"]
    flags = pathlib.Path(config.train_dir, "flags.txt").read_text().splitlines()
    assert {"--batch_norm_decay=0.5", "--nosync_batch_norm", "--freeze_batch_norm"} <= set(flags)
    np.testing.assert_array_equal(statistics["in_parts"], statistics["at_once"])
    assert np.abs(statistics["at_once"] - 1).max() > 0.1  # the network's own decay moves little
    capsys.readouterr()
    train(dataclasses.replace(config, max_number_of_steps=5, batch_norm_decay=None))
    assert "before --max_number_of_steps=4 --batch_norm_decay=0.5" in capsys.readouterr().out


def test_a_network_without_batch_normalization_leaves_no_folder(replaced):
    config = replaced(sync_batch_norm=True)
    with pytest.raises(ValueError, match="tiny has no batch normalization, which --sync_batch"):
        train(config)
    assert not os.path.exists(config.train_dir)
