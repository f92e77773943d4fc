import unicodedata

import pytest
import tensorflow as tf

from image_datasets.image_dataset import ImageDataset


def test_examples_are_made_anew_by_each_call_and_within_flat_map():
    dataset = ImageDataset(
        name="numbers",
        split="train",
        num_examples=3,
        class_names=("even", "odd"),
        make_examples=lambda: tf.data.Dataset.range(3).map(lambda i: {"label": i % 2, "index": i}),
        describe=lambda index: f"number {index}",
    )
    assert dataset.num_classes == 2
    epochs = tf.data.Dataset.range(2).flat_map(lambda _: dataset.examples())
    assert [int(row["index"]) for row in epochs] == [0, 1, 2, 0, 1, 2]
    assert [int(row["index"]) for row in dataset.stored_examples(1)] == [1, 2]


def files_of(root, *names):
    for name in names:
        (root / name).write_text(name)
    return [(name, label) for label, name in enumerate(names)]


def test_files_become_a_dataset_whose_splits_can_be_cut(tmp_path):
    files = {"train": files_of(tmp_path, "a", "b", "c"), "test": [("a", 0), ("c", -1)]}
    dataset = ImageDataset.from_files(
        "letters", "train[1:]+test", files, ["A", "B", "C"], root=str(tmp_path)
    )
    assert (dataset.num_examples, dataset.class_names) == (4, ("A", "B", "C"))
    for start in (0, 3):
        rows = list(dataset.stored_examples(start).as_numpy_iterator())
        assert [row["image"] for row in rows] == [b"b", b"c", b"a", b"c"][start:]
        assert [row["label"] for row in rows] == [1, 2, 0, -1][start:]
        assert [row["index"] for row in rows] == [0, 1, 2, 3][start:]
    assert dataset.describe(1) == str(tmp_path / "c")


def test_what_is_wrong_with_lists_of_files_is_said(tmp_path):
    files = {"train": files_of(tmp_path, "a", "b", "c"), "test": []}
    with pytest.raises(ValueError, match=r"c of my letters has the label 2; .* 2 classes allow 0"):
        ImageDataset.from_files("letters", "train", files, ["A", "B"], called="my letters")
    with pytest.raises(ValueError, match=r"split of my letters 'tst'. Did you mean 'test'"):
        ImageDataset.from_files("letters", "tst", files, ["A", "B", "C"], called="my letters")
    with pytest.raises(ValueError, match="'test' of letters selects no example"):
        ImageDataset.from_files("letters", "test", files, ["A", "B", "C"])


def test_splits_of_files_know_what_they_share_and_which_classes_they_lack(tmp_path):
    files = {"train": files_of(tmp_path, "a", "b", "c")}
    first, last, whole = (
        ImageDataset.from_files("letters", split, files, ["A", "B", "C"], root=str(tmp_path))
        for split in ("train[:2]", "train[1:]", "train")
    )
    assert first.num_shared(last) == last.num_shared(first) == 1
    assert first.num_shared(whole) == 2
    assert (first.absent_classes, last.absent_classes) == (("C",), ("A",))
    assert whole.absent_classes == ()


def test_labels_follow_names_to_other_classes(tmp_path):
    """By name, in either spelling of an accent; what has no name there is not told."""
    files = {"train": [*files_of(tmp_path, "a", "b", "c"), ("a", -1)]}
    names = ["B", unicodedata.normalize("NFD", "é"), "A"]
    dataset = ImageDataset.from_files("letters", "train", files, names, root=str(tmp_path))
    other = dataset.with_classes(["A", "B", "C", unicodedata.normalize("NFC", "é")])
    for rows in (other.examples(), other.stored_examples(), other.cached().examples()):
        labels = [int(row["label"]) for row in rows]
        assert labels == [1, 3, 0, -1]
    assert [int(row["label"]) for row in other.stored_examples(2)] == [0, -1]
    assert other.absent_classes == ("C",)
    fewer = dataset.with_classes(["A"])
    assert [int(row["label"]) for row in fewer.examples()] == [-1, -1, 0, -1]
    assert (fewer.class_names, fewer.describe(1)) == (("A",), str(tmp_path / "b"))
