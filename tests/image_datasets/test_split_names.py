import pytest

from image_datasets.split_names import find_split, split_meaning


@pytest.mark.parametrize(
    ("meaning", "names"),
    [
        ("train", ["train", "Train", "TRAIN", "training", "Training"]),
        ("validation", ["validation", "val", "Val", "valid", "VALID", "Validation", "dev"]),
        ("test", ["test", "Test", "testing", "TESTING"]),
        (None, ["trains", "cat", "validation2", "", "all", "tést"]),
    ],
)
def test_usual_names_mean_a_split_in_any_case(meaning, names):
    assert {split_meaning(name) for name in names} == {meaning}


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("val", ["train", "val", "validation"], "val"),  # the very name comes first
        ("validation", ["train", "val"], "val"),
        ("Valid", ["train", "validation"], "validation"),
        ("valid", ["val", "validation"], None),  # which of them?
        ("vall", ["train", "val"], None),
        ("cat", ["dog", "cat "], None),
        ("Training", {"train": 3, "test": 2}, "train"),
    ],
)
def test_a_split_is_found_by_a_name_that_means_the_same(name, known, found):
    assert find_split(name, known) == found
