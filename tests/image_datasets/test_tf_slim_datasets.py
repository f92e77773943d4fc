import shutil

import pytest
from record_writers import record, write_flowers, write_labels, write_records

from image_datasets.dataset_factory import (
    class_names,
    default_validation_split,
    get_dataset,
    is_named_by_folder,
    respects_exif,
    short_name,
)


@pytest.mark.parametrize(
    ("name", "files", "split"),
    [
        ("cifar10", ["cifar10_train.tfrecord", "cifar10_test.tfrecord"], "test"),
        ("mnist", ["mnist_train.tfrecord", "mnist_test.tfrecord"], "train"),
        ("flowers", ["flowers_validation_00000-of-00001.tfrecord"], "validation"),
        ("flowers", ["flowers_train-00000-of-00001.tfrecord"], "train"),
        ("imagenet", ["train-00000-of-00001", "validation-00000-of-00001"], "validation"),
        ("visualwakewords", ["val.record-00000-of-00001"], "validation"),
    ],
)
def test_records_of_tf_slim_are_recognized_by_their_names(tmp_path, capsys, name, files, split):
    for file in files:
        write_records(tmp_path / file, [record(b"image", 1)])
    write_records(tmp_path / "others_train.tfrecord", [])  # of another dataset in the same folder
    write_labels(tmp_path, ["background", "person"])
    folder = str(tmp_path)
    dataset = get_dataset(name, split, folder)
    assert (dataset.name, dataset.num_examples) == (name, 1)
    assert dataset.class_names == ("background", "person")
    assert dataset.describe(0).startswith(f"record 0 of {folder}")
    assert is_named_by_folder(name, folder)
    assert not respects_exif(name, folder)
    assert short_name(name, folder) == name
    said = capsys.readouterr().out
    assert said == f"{name}: the records in {folder}, as TF-Slim's scripts write them.\n"


def test_a_pattern_can_be_given_with_the_name(tmp_path):
    folder = write_flowers(tmp_path)
    dataset = get_dataset("flowers", "train", f"{folder}/flowers_%s_00001*")
    assert (dataset.name, dataset.num_examples) == ("flowers", 10)
    assert short_name("flowers", f"{folder}/flowers_%s_00001*") == "flowers"


@pytest.mark.parametrize("name", ["flowers", "tfrecord"])
def test_a_split_whose_files_are_not_all_there_is_refused(tmp_path, name):
    folder = write_flowers(tmp_path)
    (tmp_path / "flowers_train_00001-of-00003.tfrecord").unlink()
    with pytest.raises(
        ValueError, match=r"1 of the 3 files .*flowers_train_\*-of-00003.* 00001\. "
    ):
        get_dataset(name, "train[:5]", folder)
    assert get_dataset(name, "validation", folder).num_examples == 21


def test_a_folder_that_tfds_is_to_make_is_no_pattern_of_records(tmp_path):
    assert not is_named_by_folder("cifar10", str(tmp_path / "data[1]"))
    assert is_named_by_folder("cifar10", str(tmp_path / "%s.rec"))


def test_imagenet_needs_no_label_file(tmp_path):
    write_records(tmp_path / "validation-00000-of-00001", [record(b"image", 1000)])
    dataset = get_dataset("imagenet", "validation", str(tmp_path))
    assert dataset.class_names == ("background", *class_names("imagenet2012"))


@pytest.mark.parametrize(
    ("name", "tfds_name"), [("flowers", "tf_flowers"), ("imagenet", "imagenet2012")]
)
def test_without_records_the_dataset_of_tfds_is_taken_and_a_line_says_so(
    tmp_path, capsys, name, tfds_name
):
    expected = tuple(sorted(class_names(tfds_name)))  # as TF-Slim numbers them
    assert class_names(name, str(tmp_path)) == expected
    said = capsys.readouterr().out
    assert said == (
        f"{name}: there are no records of TF-Slim's in {tmp_path}; TFDS's {tfds_name} is taken.\n"
    )
    assert class_names(name) == expected
    assert not is_named_by_folder(name)
    assert not respects_exif(name)
    assert short_name(name) == name


def test_flowers_of_tfds_are_read_under_tf_slims_name(real_data_dir, capsys):
    dataset = get_dataset("flowers", "train[:10]", real_data_dir)
    assert (dataset.name, dataset.num_examples) == ("tf_flowers", 10)
    assert "TFDS's tf_flowers is taken." in capsys.readouterr().out
    # TFDS has dandelion first.
    assert dataset.class_names == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert class_names("flowers", real_data_dir) == dataset.class_names
    other = get_dataset("tf_flowers", "train[:10]", real_data_dir)
    labels, others = (
        [one.class_names[int(example["label"])] for example in one.make_examples()]
        for one in (dataset, other)
    )
    assert labels == others
    specs = [one.make_examples().element_spec["label"] for one in (dataset, other)]
    assert specs[0] == specs[1]
    assert len(set(labels)) > 1


def test_cifar10_of_tfds_stays_what_it_is(tmp_path, real_data_dir, capsys):
    assert get_dataset("cifar10", "test[:10]", real_data_dir).describe(0).startswith("example 0 of")

    assert not is_named_by_folder("mnist", str(tmp_path))
    assert capsys.readouterr().out == ""


def test_what_was_prepared_under_a_name_of_tf_slims_is_found(shapes_dir, tmp_path):
    version = tmp_path / "flowers" / "1.0.0"
    shutil.copytree(f"{shapes_dir}/shapes/1.0.0", version)
    for path in version.iterdir():
        path.rename(version / path.name.replace("shapes-", "flowers-"))
    info = version / "dataset_info.json"
    info.write_text(info.read_text().replace('"shapes"', '"flowers"'))
    for folder in (tmp_path, version):
        dataset = get_dataset("flowers", "train", str(folder))
        assert (dataset.name, dataset.class_names[0]) == ("flowers", "arrow")


def test_visualwakewords_is_not_in_tfds(tmp_path):
    with pytest.raises(
        ValueError, match=r"like records of visualwakewords .*train\.record-.*--dataset_dir"
    ):
        get_dataset("visualwakewords", "train", str(tmp_path))
    with pytest.raises(ValueError, match=r"no records of visualwakewords\. Give the folder"):
        class_names("visualwakewords")


@pytest.mark.parametrize("name", ["flowers", "imagenet", "cifar10", "mnist"])
def test_where_tfds_has_nothing_either_it_is_said_what_was_looked_for(tmp_path, no_network, name):
    called = rf"No file in {tmp_path} is called like records of {name} .*, such as \w*train\S+\. "
    with pytest.raises(ValueError, match=rf"^{called}The dataset '.*{name}.*' is not prepared in"):
        get_dataset(name, "train", str(tmp_path))
    with pytest.raises(ValueError, match=r"^The folder .*/nowhere does not exist\. The dataset"):
        get_dataset(name, "train", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"^No file matches .*/\*\.none\. The dataset"):
        get_dataset(name, "train", str(tmp_path / "*.none"))
    with pytest.raises(ValueError, match=r"^The folder .*/other does not exist\. The dataset"):
        default_validation_split(name, str(tmp_path / "other"))
