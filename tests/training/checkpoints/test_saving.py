import pathlib

import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from training.checkpoints.saving import RunCheckpoints
from training.optimizers import OptimizerSettings
from training.training_state import make_training_state


@pytest.fixture
def make(tmp_path):
    """`make()`: the state of a run in this test's folder, and its checkpoints."""

    def make(optimizer="momentum", keep_averages=True, **options):
        state = make_training_state(
            lambda: get_network_fn("tiny", 3),
            OptimizerSettings(optimizer=optimizer),
            keep_averages=keep_averages,
        )
        rate = tf.Variable([0.0, 1.0, 0.0], dtype=tf.float64)
        checkpoints = RunCheckpoints(
            str(tmp_path), **state.variables_to_save(), learning_rate=rate, **options
        )
        return state, checkpoints

    return make


def names_in(folder):
    return sorted(path.name for path in pathlib.Path(folder).glob("*.index"))


def test_the_last_few_are_kept(make, tmp_path):
    state, checkpoints = make(keep=2)
    assert checkpoints.last() is None
    assert checkpoints.resume() is None
    for step in (1, 5, 12):
        state.step.assign(step)
        checkpoints.save()
    assert names_in(tmp_path) == ["model.ckpt-12.index", "model.ckpt-5.index"]
    assert checkpoints.last() == f"{tmp_path}/model.ckpt-12"


def test_one_is_the_best_and_it_is_that_of_the_highest_accuracy(make, tmp_path):
    state, checkpoints = make()
    assert checkpoints.best() is None
    assert checkpoints.best_top_1 == -1
    for step, top_1 in enumerate((0.0, 0.5, 0.4, 0.5, 0.7)):
        state.step.assign(step)
        checkpoints.save_if_best(top_1)
        if step == 3:  # as good later is no better
            assert names_in(tmp_path / "best") == ["model.ckpt-1.index"]
    assert names_in(tmp_path / "best") == ["model.ckpt-4.index"]
    assert checkpoints.best_top_1 == 0.7
    assert checkpoints.best() == f"{tmp_path}/best/model.ckpt-4"
    assert checkpoints.last() is None


def test_a_run_is_taken_up_with_all_that_it_was(make):
    state, checkpoints = make()
    generator = np.random.default_rng(0)
    saved = state.variables_to_save()
    for variable in (*saved["network"].values(), *saved["averages"].values()):
        variable.assign(generator.normal(size=variable.shape))
    state.step.assign(7)
    checkpoints.save_if_best(0.5)
    checkpoints.save()
    other, again = make()
    assert again.resume() == checkpoints.last()
    assert int(other.step) == 7
    assert again.best_top_1 == 0.5
    for part in ("network", "averages"):
        for name, value in other.variables_to_save()[part].items():
            np.testing.assert_array_equal(value.numpy(), saved[part][name].numpy())


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"keep_averages": False}])
def test_a_run_of_other_settings_is_not_taken_up(make, options):
    _, checkpoints = make()
    checkpoints.save()
    _, other = make(**options)
    with pytest.raises(ValueError, match=r"model\.ckpt-0 is of a run with other settings"):
        other.resume()


def test_of_several_hosts_all_read_and_one_writes(make, tmp_path):
    state, silent = make(writes=False)
    silent.save()
    silent.save_if_best(0.5)
    assert not names_in(tmp_path)
    assert silent.best_top_1 == 0.5  # so that all hosts agree on what is best
    _, chief = make()
    state.step.assign(3)
    chief.save()
    assert silent.resume() == f"{tmp_path}/model.ckpt-0"


def test_a_full_disk_is_named_with_what_a_checkpoint_takes(make, tmp_path, monkeypatch):
    state, checkpoints = make(keep=4)
    checkpoints.save()

    def no_space(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", no_space)
    state.step.assign(9)
    with pytest.raises(ValueError, match=r"step 9 could not .* no space is left") as error:
        checkpoints.save()
    assert "--keep_checkpoints=4 of them are kept" in str(error.value)
    assert f"The last complete one is {tmp_path}/model.ckpt-0" in str(error.value)
