import keras
import pytest
import tensorflow as tf

from training.checkpoints.saving import RunCheckpoints


def make(folder, **options):
    weights = keras.Variable([1.0, 2.0], name="weights")
    step = tf.Variable(0, dtype=tf.int64)
    rate = tf.Variable([0.0], dtype=tf.float64)
    checkpoints = RunCheckpoints(
        str(folder),
        step=step,
        network={"net/weights": weights},
        optimizer=[],
        averages={},
        learning_rate=rate,
        **options,
    )
    return checkpoints, step, weights


def test_the_last_few_and_the_best_are_kept_and_taken_up(tmp_path):
    checkpoints, step, weights = make(tmp_path, keep=2)
    assert checkpoints.resume() is None
    for number, top_1 in enumerate((0.3, 0.5, 0.4, 0.5), start=1):
        step.assign(number)
        weights.assign([number, number])
        checkpoints.save_if_best(top_1)
        checkpoints.save()
    assert {path.name for path in tmp_path.glob("*.index")} == {
        "model.ckpt-3.index",
        "model.ckpt-4.index",
    }
    # As good later is no better.
    assert checkpoints.best() == str(tmp_path / "best" / "model.ckpt-2")
    resumed, step, weights = make(tmp_path)
    assert resumed.resume() == str(tmp_path / "model.ckpt-4")
    assert (int(step), weights.numpy().tolist()) == (4, [4.0, 4.0])
    assert resumed.best_top_1 == 0.5


def test_a_host_that_does_not_write_writes_nothing(tmp_path):
    checkpoints, step, _ = make(tmp_path, writes=False)
    step.assign(1)
    checkpoints.save()
    checkpoints.save_if_best(0.9)
    assert not list(tmp_path.rglob("*.index"))
    assert checkpoints.best_top_1 == 0.9  # it decides as the others do


def test_a_full_disk_is_said_with_what_one_takes(tmp_path, monkeypatch):
    checkpoints, step, _ = make(tmp_path)
    step.assign(1)
    checkpoints.save()

    def full(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "no space")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    step.assign(2)
    with pytest.raises(ValueError, match=r"step 2 could not be written.*model\.ckpt-1\. Free some"):
        checkpoints.save()
