"""Files without contents, but for those that TensorFlow reads."""

import os

import numpy as np
import pytest
import tensorflow as tf

from training.checkpoints.files import (
    checkpoints_in,
    readable_path,
    remove_checkpoint,
    remove_leftovers,
    set_aside,
    step_of,
)

ENDINGS = (".index", ".data-00000-of-00002", ".data-00001-of-00002")


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of the steps 9 and 10, in a folder whose name is a pattern."""
    folder = tmp_path / "a[lr=0.01]"
    for step in (9, 10):
        touch(folder, *(f"model.ckpt-{step}{ending}" for ending in ENDINGS))
    return folder


def test_they_are_found_by_rising_step(folder):
    touch(folder, "other.index", "model.ckpt-11.data-00000-of-00001", "checkpoint")
    found = checkpoints_in(str(folder))
    assert found == [f"{folder}/model.ckpt-9", f"{folder}/model.ckpt-10"]
    assert [step_of(path) for path in found] == [9, 10]
    assert checkpoints_in(str(folder / "nowhere")) == []


def test_one_is_removed_and_no_other(folder):
    (folder / "model.ckpt-9_temp").mkdir()
    touch(folder, "model.ckpt-9.meta", "model.ckpt-90.index")
    remove_checkpoint(f"{folder}/model.ckpt-9")
    assert names_in(folder) == sorted(
        [*(f"model.ckpt-10{ending}" for ending in ENDINGS), "model.ckpt-90.index"]
    )


def test_one_that_is_set_aside_is_whole_and_not_found_any_more(folder):
    aside = set_aside(f"{folder}/model.ckpt-10")
    assert aside == f"{folder}/set_aside/model.ckpt-10"
    assert checkpoints_in(str(folder)) == [f"{folder}/model.ckpt-9"]
    assert names_in(folder / "set_aside") == sorted(f"model.ckpt-10{end}" for end in ENDINGS)
    # Another one of the same step takes its place.
    touch(folder, "model.ckpt-10.index")
    assert set_aside(f"{folder}/model.ckpt-10") == aside


def test_what_killed_runs_left_is_removed_and_nothing_else(folder):
    before = names_in(folder)
    (folder / "model.ckpt-11_temp").mkdir()
    touch(folder / "model.ckpt-11_temp", "part-00000-of-00001.data-00000-of-00001")
    touch(folder, "model.ckpt-12.data-00000-of-00001", "checkpoint.tmp0123")
    touch(folder, "x.json.0123abcd.incomplete")
    kept = ["checkpoint", "mine.data-00000-of-00001", "model.ckpt-best_temp", "notes_temp"]
    touch(folder, *kept)
    remove_leftovers(str(folder))
    assert names_in(folder) == sorted([*before, *kept])
    remove_leftovers(str(folder / "nowhere"))


@pytest.mark.parametrize(
    "name", ["plain", "a[lr=0.01]", "b]", "c\\d", "e*f", "g?h", "[!i]", "j{k,l}", "m n#%:é"]
)
def test_tensorflow_reads_them_whatever_the_folder_is_called(tmp_path, name, monkeypatch):
    prefix = tf.train.Checkpoint(v=tf.Variable([1.0, 2.0])).write(
        str(tmp_path / name / "model.ckpt-1")
    )
    assert checkpoints_in(str(tmp_path / name)) == [prefix]
    for given in (prefix, os.path.relpath(prefix, tmp_path)):
        monkeypatch.chdir(tmp_path)
        with readable_path(given) as path:
            value = tf.train.load_variable(path, "v/.ATTRIBUTES/VARIABLE_VALUE")
            np.testing.assert_array_equal(value, [1, 2])
            variable = tf.Variable([0.0, 0.0])
            tf.train.Checkpoint(v=variable).read(path).assert_consumed()
            np.testing.assert_array_equal(variable, [1, 2])


@pytest.mark.parametrize("version", [1, 2])
def test_the_name_of_a_checkpoint_may_be_a_pattern_too(write_tensorflow_1, tmp_path, version):
    path = write_tensorflow_1({"a/weights": np.ones(3, np.float32)}, "a[1].ckpt", version=version)
    with readable_path(path) as readable:
        np.testing.assert_array_equal(tf.train.load_variable(readable, "a/weights"), 1)
