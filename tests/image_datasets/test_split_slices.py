import collections
import itertools

import pytest
import tensorflow_datasets as tfds

from image_datasets.split_slices import SplitSlice, num_shared, parse_split, slices_from


def split_info(name, *shard_lengths):
    return tfds.core.SplitInfo(name=name, shard_lengths=list(shard_lengths), num_bytes=0)


SPLITS = {"train": split_info("train", 60, 43), "test": split_info("test", 10)}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [("train", 0, 103)]),
        ("train[:80%]", [("train", 0, 82)]),
        ("train[80%:]", [("train", 82, 103)]),
        ("train[-3:]", [("train", 100, 103)]),
        ("train[1shard]", [("train", 60, 103)]),
        ("test + train[5:7]", [("test", 0, 10), ("train", 5, 7)]),
        ("all", [("train", 0, 103), ("test", 0, 10)]),
        # TFDS itself reads the whole of "train" for this one.
        ("train[80%:20%]+test", [("test", 0, 10)]),
    ],
)
def test_positions(split, expected):
    assert parse_split(split, SPLITS, "pets") == [SplitSlice(*part) for part in expected]


def test_percentages_cover_every_example_once():
    parts = [parse_split(f"train[{p}%:{p + 10}%]", SPLITS, "pets")[0] for p in range(0, 100, 10)]
    assert parts[0].start == 0
    assert parts[-1].stop == 103
    assert all(a.stop == b.start for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("trian", r"Unknown split of pets 'trian'. Did you mean 'train'\? Known: test, train"),
        ("train+tset", "Unknown split of pets 'tset'. Did you mean 'test'"),
        ("", "'' of pets cannot be read.* Splits that exist: train, test"),
        ("train[:80%", "cannot be read. Write a name, a slice or a sum"),
        ("train[::2]", "cannot be read"),
        ("all[:5]", "cannot be read"),
        ("train[:104]", r"reaches outside pets, .* train 103\."),
        ("train[:0]", "selects no example"),
        ("train[80%:20%]", "selects no example"),
        ("train[:101%]", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_split_is_said(split, message):
    with pytest.raises(ValueError, match=message):
        parse_split(split, SPLITS, "pets")


def test_what_is_left_of_slices_after_some_examples():
    slices = parse_split("test+train[10:20]", SPLITS, "numbers")
    assert slices_from(slices, 0) == slices
    assert slices_from(slices, 4) == [SplitSlice("test", 4, 10), SplitSlice("train", 10, 20)]
    assert slices_from(slices, 10) == [SplitSlice("train", 10, 20)]
    assert slices_from(slices, 13) == [SplitSlice("train", 13, 20)]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("Training[:50%] + TESTING", [("train", 0, 52), ("test", 0, 10)]),
        ("testing[2:3]", [("test", 2, 3)]),
    ],
)
def test_names_that_mean_the_same_are_found(split, expected):
    assert parse_split(split, SPLITS, "pets") == [SplitSlice(*part) for part in expected]


@pytest.mark.parametrize(
    ("split", "other", "count"),
    [
        ("train[80:]", "train", 23),
        ("train", "train[80:]", 23),
        ("train[:50]", "train[50:]", 0),
        ("test", "train", 0),
        ("test+train[40:60]", "train[50:]+train[:45]", 15),
        ("train[:10]", "train[:5]+train[2:8]+train[4:6]", 8),  # each counts once
        ("train[:5]+train[:5]", "train[3:]", 4),
        ("all", "all", 113),
    ],
)
def test_examples_that_two_splits_share(split, other, count):
    slices, others = (parse_split(one, SPLITS, "pets") for one in (split, other))
    assert num_shared(slices, others) == count
    positions = [
        {(part.name, position) for part in parts for position in range(part.start, part.stop)}
        for parts in (slices, others)
    ]
    assert len(positions[0] & positions[1]) == count or split == "train[:5]+train[:5]"


def test_the_size_of_a_split_that_is_not_asked_for_is_not_looked_at():
    class Sizes(collections.UserDict):
        def __getitem__(self, name):
            assert name != "train", "which has a million records to be counted"
            return super().__getitem__(name)

    assert parse_split("test[:50%]", Sizes(SPLITS), "pets") == [SplitSlice("test", 0, 5)]
