import hashlib
import pathlib
import random

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets import shapes, tfds_source
from image_datasets.dataset_factory import default_validation_split, get_dataset, split_sizes


@pytest.fixture
def few_shapes(monkeypatch):
    monkeypatch.setattr(shapes, "NUM_TRAIN_EXAMPLES", 20)
    monkeypatch.setattr(shapes, "NUM_VALIDATION_EXAMPLES", 10)


def file_hashes(data_dir):
    folder = pathlib.Path(data_dir, "shapes", "1.0.0")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.tfrecord*")
    }


@pytest.fixture(scope="module")
def drawn(shapes_dir):
    """The examples of each split as they are stored, read once."""
    return {
        split: list(get_dataset("shapes", split, shapes_dir).examples().as_numpy_iterator())
        for split in ("train", "validation")
    }


@pytest.mark.parametrize(("split", "count"), [("train", 200), ("validation", 50)])
def test_every_class_is_equally_frequent_in_256x256_jpegs(shapes_dir, drawn, split, count):
    dataset = get_dataset("shapes", split, shapes_dir)
    assert dataset.num_examples == count
    assert dataset.class_names == (
        "arrow", "circle", "crescent", "cross", "heart",
        "hourglass", "ring", "square", "star", "triangle",
    )  # fmt: skip
    rows = drawn[split]
    assert [row["index"] for row in rows] == list(range(count))
    np.testing.assert_array_equal(np.bincount([row["label"] for row in rows]), [count // 10] * 10)
    assert all(row["image"].startswith(b"\xff\xd8") for row in rows)
    sizes = {tuple(tf.io.extract_jpeg_shape(row["image"]).numpy()) for row in rows[::5]}
    assert sizes == {(256, 256, 3)}


def test_classes_are_mixed_so_that_slices_are_fair(drawn):
    counts = np.bincount([row["label"] for row in drawn["train"][:20]], minlength=10)
    assert counts.min() >= 1


def test_no_image_occurs_twice_nor_in_both_splits(drawn):
    assert len({row["image"] for rows in drawn.values() for row in rows}) == 250


@pytest.mark.slow
def test_the_whole_dataset_has_2500_images_no_two_of_them_equal(tmp_path):
    dataset = get_dataset("shapes", "train+validation", str(tmp_path))
    assert split_sizes("shapes", str(tmp_path)) == {"train": 2000, "validation": 500}
    rows = list(dataset.examples().as_numpy_iterator())
    assert len({row["image"] for row in rows}) == 2500
    np.testing.assert_array_equal(np.bincount([row["label"] for row in rows]), [250] * 10)


def test_the_default_validation_split(shapes_dir):
    assert default_validation_split("shapes", shapes_dir) == "validation"


def test_two_builds_have_the_same_bytes(few_shapes, tmp_path):
    for name in ("first", "second"):
        assert get_dataset("shapes", "train", str(tmp_path / name)).num_examples == 20
    first = file_hashes(tmp_path / "first")
    assert len(first) == 2
    assert first == file_hashes(tmp_path / "second")


def test_tfds_load_finds_it(few_shapes, tmp_path):
    rows, info = tfds.load("shapes", split="validation", data_dir=str(tmp_path), with_info=True)
    assert info.splits["validation"].num_examples == 10
    assert {row["image"].shape for row in rows} == {(256, 256, 3)}


@pytest.mark.parametrize("name", ["a[1]", "*", "a b#c:%?", "back\\slash{,}"])
def test_a_folder_whose_path_looks_like_a_pattern_is_one(few_shapes, tmp_path, monkeypatch, name):
    assert len(list(get_dataset("shapes", "train", str(tmp_path / name)).examples())) == 20
    monkeypatch.setattr(shapes, "draw_shape", None)  # it is found again
    assert get_dataset("shapes", "validation", str(tmp_path / name)).num_examples == 10


def test_what_is_told_goes_to_standard_error(few_shapes, tmp_path, capfd):
    get_dataset("shapes", "train", str(tmp_path))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Nothing is downloaded: 30 images are drawn" in printed.err


def test_an_interrupted_run_leaves_nothing_that_is_read(few_shapes, tmp_path, monkeypatch):
    drawn = []

    def draw_until_interrupted(*args):
        drawn.append(args)
        if len(drawn) == 25:
            raise KeyboardInterrupt
        return np.zeros((256, 256, 3), np.uint8)

    with monkeypatch.context() as context:
        context.setattr(shapes, "draw_shape", draw_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            get_dataset("shapes", "train", str(tmp_path))
    # As a killed process would leave it, which cannot clean up.
    torn = tmp_path / "shapes" / "incomplete.ABCDEF_1.0.0"
    torn.mkdir(parents=True)
    (torn / "shapes-train.tfrecord-00000-of-00001").write_bytes(b"half")
    rows = list(get_dataset("shapes", "train", str(tmp_path)).examples())
    assert len(rows) == 20


def test_a_build_that_another_process_finishes_first_is_used(few_shapes, tmp_path, monkeypatch):
    data_dir = str(tmp_path)
    draw_shape = shapes.draw_shape
    monkeypatch.setattr(shapes, "draw_shape", lambda *args: other_process(*args))

    def other_process(*args):
        monkeypatch.setattr(shapes, "draw_shape", draw_shape)
        tfds.builder("shapes", data_dir=data_dir).download_and_prepare()
        return draw_shape(*args)

    assert len(list(get_dataset("shapes", "train", data_dir).examples())) == 20


def test_seeded_processes_do_not_share_a_temporary_folder(few_shapes, tmp_path, monkeypatch):
    # TFDS names its temporary folder by Python's generator, which replicas seed alike.
    folders = set()
    encoder = shapes._JpegEncoder
    for name in ("first", "second"):
        data_dir = tmp_path / name

        def note_folder(data_dir=data_dir):
            folders.update(path.name for path in (data_dir / "shapes").iterdir())
            return encoder()

        monkeypatch.setattr(shapes, "_JpegEncoder", note_folder)
        random.seed(0)
        tfds_source.prepared_builder("shapes", str(data_dir))
        assert random.random() == random.Random(0).random()
    assert len(folders) == 2
