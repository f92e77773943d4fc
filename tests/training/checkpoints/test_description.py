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
        preprocessing_name="cuda_convnet",
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


def test_names_of_a_first_version_are_read_as_they_were_meant(description, tmp_path):
    # `cifarnet` was cuda-convnet's pipeline until TF-Slim's took that name.
    description.save(str(tmp_path))
    path = tmp_path / "model.json"
    document = json.loads(path.read_text())
    assert document["version"] == 2
    document["preprocessing_name"] = "cifarnet"
    path.write_text(json.dumps(document))
    assert ModelDescription.load(str(tmp_path)).preprocessing_name == "cifarnet"
    del document["version"]
    path.write_text(json.dumps(document))
    assert ModelDescription.load(str(tmp_path)) == description
    path.write_text(json.dumps({**document, "version": 3}))
    with pytest.raises(ValueError, match=r"another version: version is 3; .* is expected"):
        ModelDescription.load(str(tmp_path))


WRONG_VALUES = (None, True, -1, 1.5, 10**9, 10**400, "big", [], {}, [1], ["a", None], {"a": 1})


def is_right(name, value):
    """What the fields take, said once more by hand."""
    is_text = isinstance(value, str)
    return {
        "model_name": is_text,
        "preprocessing_name": is_text,
        "dataset_name": is_text,
        "dataset_dir": is_text or value is None,
        "validation_split_name": is_text or value is None,
        "dataset_split_name": is_text or value is None,
        "num_training_images": value is None or (type(value) is int and value >= 0),
        "network_options": isinstance(value, dict),
        "preprocessing_options": isinstance(value, dict),
        "class_names": False,
        "network_module": value == [],
        "image_size": False,
        "labels_offset": type(value) is int and value >= 0,
        "moving_average_decay": value is None,
        "version": False,
    }[name]


@pytest.mark.parametrize("field", dataclasses.fields(ModelDescription), ids=lambda one: one.name)
def test_a_value_of_a_wrong_type_is_named_with_what_is_expected(description, tmp_path, field):
    path = tmp_path / "model.json"
    for value in WRONG_VALUES:
        path.write_text(json.dumps({**vars(description), field.name: value}))
        if is_right(field.name, value):
            assert getattr(ModelDescription.load(str(tmp_path)), field.name) == value
            continue
        with pytest.raises(ValueError, match=r"model\.json is damaged") as error:
            ModelDescription.load(str(tmp_path))
        message = str(error.value)
        assert f": {field.name} is " in message
        assert "is expected." in message
        assert len(message) < len(str(path)) + 250
    path.write_text(json.dumps({k: v for k, v in vars(description).items() if k != field.name}))
    if field.default is not dataclasses.MISSING:  # which earlier versions did not write
        assert ModelDescription.load(str(tmp_path)) == description
        return
    with pytest.raises(ValueError, match=f"the field {field.name} is missing"):
        ModelDescription.load(str(tmp_path))


@pytest.mark.parametrize(
    ("field", "options", "message"),
    [
        ("network_options", {"response_normalization": "yes"}, "a value such as true is expected"),
        ("network_options", {"spatial_squeeze": None}, "a value such as true is expected"),
        ("network_options", {"no_such": 1}, "Unknown option 'no_such'"),
        ("preprocessing_options", {"image_side": "36"}, "a whole number is expected"),
        ("preprocessing_options", {"image_side": -1}, "must be a positive number of pixels"),
        ("preprocessing_options", {"image_side": 10**9}, "must be at most 16,384 pixels"),
        ("preprocessing_options", {"image_side": 36.5}, "a whole number is expected"),
        ("preprocessing_options", {"mean_rgb": [1, 2]}, "a list of 3 numbers is expected"),
        ("preprocessing_options", {"mean_rgb": [1, 2, "a"]}, "a list of 3 numbers is expected"),
        ("preprocessing_options", {"mean_image": 3}, "a text or null is expected"),
        ("preprocessing_options", {"no_such": 1}, "no_such"),
    ],
)
def test_an_option_of_a_wrong_type_is_named(description, tmp_path, field, options, message):
    wrong = dataclasses.replace(description, **{field: options})
    wrong.save(str(tmp_path))
    with pytest.raises(ValueError, match=rf"model\.json is damaged .*{message}"):
        wrong.check_names(str(tmp_path))


def test_options_that_fit_are_accepted(description, tmp_path):
    options = {"mean_rgb": [1, 2.5, 3], "image_side": 36, "mean_image": None}
    dataclasses.replace(description, preprocessing_options=options).check_names(str(tmp_path))


@pytest.mark.parametrize("name", ["../mean_image.npy", "/photos/mean_image.npy"])
def test_a_file_of_the_preprocessing_lies_nowhere_else(description, tmp_path, name):
    elsewhere = dataclasses.replace(description, preprocessing_options={"mean_image": name})
    with pytest.raises(ValueError, match=r"the name of a file beside model\.json is expected"):
        elsewhere.resolved_options(str(tmp_path))


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
