"""The folder of a run, without training: what is described in it, and what may go on there."""

import json
import os
import pathlib
import shutil
import unicodedata

import numpy as np
import pytest

from image_datasets.dataset_factory import get_dataset
from slimzoo import run_folder
from slimzoo.flags import flag_lines
from training.checkpoints.description import ModelDescription


def described(config, validation_split=None):
    datasets = [
        split and get_dataset(config.dataset_name, split, config.dataset_dir)
        for split in (config.dataset_split_name, validation_split)
    ]
    return run_folder.describe(config, run_folder.choose_run_pipeline(config), *datasets)


def prepared(config):
    """What `train` does with the folder before it builds anything."""
    pipeline = run_folder.choose_run_pipeline(config)
    description = described(config)
    train_dir = run_folder.make_train_dir(config)
    run_folder.fill_train_dir(train_dir, pipeline, description)
    return train_dir


def test_a_description_holds_what_the_flags_do_not_keep(replaced, photos, monkeypatch):
    monkeypatch.chdir(pathlib.Path(photos).parent)
    config = replaced(
        dataset_dir=pathlib.Path(photos).name,
        network_options=["dropout_keep_prob=0.9"],
        labels_offset=1,
        moving_average_decay=0.99,
    )
    description = described(config, "validation[:15]")
    assert description.class_names == ["green", "red"]
    assert description.network_options == {"dropout_keep_prob": 0.9}
    assert (description.preprocessing_name, description.image_size) == ("cuda_convnet", 32)
    assert description.preprocessing_options == {"image_side": 36, "respect_exif": True}
    assert description.validation_split_name == "validation[:15]"
    assert description.moving_average_decay == 0.99
    assert description.dataset_dir == photos  # from wherever it is read


def test_other_classes_in_the_validation_split_are_refused(replaced, photos, tmp_path):
    other = shutil.copytree(photos, tmp_path / "other")
    (other / "validation" / "red").rename(other / "validation" / "yellow")
    config = replaced(dataset_dir=str(other))
    with pytest.raises(ValueError, match="classes"):
        described(config, "validation")


@pytest.mark.parametrize(
    ("values", "folder"),
    [
        ({}, "runs/tiny-{photos}"),
        ({"model_name": "cifarnet_18pct"}, "runs/cifarnet_18pct-{photos}"),
        ({"train_dir": "~/mine"}, "mine"),
    ],
)
def test_a_run_is_called_after_its_network_and_its_data(
    replaced, photos, tmp_path, monkeypatch, values, folder
):
    folder = folder.format(photos=pathlib.Path(photos).name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    config = replaced(**{"train_dir": None, "preprocessing_options": [], **values})
    assert os.path.abspath(prepared(config)) == str(tmp_path / folder)
    assert (tmp_path / folder).is_dir()


def test_a_train_dir_that_cannot_be_written_is_named(replaced, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(ValueError, match=r"--train_dir .*file cannot be written"):
        prepared(replaced(train_dir=str(file)))
    assert file.read_text() == "kept"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network_options": ["dropout_keep_prob=0.9"]}, "network_options {}; now it is {'dropo"),
        ({"preprocessing_options": ["image_side=40"]}, "preprocessing_options"),
        ({"preprocessing_name": "cifar", "preprocessing_options": []}, "preprocessing_name"),
        ({"model_name": "cifarnet_18pct"}, "model_name 'tiny'; now it is 'cifarnet_18pct'"),
        ({"train_image_size": 40}, "image_size 32; now it is 40"),
        ({"labels_offset": 1}, "labels_offset"),
        ({"import_modules": ["a.b"]}, r"import_modules \[\]; now it is \['a.b'\]"),
    ],
)
def test_a_folder_of_another_run_is_refused(run, replaced, values, message):
    with pytest.raises(ValueError, match=rf"holds a run with {message}.*another --train_dir"):
        prepared(replaced(**values))


def test_a_run_goes_on_when_an_accent_is_spelled_in_another_way(run, replaced, photos, tmp_path):
    """As runs of before have it whose photos came from a Mac."""
    other = shutil.copytree(photos, tmp_path / "other")
    name = unicodedata.normalize("NFD", "réd")
    for split in ("train", "validation"):
        (other / split / "red").rename(other / split / name)
    path = pathlib.Path(run.train_dir, "model.json")
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "class_names": ["blue", "green", name]})
    )
    config = replaced(dataset_dir=str(other))
    assert described(config).class_names[2] != name
    assert prepared(config) == run.train_dir


def test_a_run_may_go_on_with_moved_photos_or_another_validation(run, replaced, photos, tmp_path):
    moved = str(shutil.copytree(photos, tmp_path / "moved"))
    config = replaced(dataset_dir=moved, validation_split_name="train[:5]")
    assert prepared(config) == run.train_dir


# --------------------------------------------------------------- which way up photos are


def options_of(config):
    return run_folder.choose_run_pipeline(config).options


def test_photos_of_a_folder_are_turned_unless_told_otherwise(replaced, tmp_path):
    new = {"train_dir": str(tmp_path)}
    assert options_of(replaced(**new))["respect_exif"] is True
    assert "respect_exif" not in options_of(replaced(**new, respect_exif=False))
    assert "respect_exif" not in options_of(
        replaced(**new, preprocessing_options=["respect_exif=false"])
    )


def test_datasets_of_others_are_turned_only_if_told_so(replaced, tmp_path):
    shapes = {"dataset_name": "shapes", "dataset_dir": None, "train_dir": str(tmp_path)}
    assert "respect_exif" not in options_of(replaced(**shapes))
    assert options_of(replaced(**shapes, respect_exif=True))["respect_exif"] is True
    assert options_of(replaced(**shapes, preprocessing_options=["respect_exif=true"])) == {
        "respect_exif": True
    }


def test_a_run_from_before_the_choice_goes_on_as_it_was(run, replaced):
    path = pathlib.Path(run.train_dir, "model.json")
    document = json.loads(path.read_text())
    assert document["preprocessing_options"].pop("respect_exif") is True
    path.write_text(json.dumps(document))
    assert prepared(replaced()) == run.train_dir
    assert "respect_exif" not in options_of(replaced())
    with pytest.raises(ValueError, match="holds a run with preprocessing_options"):
        prepared(replaced(respect_exif=True))


def test_a_run_from_before_tf_slims_pipelines_goes_on_with_its_own(run, replaced):
    path = pathlib.Path(run.train_dir, "model.json")
    document = {**json.loads(path.read_text()), "preprocessing_name": "cifarnet"}
    del document["version"]
    path.write_text(json.dumps(document))
    assert prepared(replaced()) == run.train_dir
    config = replaced(preprocessing_name="cifarnet", preprocessing_options=[])
    with pytest.raises(ValueError, match="preprocessing_name 'cuda_convnet'; now it is 'cifarnet'"):
        prepared(config)
    tuned = replaced(train_dir=f"{run.train_dir}_tuned", checkpoint_path=run.train_dir)
    assert run_folder.choose_run_pipeline(tuned).name == "cuda_convnet"


def test_weights_that_are_started_from_do_not_say_which_way_up_photos_are(run, replaced, tmp_path):
    config = replaced(
        train_dir=str(tmp_path / "tuned"),
        checkpoint_path=run.train_dir,
        preprocessing_options=[],
        dataset_name="shapes",
        dataset_dir=None,
    )
    assert options_of(config) == {"image_side": 36}


def test_two_flags_that_contradict_each_other_are_refused(replaced):
    config = replaced(respect_exif=False, preprocessing_options=["respect_exif=true"])
    with pytest.raises(ValueError, match=r"--respect_exif is False, .* Give one of them"):
        run_folder.choose_run_pipeline(config)


# ------------------------------------------------------------ files of the preprocessing


@pytest.fixture
def mean_images(tmp_path):
    """Two files of the size that `cuda_convnet` takes with the options of `config`."""
    for number in (1, 2):
        np.save(tmp_path / f"mean_{number}.npy", np.full((36, 36, 3), number * 50.0, np.float32))
    return [f"mean_image={tmp_path / f'mean_{number}.npy'}" for number in (1, 2)]


def mean_in(folder):
    return np.load(os.path.join(folder, "mean_image.npy"))[0, 0, 0]


def test_a_run_keeps_a_copy_of_its_mean_image(replaced, mean_images, tmp_path):
    config = replaced(preprocessing_options=["image_side=36", mean_images[0]])
    description = described(config)
    assert description.preprocessing_options["mean_image"] == "mean_image.npy"
    assert mean_in(prepared(config)) == 50
    os.remove(tmp_path / "mean_1.npy")
    with pytest.raises(ValueError, match=r"mean_1\.npy"):
        prepared(config)


def test_a_run_that_never_began_takes_the_mean_image_it_is_given_next(
    run, replaced, mean_images, trained
):
    first, second = (
        replaced(preprocessing_options=["image_side=36", option]) for option in mean_images
    )
    for path in pathlib.Path(run.train_dir).glob("model.ckpt-*"):
        path.unlink()
    prepared(first)
    assert mean_in(prepared(second)) == 100
    # And one that goes on must have the same.
    described(second).save(run.train_dir)
    for path in trained.glob("model.ckpt-6.*"):
        shutil.copy(path, run.train_dir)
    prepared(second)
    with pytest.raises(ValueError, match=r"holds a run with another mean_image\.npy"):
        prepared(first)
    assert mean_in(run.train_dir) == 100


def test_weights_are_fed_as_in_the_run_that_they_come_from(run, replaced, mean_images, tmp_path):
    """They know the mean that they were trained with, wherever that run is now."""
    source = replaced(
        train_dir=str(tmp_path / "source"), preprocessing_options=["image_side=36", mean_images[0]]
    )
    shutil.copytree(run.train_dir, source.train_dir)
    described(source).save(source.train_dir)
    shutil.copy(tmp_path / "mean_1.npy", f"{source.train_dir}/mean_image.npy")
    os.remove(tmp_path / "mean_1.npy")
    tuned = {
        "train_dir": str(tmp_path / "tuned"),
        "checkpoint_path": source.train_dir,
        "preprocessing_options": [],
    }
    config = replaced(**tuned)
    options = described(config).preprocessing_options
    assert (options["image_side"], options["mean_image"]) == (36, "mean_image.npy")
    assert mean_in(prepared(config)) == 50
    # Another network has its own.
    other = replaced(**{**tuned, "model_name": "cifarnet_18pct"})
    assert run_folder.choose_run_pipeline(other).options == {"respect_exif": True}
    # What flags say wins, and a mean colour replaces the image that would be subtracted instead.
    given = replaced(**{**tuned, "preprocessing_options": ["mean_rgb=(1.0,2.0,3.0)"]})
    pipeline = run_folder.choose_run_pipeline(given)
    assert pipeline.options["mean_rgb"] == (1.0, 2.0, 3.0)
    assert pipeline.options["image_side"] == 36
    assert "mean_image" not in pipeline.options


def test_a_run_goes_on_when_the_weights_that_it_started_from_are_gone(replaced):
    config = replaced(checkpoint_path="/nowhere", preprocessing_options=[])
    assert run_folder.choose_run_pipeline(config).name == "cuda_convnet"


# ------------------------------------------------------------------------- its flags


def test_flags_that_changed_are_listed_with_what_they_were(run, replaced):
    def changes(**values):
        config = replaced(validation_split_name=None, **values).with_defaults({})
        return run_folder.changed_flags(config, run.train_dir)

    assert changes() == ""
    assert changes(train_dir="elsewhere", checkpoint_path="is/not/used") == ""
    said = changes(max_number_of_steps=9, batch_size=5)
    assert "now --batch_size=5 --max_number_of_steps=9, before --batch_size=10 --max_num" in said
    said = changes(moving_average_decay=0.5)
    assert "now --moving_average_decay=0.5, before the defaults." in said


def test_a_flag_that_only_has_another_name_has_not_changed(replaced, tmp_path):
    config = replaced(import_modules=["a.b"])
    flags = flag_lines(config).replace("--import_modules", "--network_module")
    assert "--network_module=a.b" in flags
    (tmp_path / run_folder.FLAGS_NAME).write_text(flags)
    assert run_folder.changed_flags(config, str(tmp_path)) == ""


def test_a_run_of_which_no_flags_are_known_says_nothing_of_them(config, tmp_path):
    assert run_folder.changed_flags(config, str(tmp_path)) == ""


NO_JSON = [b"", b'{"model_name": "tiny"', b"\xff\xfe", b"[1]", b"\0" * 100]


@pytest.mark.parametrize("content", NO_JSON)
def test_a_damaged_description_is_named_and_stops_no_run(run, config, capsys, content):
    path = pathlib.Path(run.train_dir, "model.json")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.json is damaged or of another version"):
        ModelDescription.load(run.train_dir)
    assert prepared(config) == run.train_dir
    assert "model.json is damaged or of another version" in capsys.readouterr().out


@pytest.mark.parametrize("content", [*NO_JSON, b"--batch_size=\n--lr\n=\n"])
def test_damaged_flags_stop_no_run(config, tmp_path, content):
    (tmp_path / run_folder.FLAGS_NAME).write_bytes(content)
    run_folder.changed_flags(config, str(tmp_path))
    assert run_folder.batch_size_before(str(tmp_path)) is None
    (tmp_path / run_folder.FLAGS_NAME).unlink()
    (tmp_path / run_folder.FLAGS_NAME).mkdir()
    assert run_folder.changed_flags(config, str(tmp_path)) == ""


def test_the_batch_size_that_a_run_had_is_known(run):
    assert run_folder.batch_size_before(run.train_dir) == 10


def test_a_folder_without_a_description_has_none(run):
    assert ModelDescription.load(os.path.dirname(run.train_dir)) is None
