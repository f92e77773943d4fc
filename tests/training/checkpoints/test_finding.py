"""Which checkpoint is meant; most of these are files without contents."""

import os

import numpy as np
import pytest

from training.checkpoints.finding import (
    exists,
    find_checkpoint,
    is_of_a_run,
    is_tensorflow_v1,
    latest_checkpoint,
)


@pytest.fixture
def checkpoints(tmp_path):
    """Of steps 6, 30 and 200, of which the first was written last."""
    for time, step in enumerate((200, 30, 6)):
        for ending in (".index", ".data-00000-of-00001"):
            path = tmp_path / f"model.ckpt-{step}{ending}"
            path.touch()
            os.utime(path, (time, time))
    (tmp_path / "other.index").touch()
    return tmp_path


def test_the_last_is_that_of_the_highest_step(checkpoints):
    assert latest_checkpoint(str(checkpoints)) == str(checkpoints / "model.ckpt-200")
    for path in checkpoints.glob("model.ckpt-200.*"):
        path.unlink()  # as a user may do
    assert latest_checkpoint(str(checkpoints)) == str(checkpoints / "model.ckpt-30")
    assert latest_checkpoint(str(checkpoints / "nowhere")) is None


@pytest.mark.parametrize("ending", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_any_of_its_files_names_a_checkpoint(checkpoints, ending):
    given = str(checkpoints / f"model.ckpt-30{ending}")
    assert find_checkpoint(given) == str(checkpoints / "model.ckpt-30")


def test_a_folder_means_its_last_checkpoint_also_in_the_home_folder(checkpoints, monkeypatch):
    last = str(checkpoints / "model.ckpt-200")
    assert find_checkpoint(str(checkpoints)) == last
    (checkpoints / "checkpoint").write_text("")  # TensorFlow's list
    assert find_checkpoint(str(checkpoints / "checkpoint")) == last
    monkeypatch.setenv("HOME", str(checkpoints))
    assert find_checkpoint("~/model.ckpt-30") == str(checkpoints / "model.ckpt-30")
    assert exists("~/model.ckpt-30")
    assert not exists("~/model.ckpt-31")


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_tensorflow_1_needs_no_step_in_its_name(
    write_tensorflow_1, tmp_path, version
):
    path = write_tensorflow_1({"a/weights": np.zeros(3, np.float32)}, version=version)
    assert find_checkpoint(path) == path
    assert not is_of_a_run(path)
    if version == 1:
        assert is_tensorflow_v1(path)
    # TensorFlow's own list of checkpoints names it.
    for given in (tmp_path, tmp_path / "checkpoint", tmp_path / "slim.ckpt.meta"):
        if version == 2 or given.suffix:
            assert os.path.samefile(find_checkpoint(str(given)) + ".meta", path + ".meta")


def test_a_file_of_weights_is_taken_as_it_is(cifarnet_file):
    assert find_checkpoint(cifarnet_file) == cifarnet_file
    assert not is_of_a_run(cifarnet_file)
    assert not is_tensorflow_v1(cifarnet_file)


def test_a_run_is_known_by_what_its_checkpoint_holds(trained, checkpoints):
    assert is_of_a_run(f"{trained}/model.ckpt-6")
    # What is wrong with one that cannot be read is said where it is restored.
    assert is_of_a_run(str(checkpoints / "model.ckpt-30"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "--checkpoint_path is not given; it takes a train_dir or a checkpoint"),
        ("", "--checkpoint_path is not given"),
        (
            "nowhere",
            "nowhere does not exist. It takes a train_dir, .* a file of weights, or zoo:NAME",
        ),
        ("model.ckpt-7", "model.ckpt-7 does not exist"),
        ("empty", "empty is a folder without a checkpoint. To take a file of weights"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_taken(checkpoints, monkeypatch, path, message):
    monkeypatch.chdir(checkpoints)
    (checkpoints / "empty").mkdir()
    (checkpoints / "empty" / "checkpoint").write_bytes(b"\xff\xfe no list")
    with pytest.raises(ValueError, match=message):
        find_checkpoint(path)


@pytest.mark.parametrize(("run", "given"), [("runs/a", "runs/a/best/"), (".", "best")])
def test_the_best_of_a_run_without_validation_is_named_with_what_there_is(
    checkpoints, tmp_path, monkeypatch, run, given
):
    folder = tmp_path / run
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if run != ".":
        for path in checkpoints.glob("model.ckpt-*"):
            path.rename(folder / path.name)
    with pytest.raises(ValueError, match=f"the run in {run} was not validated") as error:
        find_checkpoint(given)
    assert f"Give --checkpoint_path={run}, which takes its last, model.ckpt-200" in str(error.value)
    (folder / "best").mkdir()
    with pytest.raises(ValueError, match="is a folder without a checkpoint"):
        find_checkpoint(given)
