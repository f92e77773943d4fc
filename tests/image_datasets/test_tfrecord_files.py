import os

import pytest

from image_datasets.tfrecord_files import find_record_files, patterns_in


@pytest.fixture
def touched(tmp_path):
    """Makes empty files, and returns their folder."""

    def touch(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return str(tmp_path)

    return touch


def names_of(found):
    return {
        split: [os.path.relpath(path, found.folder) for path in paths]
        for split, paths in found.splits.items()
    }


# Left what TF-Slim's scripts write, right what its readers call the pattern.
@pytest.mark.parametrize(
    ("names", "pattern", "splits"),
    [
        (
            ["flowers_validation_00000-of-00001.tfrecord", "flowers_train_00000-of-00001.tfrecord"],
            "flowers_%s_*.tfrecord",
            ["train", "validation"],
        ),
        (["flowers_train-00000-of-00001.tfrecord"], "flowers_%s-*.tfrecord", ["train"]),
        (
            ["cifar10_test.tfrecord", "cifar10_train.tfrecord"],
            "cifar10_%s.tfrecord",
            ["train", "test"],
        ),
        (["mnist_test.tfrecord"], "mnist_%s.tfrecord", ["test"]),
        (["train-00000-of-00001", "validation-00000-of-00001"], "%s-*", ["train", "validation"]),
        (
            ["val.record-00000-of-00001", "train.record-00000-of-00001"],
            "%s.record-*",
            ["train", "val"],
        ),
        (["Train.tfrecords"], "%s.tfrecords", ["Train"]),
        (["a-dev-3.tfrecord.gz"], "a-%s-*.tfrecord.gz", ["dev"]),
    ],
)
def test_the_pattern_is_worked_out_from_the_names(touched, names, pattern, splits):
    others = (
        "labels.txt",
        "train-images-idx3-ubyte.gz",
        "train.txt",
        "birds.txt",
        ".train.tfrecord",
        "strain.tfrecord",
    )
    folder = touched(*names, *others)
    found = find_record_files(folder)
    assert found.pattern == os.path.join(folder, pattern)
    assert found.folder == folder
    assert list(found.splits) == splits
    assert {name for paths in names_of(found).values() for name in paths} == set(names)
    assert names_of(find_record_files(found.pattern)).keys() == set(splits)


@pytest.mark.parametrize(
    ("pattern", "splits"),
    [
        ("%s/*", {"day": ["day/1.rec", "day/2.rec"], "night": ["night/1.rec"]}),
        ("%s/[2-9].rec", {"day": ["day/2.rec"]}),
        ("day/*", {"train": ["day/1.rec", "day/2.rec"]}),
        ("day/1.rec", {"train": ["day/1.rec"]}),
        ("[4].rec", {"train": ["[4].rec"]}),
        ("data_%s*", {"train": ["data_train_1.rec"], "test": ["data_test.rec"]}),
        ("%s/%s.rec", {"same": ["same/same.rec"]}),
    ],
)
def test_a_pattern_says_which_files_are_of_which_split(touched, pattern, splits):
    folder = touched(
        *("day/1.rec", "day/2.rec", "night/1.rec", "data_train_1.rec", "data_test.rec"),
        *("same/same.rec", "same/other.rec", "[4].rec"),
    )
    found = find_record_files(os.path.join(folder, pattern))
    below = {
        split: [os.path.relpath(path, folder) for path in paths]
        for split, paths in found.splits.items()
    }
    if pattern == "%s/*":
        below.pop("same")
    assert below == splits
    assert list(below) == list(splits)


def test_two_kinds_of_records_in_one_folder_are_to_be_told_apart(touched):
    folder = touched("cifar10_train.tfrecord", "mnist_train.tfrecord")
    message = r"several kinds: cifar10_%s\.tfrecord, mnist_%s.*='.*/cifar10_%s\.tfrecord'"
    with pytest.raises(ValueError, match=message):
        find_record_files(folder)
    assert find_record_files(folder, r"mnist_.*").pattern.endswith("mnist_%s.tfrecord")
    assert list(patterns_in(folder, "flowers.*")) == []


@pytest.mark.parametrize("where", ["", "*.tfrecord", "x_%s.tfrecord"])
def test_without_a_file_that_fits_it_is_said_which_are_there(touched, where):
    folder = touched("a.rec", "b.rec", "labels.txt")
    with pytest.raises(ValueError, match=r"No file .*In .* are: a\.rec, b\.rec, labels\.txt\."):
        find_record_files(os.path.join(folder, where))


@pytest.mark.parametrize("where", ["none", "none/*.tfrecord", "none/%s/a"])
def test_a_folder_that_is_not_there_is_named(tmp_path, where):
    with pytest.raises(ValueError, match=r"The folder .*/none does not exist\."):
        find_record_files(str(tmp_path / where))


def test_a_dataset_of_tfds_is_told_from_records(touched):
    folder = touched("cifar10-train.tfrecord-00000-of-00001", "features.json")
    with pytest.raises(ValueError, match="holds a dataset of TFDS: give its name"):
        find_record_files(folder)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (
            ["flowers_train_00000-of-00002.tfrecord"],
            ["1 of the 2", r"missing: 00001\.", "is 00000"],
        ),
        (
            ["flowers_train-00001-of-00003.tfrecord", "flowers_train-00002-of-00003.tfrecord"],
            ["1 of the 3", r"missing: 00000\.", r"are 00001, 00002\."],
        ),
        (["train-00007-of-00009"], ["8 of the 9", "missing: 00000, .* and 3 more", "is 00007"]),
        (["train.record-00000-of-00010"], ["9 of the 10"]),
        (["train-00000-of-00002.tfrecord.gz"], [r"train-\*-of-00002\.tfrecord\.gz is missing"]),
        (
            ["birds_train_1_of_3.tfrecord", "birds_train_3_of_3.tfrecord"],
            [r"missing: 2\. .* 1, 3\."],
        ),
        (
            ["train-00000-of-00001", "train-00000-of-00002"],  # of two times of writing
            [r"1 of the 2 files .*train-\*-of-00002 is missing: 00001"],
        ),
    ],
)
def test_files_that_others_promise_are_missed(touched, names, missing):
    folder = touched(*(f"data[1]/{name}" for name in names), "data[1]/labels.txt") + "/data[1]"
    with pytest.raises(ValueError, match=".*".join(missing) + ".*Copy what is missing there"):
        find_record_files(folder).check_complete("train")


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00002"],
        ["train-1-of-2.tfrecord", "train-2-of-2.tfrecord"],
        ["train-2.tfrecord"],
        ["train-1-of-123456789.tfrecord"],  # no number of files
    ],
)
def test_nothing_is_missed_where_all_are_there_that_are_promised(touched, names):
    find_record_files(touched(*names)).check_complete("train")


def test_two_complete_sets_of_one_split_are_told_apart(touched):
    """Whose writing was repeated into another number of files has all images twice."""
    twice = ["train-00000-of-00001.tfrecord"]
    twice += [f"train-0000{number}-of-00002.tfrecord" for number in range(2)]
    folder = touched(*twice, "val-00000-of-00001.tfrecord", "train_more-00000-of-00003.x")
    found = find_record_files(os.path.join(folder, "%s-*"))
    found.check_complete("val")
    message = r"train is there more than once.*-of-00001.*-of-00002.*Remove the files"
    with pytest.raises(ValueError, match=message):
        found.check_complete("train")
    for name in twice[1:]:
        os.remove(os.path.join(folder, name))
    find_record_files(os.path.join(folder, "%s-*")).check_complete("train")


def test_what_a_pattern_leaves_out_is_not_missed(touched):
    folder = touched("birds_train_00000-of-00003.rec", "birds_train_00002-of-00003.rec")
    for where in ("birds_%s_*[02]-of-*", "birds_train_00000*", "birds_train_00000-of-00003.rec"):
        find_record_files(os.path.join(folder, where)).check_complete("train")
    for where in ("birds_%s_*", "%s_train_*-of-00003.rec", "*.rec"):
        found = find_record_files(os.path.join(folder, where))
        with pytest.raises(ValueError, match=r"1 of the 3 files .* is missing: 00001\."):
            found.check_complete(next(iter(found.splits)))


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9_train.tfrecord")).touch()
    with pytest.raises(ValueError, match=r"1 name is not in UTF-8"):
        find_record_files(str(tmp_path))
