"""Files that cannot be read: what stands in their place, and what is said of them."""

import os
import threading
import time

import pytest
import tensorflow as tf

from image_datasets import file_reading
from image_datasets.file_reading import UNREADABLE, read_files, unreadable_message
from image_datasets.image_dataset import ImageDataset


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(file_reading, "_SECONDS_BETWEEN", 0.02)


@pytest.fixture
def paths(tmp_path):
    """Forty files, of which each holds its name, and of which some cannot be read."""
    for number in range(40):
        (tmp_path / str(number)).write_text(str(number))
    (tmp_path / "3").unlink()
    (tmp_path / "17").unlink()
    (tmp_path / "17").symlink_to(tmp_path / "nowhere")
    (tmp_path / "18").unlink()
    (tmp_path / "18").mkdir()
    (tmp_path / "39").unlink()
    (tmp_path / "39").symlink_to("39")  # a circle
    return [str(tmp_path / str(number)) for number in range(40)]


EXPECTED = [str(number).encode() for number in range(40)]
for _number in (3, 17, 18, 39):
    EXPECTED[_number] = UNREADABLE


def dataset_of(paths):
    return ImageDataset.from_files(
        "numbers", "train", {"train": [(p, 0) for p in paths]}, ["number"]
    )


def test_what_cannot_be_read_is_marked_and_everything_else_stays_in_its_place(paths):
    dataset = dataset_of(paths)
    for start in (0, 3, 5, 39, 40):  # chunks begin elsewhere
        rows = list(dataset.stored_examples(start).as_numpy_iterator())
        assert [row["image"] for row in rows] == EXPECTED[start:]
        assert [row["index"] for row in rows] == list(range(start, 40))
    assert len(dataset.examples()) == 40


def test_files_may_be_read_in_a_graph_of_their_own(paths):
    assert list(tf.function(read_files)(tf.constant(paths[:20])).numpy()) == EXPECTED[:20]
    assert list(read_files(tf.constant([paths[3]])).numpy()) == [UNREADABLE]


def test_a_file_that_comes_back_is_read_after_all(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reading, "_SECONDS_BETWEEN", 2.0)
    path = tmp_path / "late"

    def write():
        time.sleep(0.3)
        path.write_text("here")

    writer = threading.Thread(target=write)
    writer.start()
    assert list(read_files(tf.constant([str(path)])).numpy()) == [b"here"]
    writer.join()


def test_a_file_that_is_taken_away_is_marked_in_the_next_epoch(paths):
    dataset = dataset_of(paths)
    epochs = dataset.examples().repeat(2).as_numpy_iterator()
    first = [next(epochs)["image"] for _ in range(40)]
    assert first == EXPECTED
    os.remove(paths[38])
    assert [row["image"] for row in epochs][38] == UNREADABLE


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (3, "No such file or directory"),
        (17, "No such file or directory"),
        (18, "is a directory"),
        (39, "Too many levels of symbolic links"),
    ],
)
def test_the_file_is_named_with_the_reason(paths, number, reason):
    message = unreadable_message(paths[number])
    assert message.startswith(f"This image cannot be read: {paths[number]}: ")
    assert reason.lower() in message.lower()
    assert "[Op" not in message


def test_a_name_that_is_not_utf8_and_a_file_that_is_there_again(tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b"/gr\xfcn.jpg")
    assert "No such file" in unreadable_message(name)
    with open(name, "w"):
        pass
    assert unreadable_message(name) == (
        f"This image could not be read, though it can be now: {name}."
    )
