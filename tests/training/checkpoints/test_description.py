import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from training.checkpoints.description import ModelDescription


@pytest.fixture
def description():
    return ModelDescription(
        model_name="cifarnet_18pct",
        network_options={"response_normalization": False},
        class_names=["cat", "dog"],
        preprocessing_name="cifarnet",
        preprocessing_options={"mean_image": "mean_image.npy"},
        image_size=32,
        labels_offset=0,
        dataset_name="folder",
        dataset_dir="/photos",
        validation_split_name=None,
        network_module=[],
        moving_average_decay=None,
    )


def test_it_is_found_in_a_folder_or_above_it(description, tmp_path):
    description.save(str(tmp_path))
    (tmp_path / "best" / "deeper").mkdir(parents=True)
    assert ModelDescription.load(str(tmp_path)) == description
    assert ModelDescription.load(str(tmp_path / "best")) == description
    assert ModelDescription.load(str(tmp_path / "best" / "deeper")) is None
    assert not list(tmp_path.glob("*.incomplete"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_name": "tiny"}', '{"other": 1}'])
def test_a_damaged_one_is_named(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json is damaged or of another version"):
        ModelDescription.load(str(tmp_path))


def test_the_network_is_built_with_its_options_and_classes(description):
    network_fn = description.build(is_training=True)
    assert network_fn.num_classes == 2
    assert not [layer for layer in network_fn.model.layers if "norm" in layer.name]
    with pytest.raises(ValueError, match="option of cifarnet_18pct 'no_such'"):
        dataclasses.replace(description, network_options={"no_such": 1}).build()
    whole = dataclasses.replace(description, network_options={}).build()
    assert [layer for layer in whole.model.layers if "norm" in layer.name]


def test_a_file_in_a_runs_folder_is_none_of_the_runs(trained, cifarnet_file, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    beside = shutil.copy(cifarnet_file, run)
    assert ModelDescription.of_checkpoint(beside) is None
    assert ModelDescription.of_checkpoint(str(run / "model.ckpt-6")).model_name == "tiny"


def test_a_file_of_the_preprocessing_is_taken_from_the_runs_folder(description, tmp_path):
    best = tmp_path / "best"
    best.mkdir()
    with pytest.raises(ValueError, match=r"has no mean_image\.npy, the mean image that this"):
        description.make_preprocessing(str(best), is_training=False)
    np.save(tmp_path / "mean_image.npy", np.full((32, 32, 3), 9.0, np.float32))
    options = description.resolved_options(str(best))
    assert options["mean_image"] == str(tmp_path / "mean_image.npy")
    preprocessing = description.make_preprocessing(str(best), is_training=False)
    image = preprocessing(np.zeros((32, 32, 3), np.uint8), 32, 32)
    np.testing.assert_array_equal(image, np.full((32, 32, 3), -9.0))


def test_an_option_that_was_renamed_is_read_from_an_old_run(description, tmp_path):
    old = dataclasses.replace(
        description,
        preprocessing_name="alexnet",
        preprocessing_options={"colour_noise_scale": 0.2},
    )
    old.save(str(tmp_path))
    assert (
        "colour"
        in json.loads(pathlib.Path(tmp_path, "model.json").read_text())[
            "preprocessing_options"
        ].popitem()[0]
    )
    read = ModelDescription.load(str(tmp_path))
    assert read.resolved_options(str(tmp_path)) == {"color_noise_scale": 0.2}
    assert read.make_preprocessing(str(tmp_path), is_training=True).color_noise_scale == 0.2
