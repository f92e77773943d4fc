"""What statistics and flags make of a network's preprocessing, and what a run keeps of it."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from slimzoo import run_folder
from slimzoo.chosen_preprocessing import choose_pipeline
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig, compute
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train
from training.checkpoints import trained_model
from training.checkpoints.description import ModelDescription
from training.dataset_preparation.pixel_statistics import load_statistics


@pytest.fixture
def statistics(photos, tmp_path):
    """Of the photos that `tiny` trains on: a folder with 256x256 and one with 37x37 pixels."""
    folders = {}
    for size in (256, 37):
        folders[size] = str(tmp_path / f"of_{size}")
        compute(
            StatisticsConfig(
                dataset_name="folder", dataset_dir=photos, image_size=size, output_dir=folders[size]
            )
        )
    return folders


@pytest.fixture
def training(photos, tmp_path):
    from slimzoo.configuration import TrainingConfig

    return TrainingConfig(
        dataset_name="folder",
        dataset_dir=photos,
        train_dir=str(tmp_path / "run"),
        model_name="tiny",
        batch_size=10,
        max_number_of_steps=2,
    )


def test_a_preprocessing_takes_what_it_has_options_for(training, statistics):
    train(dataclasses.replace(training, dataset_statistics=statistics[256]))
    model = trained_model.load_trained_model(training.train_dir)
    found = load_statistics(statistics[256])
    assert model.preprocessing.mean_rgb == found.mean_rgb
    assert model.preprocessing.color_components == found.color_components
    with pytest.raises(ValueError, match="takes none of mean_rgb"):
        train(
            dataclasses.replace(
                training, preprocessing_name="no_mean", dataset_statistics=statistics[256]
            )
        )


@pytest.fixture(autouse=True)
def a_pipeline_without_a_mean(registries_restored):
    from preprocessing.base import PREPROCESSINGS, Preprocessing

    @dataclasses.dataclass(frozen=True)
    class NoMean(Preprocessing):
        def device(self, batch, dtype=tf.float32):
            return tf.cast(batch["image"], dtype)

        def _pixels(self, source, height, width, seed, num_crops):
            return tf.zeros([height, width, 3], tf.uint8)

    PREPROCESSINGS.register("no_mean")(NoMean)


def test_the_mean_image_goes_with_the_run(training, statistics, tmp_path):
    # The released code's pipeline crops 32x32 from 37x37.
    config = dataclasses.replace(
        training, preprocessing_name="alexnet_2012", dataset_statistics=statistics[37]
    )
    train(config)
    description = json.loads((tmp_path / "run" / "model.json").read_text())
    assert description["preprocessing_options"]["mean_image"] == "mean_image.npy"
    before = evaluate(EvaluationConfig(checkpoint_path=config.train_dir))
    moved = str(tmp_path / "moved")
    os.rename(config.train_dir, moved)
    os.rename(statistics[37], f"{statistics[37]}_gone")
    assert evaluate(EvaluationConfig(checkpoint_path=moved)) == before
    mean = np.load(os.path.join(moved, "mean_image.npy"))
    model = trained_model.load_trained_model(os.path.join(moved, "best"))
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    given = model.preprocessing.device({"image": tf.constant(pixels)})
    np.testing.assert_allclose(given[0], -mean[2:34, 2:34], rtol=1e-6)
    os.remove(os.path.join(moved, "mean_image.npy"))
    with pytest.raises(ValueError, match=r"has no mean_image\.npy.*copy it along"):
        trained_model.load_trained_model(moved)


def test_a_fine_tuned_run_is_fed_as_the_one_it_starts_from(training, statistics, tmp_path):
    """The weights know the mean that they were trained with."""
    first = dataclasses.replace(
        training, preprocessing_name="alexnet_2012", dataset_statistics=statistics[37]
    )
    train(first)
    second = dataclasses.replace(
        training, train_dir=str(tmp_path / "second"), checkpoint_path=first.train_dir
    )
    train(second)
    before, after = (
        ModelDescription.load(run.train_dir).preprocessing_options for run in (first, second)
    )
    assert after == before
    assert ModelDescription.load(second.train_dir).preprocessing_name == "alexnet_2012"
    means = [np.load(os.path.join(run.train_dir, "mean_image.npy")) for run in (first, second)]
    np.testing.assert_array_equal(*means)
    # What flags say wins, and a mean colour replaces the image that would be subtracted instead.
    third = dataclasses.replace(second, preprocessing_options=["mean_rgb=(1.0,2.0,3.0)"])
    pipeline = run_folder.choose_run_pipeline(third)
    assert pipeline.options["mean_rgb"] == (1.0, 2.0, 3.0)
    assert "mean_image" not in pipeline.options


def test_a_mean_image_is_found_in_the_home_folder(training, statistics, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(os.path.join(statistics[37], "mean_image.npy"), tmp_path / "mean.npy")
    options = ["mean_image=~/mean.npy"]
    config = dataclasses.replace(
        training, preprocessing_name="alexnet_2012", preprocessing_options=options
    )
    train(config)
    assert os.path.exists(os.path.join(config.train_dir, "mean_image.npy"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_rgb": None}, "does not hold dataset statistics"),
        ({"covariance_rgb": []}, "does not hold dataset statistics"),
        ({"covariance_rgb": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "does not hold"),
    ],
)
def test_statistics_that_are_none_are_refused(training, statistics, changes, message):
    path = pathlib.Path(statistics[256], "dataset_statistics.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(training, dataset_statistics=statistics[256]))


def test_a_run_that_never_began_takes_the_mean_image_it_is_given_next(training, statistics):
    config = dataclasses.replace(training, preprocessing_name="alexnet_2012")
    os.makedirs(config.train_dir)
    shutil.copy(os.path.join(statistics[256], "mean_image.npy"), config.train_dir)
    train(dataclasses.replace(config, dataset_statistics=statistics[37]))
    kept, given = (
        np.load(os.path.join(folder, "mean_image.npy"))
        for folder in (config.train_dir, statistics[37])
    )
    np.testing.assert_array_equal(kept, given)
    # And one that goes on must have the same.
    changed = os.path.join(statistics[37], "mean_image.npy")
    np.save(changed, given + 1)
    with pytest.raises(ValueError, match=r"holds a run with another mean_image\.npy"):
        train(dataclasses.replace(config, dataset_statistics=statistics[37], max_number_of_steps=4))


def test_torchvisions_statistics_are_on_its_own_scale(training, statistics):
    config = dataclasses.replace(
        training, preprocessing_name="torchvision", dataset_statistics=statistics[256]
    )
    options = choose_pipeline(config, "torchvision").options
    found = load_statistics(statistics[256])
    np.testing.assert_allclose(options["mean_rgb"], np.array(found.mean_rgb) / 255)
    deviations = np.sqrt(np.diag(found.covariance_rgb)) / 255
    np.testing.assert_allclose(options["deviation_rgb"], deviations)
    assert set(options) == {"mean_rgb", "deviation_rgb"}


def test_statistics_of_another_size_or_that_are_not_there_are_refused(training, statistics):
    config = dataclasses.replace(training, preprocessing_name="alexnet_2012")
    with pytest.raises(ValueError, match=rf"{statistics[256]}.*\[256, 256, 3\].*37x37.*=37"):
        train(dataclasses.replace(config, dataset_statistics=statistics[256]))
    assert not os.path.exists(config.train_dir)
    with pytest.raises(ValueError, match="nowhere: the file does not exist"):
        train(dataclasses.replace(config, dataset_statistics="nowhere"))
