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

    def make(optimizer="momentum", keep_averages=True, folder=tmp_path, **options):
        state = make_training_state(
            lambda: get_network_fn("tiny", 3),
            OptimizerSettings(optimizer=optimizer),
            keep_averages=keep_averages,
        )
        rate = tf.Variable([0.0, 1.0, 0.0], dtype=tf.float64)
        checkpoints = RunCheckpoints(
            str(folder), **state.variables_to_save(), learning_rate=rate, **options
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
        checkpoints.save_if_best(top_1, loss=1.0)
        if step == 3:  # as good later is no better
            assert names_in(tmp_path / "best") == ["model.ckpt-1.index"]
    assert names_in(tmp_path / "best") == ["model.ckpt-4.index"]
    assert checkpoints.best_top_1 == 0.7
    assert checkpoints.best() == f"{tmp_path}/best/model.ckpt-4"
    assert checkpoints.last() is None


def test_of_equal_accuracies_that_of_the_lowest_loss_is_the_best(make, tmp_path):
    """With 50 validation images there are 51 accuracies."""
    state, checkpoints = make()
    outcomes = [(0.5, 1.0), (0.5, 1.2), (0.5, 0.8), (0.4, 0.1), (0.5, 0.8)]
    for step, (top_1, loss) in enumerate(outcomes):
        state.step.assign(step)
        checkpoints.save_if_best(top_1, loss)
    assert names_in(tmp_path / "best") == ["model.ckpt-2.index"]
    checkpoints.save()
    state, again = make()  # the loss is taken up too
    again.resume()
    for step, loss, best in ((7, 0.9, 2), (8, 0.7, 8)):
        state.step.assign(step)
        again.save_if_best(0.5, loss)
        assert names_in(tmp_path / "best") == [f"model.ckpt-{best}.index"]


def test_a_run_of_an_earlier_version_keeps_its_best_until_one_is_more_accurate(make, tmp_path):
    """It did not save the loss of its best."""
    state, checkpoints = make()
    checkpoints._added.pop("best_loss")
    state.step.assign(1)
    checkpoints.save_if_best(0.5, 1.0)
    checkpoints.save()
    state, again = make()
    assert again.resume().lacks == ("best_loss",)
    for step, top_1, best in ((2, 0.5, 1), (3, 0.6, 3)):
        state.step.assign(step)
        again.save_if_best(top_1, 0.1)
        assert names_in(tmp_path / "best") == [f"model.ckpt-{best}.index"]


def test_it_knows_what_its_checkpoints_take(make, tmp_path):
    _, checkpoints = make(keep=2)
    size = checkpoints.num_bytes()
    assert checkpoints.bytes_to_come() == 4 * size  # two, the best, and one being written
    checkpoints.save()
    (data,) = tmp_path.glob("*.data-*")
    assert 0 <= data.stat().st_size - size < 4_000  # the names and counters are more
    checkpoints.save_if_best(0.5, 1.0)
    assert checkpoints.bytes_to_come() == 2 * size


def test_a_run_is_taken_up_with_all_that_it_was(make):
    state, checkpoints = make()
    generator = np.random.default_rng(0)
    saved = state.variables_to_save()
    for variable in (*saved["network"].values(), *saved["averages"].values()):
        variable.assign(generator.normal(size=variable.shape))
    state.step.assign(7)
    checkpoints.save_if_best(0.5, 1.0)
    checkpoints.save()
    other, again = make()
    assert again.resume().checkpoint == checkpoints.last()
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
    silent.save_if_best(0.5, 1.0)
    assert not names_in(tmp_path)
    assert silent.best_top_1 == 0.5  # so that all hosts agree on what is best
    _, chief = make()
    state.step.assign(3)
    chief.save()
    assert silent.resume().checkpoint == f"{tmp_path}/model.ckpt-0"


def test_a_full_disk_is_named_with_what_a_checkpoint_takes(make, tmp_path, monkeypatch):
    state, checkpoints = make(keep=4)
    checkpoints.save()

    def no_space(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left")

    monkeypatch.setattr(tf.train.Checkpoint, "write", no_space)
    state.step.assign(9)
    with pytest.raises(ValueError, match=r"step 9 could not .* no space is left") as error:
        checkpoints.save()
    assert "--keep_checkpoints=4 of them are kept" in str(error.value)
    assert f"The last complete one is {tmp_path}/model.ckpt-0" in str(error.value)


@pytest.mark.parametrize("named", ["a[lr=0.01]", "b\\c"])
def test_a_run_in_a_folder_whose_name_is_a_pattern_is_kept_and_taken_up(make, tmp_path, named):
    state, checkpoints = make(folder=tmp_path / named, keep=2)
    for step in (1, 2, 3):
        state.step.assign(step)
        checkpoints.save()
        checkpoints.save_if_best(step / 10, 1.0)
    assert names_in(tmp_path / named) == ["model.ckpt-2.index", "model.ckpt-3.index"]
    other, again = make(folder=tmp_path / named)
    again.resume()
    assert int(other.step) == 3


def saved(make, steps=(1, 2, 3)):
    state, checkpoints = make()
    checkpoints.save_if_best(0.5, 1.0)
    for step in steps:
        state.step.assign(step)
        checkpoints.save()
    return state, checkpoints


def damage(folder, step, how):
    """Damages the checkpoint of a step: "torn", "index" or the name of what gets an infinity."""
    prefix = pathlib.Path(folder, f"model.ckpt-{step}")
    data, index = (prefix.with_name(prefix.name + end) for end in (DATA, ".index"))
    if how == "torn":
        data.write_bytes(data.read_bytes()[:100])
    elif how == "empty":
        data.write_bytes(b"")
    elif how == "no data":
        data.unlink()
    elif how == "bits":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 255
        data.write_bytes(bytes(content))
    elif how == "torn index":
        index.write_bytes(index.read_bytes()[:50])
    elif how == "empty index":
        index.write_bytes(b"")
    else:
        raise AssertionError(how)


DATA = ".data-00000-of-00001"
DAMAGES = ["torn", "empty", "no data", "bits", "torn index", "empty index"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_one_is_refused_with_advice_that_loses_nothing(make, tmp_path, how):
    saved(make)
    damage(tmp_path, 3, how)
    before = names_in(tmp_path)
    _, other = make()
    with pytest.raises(ValueError, match=r"model\.ckpt-3 cannot be read: it is damaged") as error:
        other.resume()
    assert "--on_damaged_checkpoint=previous sets it aside" in str(error.value)
    assert f"{tmp_path}/model.ckpt-2" in str(error.value)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("how", DAMAGES)
def test_the_one_before_is_taken_if_that_is_asked_for(make, tmp_path, capsys, how):
    saved(make)
    damage(tmp_path, 3, how)
    damage(tmp_path, 2, how)
    state, other = make()
    assert other.resume("previous").checkpoint == f"{tmp_path}/model.ckpt-1"
    assert int(state.step) == 1
    printed = capsys.readouterr().out
    assert printed.count("WARNING: The checkpoint") == 2
    assert f"now {tmp_path}/set_aside/model.ckpt-3.*" in printed
    assert names_in(tmp_path) == ["model.ckpt-1.index"]
    assert names_in(tmp_path / "set_aside") == ["model.ckpt-2.index", "model.ckpt-3.index"]


def test_if_the_last_are_all_damaged_the_best_is_taken_and_never_moved(make, tmp_path):
    saved(make, steps=(1, 2))
    for step in (1, 2):
        damage(tmp_path, step, "torn")
    _state, other = make()
    assert other.resume("previous").checkpoint == f"{tmp_path}/best/model.ckpt-0"
    damage(tmp_path / "best", 0, "torn")
    _, other = make()
    # Not even when the command is given again is it begun anew.
    for on_damaged in ("previous", "previous"):
        with pytest.raises(ValueError, match=r"holds a run, but no checkpoint that it can go on"):
            other.resume(on_damaged)
    assert names_in(tmp_path / "best") == ["model.ckpt-0.index"]


def test_without_any_other_a_run_goes_on_from_its_best(make, tmp_path):
    state, checkpoints = make()
    state.step.assign(4)
    checkpoints.save_if_best(0.5, 1.0)
    other, again = make()
    assert again.resume().checkpoint == f"{tmp_path}/best/model.ckpt-4"
    assert int(other.step) == 4


def test_where_all_have_been_set_aside_a_run_is_not_begun_anew(make):
    state, checkpoints = make()
    state.step.assign(4)
    checkpoints.save()
    checkpoints.set_aside(0)
    with pytest.raises(ValueError, match=r"model\.ckpt-4 are damaged, or of weights that"):
        make()[1].resume()


def test_of_the_best_the_newest_is_kept_also_when_its_step_is_lower(make, tmp_path):
    state, checkpoints = make()
    for step, top_1 in ((9, 0.5), (6, 0.8)):  # the run has gone back in between
        state.step.assign(step)
        checkpoints.save_if_best(top_1, 1.0)
    assert names_in(tmp_path / "best") == ["model.ckpt-6.index"]


def test_what_is_set_aside_now_is_kept_however_much_is_there_already(make, tmp_path):
    state, checkpoints = make(keep=2)
    for steps in ((10, 11), (3, 4)):
        for step in steps:
            state.step.assign(step)
            checkpoints.save()
        checkpoints.set_aside(0)
    assert names_in(tmp_path / "set_aside") == [f"model.ckpt-{n}.index" for n in (10, 11, 3, 4)]


def test_a_checkpoint_of_the_users_own_is_never_removed(make, tmp_path):
    state, checkpoints = make(keep=1)
    (tmp_path / "precious-1.index").touch()
    for step in (1, 2, 3):
        state.step.assign(step)
        checkpoints.save()
    assert names_in(tmp_path) == ["model.ckpt-3.index", "precious-1.index"]


@pytest.mark.parametrize("error", [tf.errors.ResourceExhaustedError(None, None, ""), OSError(5)])
def test_a_save_that_fails_leaves_the_checkpoint_of_the_same_step(
    make, tmp_path, monkeypatch, error
):
    saved(make)
    _, checkpoints = make()
    checkpoints.resume()

    def fail(self, prefix):
        pathlib.Path(f"{prefix}_temp").mkdir()
        raise error

    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    with pytest.raises(ValueError, match=r"step 3 .*last complete one is .*model\.ckpt-3"):
        checkpoints.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_list_that_cannot_be_written_stops_nothing(make, tmp_path, capsys):
    (tmp_path / "checkpoint").mkdir()
    saved(make)
    assert names_in(tmp_path) == [f"model.ckpt-{step}.index" for step in (1, 2, 3)]
    assert "checkpoint cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["network", "averages", "optimizer"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_restored_is_checked(make, tmp_path, part, value):
    state, checkpoints = saved(make)
    variable = list(checkpoints._numbers[part].values())[-1]
    variable.assign(np.full(variable.shape, value))
    assert not checkpoints.is_finite()
    state.step.assign(4)
    checkpoints.save()
    other, again = make()
    with pytest.raises(ValueError, match=r"ckpt-4 holds NaNs or infinities\. --on_damaged"):
        again.resume()
    assert again.resume("previous").checkpoint == f"{tmp_path}/model.ckpt-3"
    assert again.is_finite()
    assert int(other.step) == 3


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"model_checkpoint_path: 3", b'model_checkpoint_path: "x"']
)
def test_tensorflows_list_decides_nothing(make, tmp_path, content):
    saved(make)
    (tmp_path / "checkpoint").write_bytes(content)
    state, other = make()
    assert other.resume().checkpoint == f"{tmp_path}/model.ckpt-3"
    state.step.assign(4)
    other.save()
    assert tf.train.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/model.ckpt-4"


def test_what_killed_runs_left_is_removed_when_a_run_is_taken_up(make, tmp_path):
    saved(make)
    for folder in (tmp_path, tmp_path / "best"):
        (folder / "model.ckpt-9_temp").mkdir()
    _, silent = make(writes=False)
    silent.resume()
    assert (tmp_path / "model.ckpt-9_temp").exists()  # the host that writes removes it
    _, other = make()
    other.resume()
    assert not list(tmp_path.rglob("*_temp"))


def test_a_save_that_is_broken_off_leaves_nothing(make, tmp_path, monkeypatch):
    state, checkpoints = saved(make)
    before = sorted(path.name for path in tmp_path.iterdir())

    def interrupted(self, prefix):
        pathlib.Path(f"{prefix}_temp").mkdir()
        pathlib.Path(f"{prefix}{DATA}").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.train.Checkpoint, "write", interrupted)
    state.step.assign(4)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_checkpoints_of_earlier_versions_lack_what_was_added_since(make):
    saved(make)
    added = {"progress": tf.Variable([5, 5]), "divergences": tf.Variable(5)}
    _state, other = make(added=added)
    assert other.resume().lacks == ("progress", "divergences")
    assert added["progress"].numpy().tolist() == [5, 5]
    added["progress"].assign([6, 7])
    other.save()
    again = {"progress": tf.Variable([0, 0]), "divergences": tf.Variable(0)}
    _, third = make(added=again)
    assert third.resume().lacks == ()
    assert again["progress"].numpy().tolist() == [6, 7]


def test_the_last_good_one_is_not_removed_for_those_that_may_be_ruined(make, tmp_path):
    state, checkpoints = make(keep=2)
    for step in range(1, 7):
        state.step.assign(step)
        checkpoints.save(good_step=min(step - 1, 2))
    assert names_in(tmp_path) == [f"model.ckpt-{step}.index" for step in (2, 5, 6)]
    assert checkpoints.set_aside(3) == [f"{tmp_path}/set_aside/model.ckpt-{n}" for n in (5, 6)]
    assert checkpoints.last() == f"{tmp_path}/model.ckpt-2"
    checkpoints.take_up(checkpoints.last())
    assert int(state.step) == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (tf.errors.PermissionDeniedError(None, None, "read-only"), "read-only"),
        (tf.errors.UnknownError(None, None, "Input/output error"), "Input/output error"),
        (OSError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_why_one_cannot_be_written_is_said(make, monkeypatch, error, message):
    state, checkpoints = saved(make)

    def fail(self, prefix):
        raise error

    monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    state.step.assign(4)
    with pytest.raises(ValueError, match=f"step 4 could not be written in .*: {message}"):
        checkpoints.save()
