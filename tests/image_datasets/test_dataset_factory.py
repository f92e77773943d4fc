import os
import subprocess
import sys

import pytest
from record_writers import write_flowers

from image_datasets.dataset_factory import (
    DatasetSource,
    ImageDataset,
    default_validation_split,
    get_dataset,
    register_source,
)


def test_names_and_splits_may_have_spaces_around_them(shapes_dir):
    dataset = get_dataset(" shapes ", " train[:5] + validation[:5] ", shapes_dir)
    assert dataset.name == "shapes"
    assert dataset.num_examples == 10


def test_getting_a_dataset_leaves_tensorflow_unstarted(tmp_path, write_images):
    # Virtual devices and multi-worker strategies can only be set up before its runtime starts,
    # and a driver may want to look at the dataset first.
    root = write_images("train/a/1.png", "train/b/1.png")
    records = write_flowers(tmp_path / "records", num_train=3, num_validation=3, num_shards=1)
    program = f"""
import tensorflow as tf
from image_datasets import shapes
from image_datasets.dataset_factory import class_names, get_dataset, split_sizes
shapes.NUM_TRAIN_EXAMPLES = shapes.NUM_VALIDATION_EXAMPLES = 10
cpu = tf.config.list_physical_devices("CPU")[0]
datasets = [
    ("folder", {str(root)!r}), ("shapes", {str(tmp_path)!r}), ("tfrecord", {records!r})
]
for number, (name, folder) in enumerate(datasets):
    get_dataset(name, "train", folder), class_names(name, folder), split_sizes(name, folder)
    # Refused once the runtime has started.
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * (number + 2)
    )
    print("not started by", name)
print(len(tf.config.list_logical_devices("CPU")))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    expected = [*(f"not started by {name}" for name in ("folder", "shapes", "tfrecord")), "4"]
    assert result.stdout.splitlines() == expected, result.stderr


@pytest.mark.parametrize(
    ("splits", "found"),
    [
        (["test", "Valid", "train"], "Valid"),
        (["test", "val", "validation"], "validation"),
        (["val", "dev"], "val"),
        (["train", "Testing"], "Testing"),
        (["train", "extra"], None),
    ],
)
def test_the_split_to_validate_on_is_found_by_its_usual_names(registries_restored, splits, found):
    @register_source("numbered")
    class Numbered(DatasetSource):
        def load(self, split, dataset_dir):
            return ImageDataset.from_files("numbered", split, {"train": [("a", 0)]}, ["a"])

        def class_names(self, dataset_dir):
            return ("a",)

        def split_sizes(self, dataset_dir):
            return dict.fromkeys(splits, 1)

    assert default_validation_split("numbered") == found


@pytest.mark.parametrize("name", ["folder", "shapes", "cifar10"])
def test_a_folder_whose_name_is_not_utf8_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"1 name is not in UTF-8 in dataset_dir: .*caf\\xe9"):
        get_dataset(name, "train", f"{tmp_path}/{os.fsdecode(bytes([99, 97, 102, 0xE9]))}")


@pytest.mark.slow
def test_a_folder_of_photos_is_not_taken_for_where_datasets_are_kept(write_images):
    root = write_images("cat/1.png", "dog/1.png")
    for name in ("shapes", "cifar10:3.0.2", "imagenette/320px-v2"):
        with pytest.raises(ValueError, match=r"holds folders of images.* --dataset_name=folder\."):
            get_dataset(name, "train", str(root))
    assert sorted(os.listdir(root)) == ["cat", "dog"]
    (root / "shapes").mkdir()  # it is kept there, whatever else is
    with pytest.raises(ValueError, match="Unknown split"):
        get_dataset("shapes", "trian", str(root))


@pytest.mark.parametrize("name", ["{root}", "{root}/cat", "cat"])
def test_a_folder_is_no_name_of_a_dataset(write_images, monkeypatch, name):
    root = write_images("cat/1.png", "dog/1.png")
    monkeypatch.chdir(root)
    name = name.format(root=root)
    with pytest.raises(ValueError, match=f"--dataset_name=folder --dataset_dir={name}"):
        get_dataset(name, "train")
