import os
import pathlib

import pytest
import tensorflow as tf
from record_writers import (
    imagenet_record,
    photo_records,
    record,
    write_labels,
    write_records,
)
from tiny_network import CLASSES, encode_photo

from image_datasets import tfrecord_counts
from image_datasets.dataset_factory import (
    class_names,
    default_validation_split,
    get_dataset,
    is_named_by_folder,
    respects_exif,
    short_name,
    split_sizes,
)
from image_datasets.label_names import imagenet_classes


def rows_of(dataset, stored=True):
    examples = dataset.stored_examples() if stored else dataset.examples()
    return list(examples.as_numpy_iterator())


def test_an_image_is_named_by_its_file_and_record(flowers):
    dataset = get_dataset("tfrecord", "train[9:]+validation[8:]", flowers)
    assert [dataset.describe(index).replace(flowers, "") for index in (0, 1, 11, 20, 21)] == [
        "record 9 of /flowers_train_00000-of-00003.tfrecord",
        "record 0 of /flowers_train_00001-of-00003.tfrecord",
        "record 0 of /flowers_train_00002-of-00003.tfrecord",
        "record 9 of /flowers_train_00002-of-00003.tfrecord",
        "record 1 of /flowers_validation_00001-of-00003.tfrecord",
    ]


def test_splits_overlap_as_those_of_other_sources_do(flowers):
    first = get_dataset("tfrecord", "train[:20]", flowers)
    assert first.num_shared(get_dataset("tfrecord", "train[15:]", flowers)) == 5
    assert first.num_shared(get_dataset("tfrecord", "validation", flowers)) == 0
    assert default_validation_split("tfrecord", flowers) == "validation"
    assert split_sizes("tfrecord", flowers) == {"train": 30, "validation": 21}


def test_what_is_not_asked_for_is_not_counted(flowers, monkeypatch):
    counted = []
    original = tfrecord_counts.labelled_records
    monkeypatch.setattr(
        tfrecord_counts,
        "labelled_records",
        lambda path, progress: counted.append(os.path.basename(path)) or original(path, progress),
    )
    assert default_validation_split("tfrecord", flowers) == "validation"
    assert class_names("tfrecord", flowers) == CLASSES
    assert counted == []
    get_dataset("tfrecord", "validation[:80%]", flowers)
    assert {name.partition("_0")[0] for name in counted} == {"flowers_validation"}


def test_a_fingerprint_goes_by_files_and_slices_and_not_by_the_place(flowers):
    fingerprints = {
        get_dataset("tfrecord", split, flowers).fingerprint
        for split in ("train", "train[:10]", "validation")
    }
    assert len(fingerprints) == 3
    moved = os.path.join(os.path.dirname(flowers), "moved")
    os.rename(flowers, moved)
    for path in pathlib.Path(moved).glob("flowers*"):
        os.utime(path)
    assert get_dataset("tfrecord", "train", moved).fingerprint in fingerprints
    write_records(f"{moved}/flowers_train_00000-of-00003.tfrecord", photo_records(3))
    assert get_dataset("tfrecord", "train", moved).fingerprint not in fingerprints


@pytest.mark.parametrize("where", ["{}", "{}/", "{}/flowers_%s_*.tfrecord"])
def test_what_is_made_of_records_is_called_after_their_folder(flowers, where):
    where = where.format(flowers)
    assert short_name("tfrecord", where) == "flowers_records"
    assert is_named_by_folder("tfrecord", where)
    assert not respects_exif("tfrecord", where)  # TF-Slim never turned a photo
    assert get_dataset("tfrecord", "train", where).num_examples == 30


def test_a_pattern_is_called_after_the_folder_that_it_begins_with(monkeypatch, tmp_path):
    assert short_name("tfrecord", "data/birds/%s/*.rec") == "birds"
    monkeypatch.chdir(tmp_path)
    assert short_name("tfrecord", "%s-*") == tmp_path.name


def test_a_pattern_without_a_split_is_all_of_one(flowers):
    dataset = get_dataset("tfrecord", "train", f"{flowers}/*.tfrecord")
    assert dataset.num_examples == 51
    one = f"{flowers}/flowers_train_00001-of-00003.tfrecord"
    assert get_dataset("tfrecord", "train[2:4]", one).num_examples == 2


def test_records_of_imagenet_have_the_ids_of_tfds_and_a_background_class(tmp_path):
    ids = class_names("imagenet2012")
    for split, labels in (("train", [1, 1000]), ("validation", [517])):
        records = [imagenet_record(encode_photo(0, 0), one, ids[one - 1]) for one in labels]
        write_records(tmp_path / f"{split}-00000-of-00001", records)
    write_labels(tmp_path, ["background", "tench, Tinca tinca", "..."])  # whatever is in there
    dataset = get_dataset("tfrecord", "validation", str(tmp_path))
    assert dataset.class_names == imagenet_classes()
    (row,) = rows_of(dataset)
    assert dataset.class_names[row["label"]] == ids[516]


def test_without_a_label_file_classes_are_numbers_which_all_splits_decide(write_split, capsys):
    write_split(record(b"", 0), record(b"", 3), labels=None)
    folder = write_split(record(b"", 5), split="test", labels=None)
    assert get_dataset("tfrecord", "train", folder).class_names == tuple("012345")
    assert class_names("tfrecord", folder) == tuple("012345")
    said = capsys.readouterr().out
    assert said == (
        f"There is no labels.txt in {folder}: its 6 classes are called by their numbers.\n"
    )


def test_without_a_label_file_labels_from_1_have_a_background_class(write_split, capsys):
    folder = write_split(record(b"", 1), record(b"", 2), labels=None)
    assert class_names("tfrecord", folder) == ("background", "1", "2")
    assert "numbers, of which 0 is taken for a background class." in capsys.readouterr().out


@pytest.mark.parametrize("label", [3, 1 << 40])
def test_a_label_without_a_name_is_named_with_its_record(write_split, label):
    folder = write_split(record(b"", 2), record(b"", label))
    message = (
        rf"Record 1 of .*a_train\.tfrecord has the label {label}\. .*labels\.txt has names for"
    )
    with pytest.raises(ValueError, match=message):
        get_dataset("tfrecord", "train[:1]", folder)
    write_labels(folder, "abcd")
    if label == 3:
        assert get_dataset("tfrecord", "train", folder).num_classes == 4


def test_a_class_that_is_not_told_is_minus_one_and_the_first_such_record_is_named(
    write_split, capsys
):
    folder = write_split(record(b"", 1), record(b"", -1), record(b"", -1))
    rows = rows_of(get_dataset("tfrecord", "train", folder))
    assert [row["label"] for row in rows] == [1, -1, -1]
    said = f"WARNING: record 1 of {folder}/a_train.tfrecord has the label -1, that of an image "
    assert capsys.readouterr().out.count(said) == 1
    write_split(record(b"", 1), record(b"", 0))
    get_dataset("tfrecord", "train", folder)
    assert "WARNING" not in capsys.readouterr().out


def test_contents_that_were_changed_are_found_with_the_record(write_split):
    """TensorFlow compares the checksum of the contents, when it reads them."""
    folder = write_split(*photo_records(2))
    path = pathlib.Path(folder, "a_train.tfrecord")
    contents = bytearray(path.read_bytes())
    # In the last image, wherever in its record that is: the order of features is not a given.
    contents[contents.rindex(encode_photo(len(CLASSES) - 1, 1)) + 100] ^= 1
    path.write_bytes(contents)
    dataset = get_dataset("tfrecord", "train", folder)
    with pytest.raises(tf.errors.DataLossError):
        rows_of(dataset)
    damage = dataset.find_damage()
    assert damage.startswith(f"{path} is damaged: record 5 cannot be read. Replace that file")


def test_a_file_that_lost_records_since_it_was_counted_is_named(write_split):
    folder = write_split(*photo_records(2))
    dataset = get_dataset("tfrecord", "train", folder)
    write_split(*photo_records(1))
    assert "a_train.tfrecord has 3 records, and had 6" in dataset.find_damage()


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("trian", "Unknown split of the records .*a_%s.*'trian'.*Did you mean 'train'"),
        ("train[9:]", "reaches outside the records .*these examples: train 3"),
        ("train[", "cannot be read"),
    ],
)
def test_a_split_that_is_wrong_is_explained(write_split, split, message):
    folder = write_split(*photo_records(1))
    with pytest.raises(ValueError, match=message):
        get_dataset("tfrecord", split, folder)


def test_the_folder_is_to_be_given():
    with pytest.raises(ValueError, match="'tfrecord' needs --dataset_dir"):
        get_dataset("tfrecord", "train")
