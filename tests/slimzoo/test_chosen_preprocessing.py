"""Which pipeline flags choose, by themselves and with the statistics of a dataset."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import preprocessing_factory
from slimzoo.chosen_preprocessing import Pipeline, choose_pipeline
from slimzoo.configuration import PreprocessingConfig
from training.dataset_preparation.pixel_statistics import (
    PixelSums,
    load_statistics,
    pixel_products,
    write_statistics,
)


@pytest.fixture(scope="module")
def made_statistics(tmp_path_factory):
    """Of images of 256x256 and of 37x37 pixels: a folder for each."""
    generator = np.random.default_rng(0)
    folders = {}
    for size in (256, 37):
        sums = PixelSums(size)
        for _ in range(3):
            image = generator.integers(0, [200, 230, 256], (size, size, 3)).astype(np.uint8)
            sums.add(image, pixel_products(image).numpy())
        folders[size] = str(tmp_path_factory.mktemp(f"of_{size}"))
        write_statistics(folders[size], {"train": sums}, "train", dataset_name="photos")
    return folders


@pytest.fixture
def statistics(made_statistics, tmp_path):
    """The same, in folders of this test's own."""
    return {
        size: str(shutil.copytree(folder, tmp_path / f"of_{size}"))
        for size, folder in made_statistics.items()
    }


def test_without_flags_it_is_the_networks_own():
    assert choose_pipeline(PreprocessingConfig(), "alexnet") == Pipeline("alexnet", {})


def test_options_of_flags_win_over_inherited_ones_of_the_same_pipeline():
    inherited = Pipeline("alexnet", {"resize_side": 300, "mean_rgb": (1.0, 2.0, 3.0)})
    config = PreprocessingConfig(preprocessing_options=["resize_side=288"])
    assert choose_pipeline(config, "caffe", inherited).options == {
        "resize_side": 288,
        "mean_rgb": (1.0, 2.0, 3.0),
    }
    other = PreprocessingConfig(preprocessing_name="torchvision")
    assert choose_pipeline(other, "caffe", inherited) == Pipeline("torchvision", {})


def test_an_option_has_its_present_name_whatever_it_was_given_as():
    config = PreprocessingConfig(preprocessing_options=["colour_noise_scale=0.2"])
    assert choose_pipeline(config, "alexnet").options == {"color_noise_scale": 0.2}


def test_a_pipeline_takes_of_statistics_what_it_has_options_for(statistics):
    config = PreprocessingConfig(dataset_statistics=statistics[256])
    pipeline = choose_pipeline(config, "alexnet")
    found = load_statistics(statistics[256])
    assert set(pipeline.options) == {"mean_rgb", "color_deviations", "color_components"}
    # As the run's model.json gives them back.
    options = json.loads(json.dumps(pipeline.portable_options()))
    preprocessing = preprocessing_factory.get_preprocessing("alexnet", **options)
    assert preprocessing.mean_rgb == found.mean_rgb
    assert preprocessing.color_components == found.color_components


def test_a_mean_image_is_a_file_of_which_a_run_has_a_copy(statistics):
    config = PreprocessingConfig(dataset_statistics=statistics[37])
    pipeline = choose_pipeline(config, "alexnet_2012")
    path = f"{statistics[37]}/mean_image.npy"
    assert pipeline.files() == {"mean_image.npy": path}
    assert pipeline.portable_options()["mean_image"] == "mean_image.npy"
    # The released code's pipeline crops 32x32 from 37x37.
    pipeline.try_out(32)
    given = pipeline.make().device({"image": tf.zeros([1, 32, 32, 3], tf.uint8)})
    np.testing.assert_allclose(given[0], -np.load(path)[2:34, 2:34], rtol=1e-6)


def test_torchvisions_statistics_are_on_its_own_scale(statistics):
    config = PreprocessingConfig(dataset_statistics=statistics[256])
    options = choose_pipeline(config, "torchvision").options
    found = load_statistics(statistics[256])
    np.testing.assert_allclose(options["mean_rgb"], np.array(found.mean_rgb) / 255)
    deviations = np.sqrt(np.diag(found.covariance_rgb)) / 255
    np.testing.assert_allclose(options["deviation_rgb"], deviations)
    assert set(options) == {"mean_rgb", "deviation_rgb"}


def test_a_pipeline_that_takes_no_statistics_says_so(statistics, monkeypatch):
    monkeypatch.setattr(preprocessing_factory, "get_options", lambda name: {"padding": 4})
    config = PreprocessingConfig(dataset_statistics=statistics[256])
    with pytest.raises(ValueError, match=r"'cifar' takes none of mean_rgb.*it has padding"):
        choose_pipeline(config, "cifar")


def test_statistics_of_another_size_or_that_are_not_there_are_refused(statistics):
    config = PreprocessingConfig(dataset_statistics=statistics[256])
    pipeline = choose_pipeline(config, "alexnet_2012")
    with pytest.raises(ValueError, match=rf"{statistics[256]}.*\[256, 256, 3\].*37x37.*=37"):
        pipeline.try_out(32)
    config = PreprocessingConfig(dataset_statistics="nowhere")
    with pytest.raises(ValueError, match="nowhere: the file does not exist"):
        choose_pipeline(config, "alexnet_2012")


@pytest.mark.parametrize(
    "changes",
    [
        {"mean_rgb": None},
        {"covariance_rgb": []},
        {"covariance_rgb": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]},
    ],
)
def test_statistics_that_are_none_are_refused(statistics, changes):
    path = pathlib.Path(statistics[256], "dataset_statistics.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    config = PreprocessingConfig(dataset_statistics=statistics[256])
    with pytest.raises(ValueError, match="does not hold dataset statistics"):
        choose_pipeline(config, "alexnet")


def test_a_mean_image_is_found_in_the_home_folder(statistics, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(f"{statistics[37]}/mean_image.npy", tmp_path / "mean.npy")
    config = PreprocessingConfig(preprocessing_options=["mean_image=~/mean.npy"])
    pipeline = choose_pipeline(config, "alexnet_2012")
    assert pipeline.files() == {"mean_image.npy": str(tmp_path / "mean.npy")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["resize_sid=288"], "Did you mean 'resize_side'"),
        (["mean_rgb=3"], "mean_rgb takes a value such as"),
        (["resize_side=288", "resize_side=300"], "resize_side twice"),
    ],
)
def test_an_option_that_does_not_exist_or_fit_is_named(options, message):
    with pytest.raises(ValueError, match=f"preprocessing_options.*{message}"):
        choose_pipeline(PreprocessingConfig(preprocessing_options=options), "alexnet")


def test_it_is_shown_in_one_line():
    pipeline = Pipeline("caffe", {"resize_side": 32, "mean_rgb": (1.0, 2.0, 3.0)})
    assert str(pipeline) == "`caffe`, resize_side=32, mean_rgb of its own"
