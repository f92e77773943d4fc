import dataclasses
import json

import pytest

from training.checkpoints.description import ModelDescription

DESCRIPTION = ModelDescription(
    model_name="tiny",
    network_options={"dropout_keep_prob": 0.7},
    class_names=["a", "b"],
    preprocessing_name="alexnet_2012",
    preprocessing_options={},
    image_size=32,
    labels_offset=0,
    dataset_name="folder",
    dataset_dir="/photos",
    validation_split_name="validation",
    network_module=[],
    moving_average_decay=None,
)


def test_it_is_read_as_it_was_written_beside_a_checkpoint_and_above_it(tmp_path):
    DESCRIPTION.save(str(tmp_path))
    (tmp_path / "best").mkdir()
    for folder in (tmp_path, tmp_path / "best"):
        assert ModelDescription.load(str(folder)) == DESCRIPTION
    assert ModelDescription.load(str(tmp_path.parent / "elsewhere")) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"model_name": "tiny"}', '{"no_such": 1}'])
def test_a_damaged_one_is_named(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json is damaged or of another version"):
        ModelDescription.load(str(tmp_path))


def test_options_of_earlier_runs_have_their_names_of_today(tmp_path):
    old = dataclasses.replace(DESCRIPTION, preprocessing_options={"colour_noise_scale": 0.0})
    assert old.resolved_options(str(tmp_path)) == {"color_noise_scale": 0.0}
    assert old.make_preprocessing(str(tmp_path), is_training=True).color_noise_scale == 0.0


def test_it_builds_the_network_with_its_classes_and_options():
    network_fn = DESCRIPTION.build()
    assert network_fn.num_classes == 2
    assert network_fn.variables["tiny/fc3/biases"].shape == (2,)
    with pytest.raises(ValueError, match="option of tiny 'no_such'"):
        dataclasses.replace(DESCRIPTION, network_options={"no_such": 1}).build()


def test_its_file_is_json_that_others_can_read(tmp_path):
    DESCRIPTION.save(str(tmp_path))
    assert json.loads((tmp_path / "model.json").read_text())["class_names"] == ["a", "b"]
