import pytest
import tensorflow as tf

from training.checkpoints import finding


@pytest.fixture
def folder(tmp_path):
    """With checkpoints of the steps 9, 10 and 100, whose list names none of them."""
    for step in (9, 10, 100):
        tf.train.Checkpoint(step=tf.Variable(step)).write(str(tmp_path / f"model.ckpt-{step}"))
    (tmp_path / "checkpoint").write_text("damaged")
    return tmp_path


def test_the_highest_step_is_the_latest_whatever_the_list_says(folder):
    assert finding.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-100")
    (folder / "model.ckpt-100.index").unlink()
    assert finding.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-10")
    assert finding.latest_checkpoint(str(folder / "nowhere")) is None


@pytest.mark.parametrize(
    "given", ["", "checkpoint", "model.ckpt-100", "model.ckpt-100.index", "model.ckpt-100.meta"]
)
def test_a_checkpoint_is_meant_by_its_folder_and_by_any_of_its_files(folder, given):
    assert finding.find_checkpoint(str(folder / given)) == str(folder / "model.ckpt-100")
    data = folder / "model.ckpt-9.data-00000-of-00001"
    assert finding.find_checkpoint(str(data)) == str(folder / "model.ckpt-9")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "--checkpoint_path is not given"),
        ("empty", "is a folder without a checkpoint"),
        ("model.ckpt-11", "does not exist. It takes a train_dir"),
    ],
)
def test_what_is_no_checkpoint_is_said(folder, given, message):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        finding.find_checkpoint(given and str(folder / given))


def test_a_run_is_told_from_other_checkpoints(folder):
    prefix = str(folder / "model.ckpt-9")
    assert not finding.is_of_a_run(prefix)
    network = {"net/conv1/weights": tf.Variable([1.0])}
    tf.train.Checkpoint(network=network).write(prefix)
    assert finding.is_of_a_run(prefix)
    assert not finding.is_of_a_run(str(folder / "nowhere"))
