import random
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets import record_files, tfds_source
from image_datasets.dataset_factory import default_validation_split, get_dataset


class Recordings(tfds.core.GeneratorBasedBuilder):
    """A dataset without images, and one image feature too many in the other configuration."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS's own convention)
        tfds.core.BuilderConfig(name="sound", description=""),
        tfds.core.BuilderConfig(name="stereo", description=""),
        tfds.core.BuilderConfig(name="odd_names", description=""),
        tfds.core.BuilderConfig(name="pixels", description=""),
    ]

    def _info(self):
        label = tfds.features.ClassLabel(names=["a", "b"])
        image = tfds.features.Image(shape=(2, 2, 3))
        features = {
            "sound": {"sound": tfds.features.Tensor(shape=(3,), dtype=np.float32), "label": label},
            "stereo": {"left": image, "right": image, "label": label},
            "odd_names": {"photo": image, "species": label},
            "pixels": {"image": tfds.features.Tensor(shape=(2, 2, 3), dtype=np.uint8)}
            | {"label": label},
        }[self.builder_config.name]
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        image = np.zeros((2, 2, 3), np.uint8)
        values = {"sound": np.zeros(3, np.float32), "label": 1, "species": 1}
        for index in range(4):
            yield index, {key: values.get(key, image) for key in self.info.features}


@pytest.fixture
def recordings_dir(tmp_path):
    for config in Recordings.BUILDER_CONFIGS:
        Recordings(config=config.name, data_dir=str(tmp_path)).download_and_prepare()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "count", "classes", "magic"),
    [
        ("cifar10", "test[90%:]", 1_000, 10, b"\x89PNG"),
        ("cifar10", "train[49500:]+test[:1%]", 600, 10, b"\x89PNG"),
        ("cifar10:3.0.2", "test[:10]", 10, 10, b"\x89PNG"),
        ("tf_flowers", "train[80%:]", 734, 5, b"\xff\xd8\xff"),
    ],
)
def test_real_datasets(real_data_dir, name, split, count, classes, magic):
    dataset = get_dataset(name, split, real_data_dir)
    assert dataset.num_examples == count
    assert dataset.num_classes == len(set(dataset.class_names)) == classes
    rows = list(dataset.examples().as_numpy_iterator())
    assert [row["index"] for row in rows] == list(range(count))
    assert {row["label"] for row in rows} <= set(range(classes))
    assert all(row["image"].startswith(magic) for row in rows)
    assert dataset.describe(7) == f"example 7 of {name}, split {split}"


def test_an_index_finds_the_image_in_tfds(real_data_dir):
    # What a user does with "example 17 of cifar10, split train[10%:]".
    ours = list(get_dataset("cifar10", "train[10%:]", real_data_dir).examples().take(18))[17]
    theirs = tfds.load("cifar10", split="train[10%:]", data_dir=real_data_dir).skip(17)
    theirs = next(iter(theirs))
    assert ours["label"] == theirs["label"]
    np.testing.assert_array_equal(tf.io.decode_png(ours["image"]), theirs["image"])


def test_two_slices_are_the_whole(shapes_dir):
    def images(split):
        rows = get_dataset("shapes", split, shapes_dir).examples().as_numpy_iterator()
        return [row["image"] for row in rows]

    assert images("train[:80%]") + images("train[80%:]") == images("train")


def test_the_folder_of_the_dataset_itself_is_taken(real_data_dir):
    folder = f"{real_data_dir}/cifar10/3.0.2"
    assert get_dataset("cifar10", "test", folder).num_examples == 10_000
    with pytest.raises(ValueError, match="holds the dataset 'cifar10', but 'mnist' was asked for"):
        get_dataset("mnist", "test", folder)


def test_the_default_validation_split(real_data_dir):
    assert default_validation_split("cifar10", real_data_dir) == "test"
    assert default_validation_split("tf_flowers", real_data_dir) is None


def test_examples_within_flat_map(shapes_dir):
    dataset = get_dataset("shapes", "validation[:3]", shapes_dir)
    epochs = tf.data.Dataset.range(2).flat_map(lambda _: dataset.examples())
    assert [int(row["index"]) for row in epochs] == [0, 1, 2, 0, 1, 2]


def test_a_prepared_dataset_needs_neither_source_code_nor_network(
    shapes_dir, tmp_path, monkeypatch, no_network
):
    shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "private_shapes")
    folder = tmp_path / "private_shapes" / "1.0.0"
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("shapes-", "private_shapes-"))
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"shapes"', '"private_shapes"'))
    dataset = get_dataset("private_shapes", "train[:5]", str(tmp_path))
    assert len(list(dataset.examples())) == 5
    assert dataset.class_names[0] == "arrow"


def test_features_of_other_names_are_found(recordings_dir):
    dataset = get_dataset("recordings/odd_names", "train", recordings_dir)
    rows = list(dataset.examples().as_numpy_iterator())
    assert [row["label"] for row in rows] == [1] * 4


def test_pixels_that_are_no_file_are_passed_on(recordings_dir):
    dataset = get_dataset("recordings/pixels", "train[1:]", recordings_dir)
    for rows in (dataset.examples(), dataset.stored_examples()):
        images = [row["image"] for row in rows]
        assert len(images) == 3
        assert {(image.dtype, tuple(image.shape)) for image in images} == {(tf.uint8, (2, 2, 3))}


def test_stored_examples_are_those_that_slices_select(real_data_dir):
    dataset = get_dataset("cifar10", "test[5:]+train[:20]", real_data_dir)
    rows = list(dataset.stored_examples(9_990).as_numpy_iterator())
    assert [row["index"] for row in rows] == list(range(9_990, 10_015))
    expected = get_dataset("cifar10", "test[9995:]+train[:20]", real_data_dir)
    expected = list(expected.examples().as_numpy_iterator())
    assert [row["image"] for row in rows] == [row["image"] for row in expected]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("sound", "has no Image features, where one called 'image' is needed.*sound"),
        ("stereo", "has several Image features.*label, left, right"),
    ],
)
def test_datasets_that_are_not_labelled_images_are_refused(recordings_dir, config, message):
    with pytest.raises(ValueError, match=message):
        get_dataset(f"recordings/{config}", "train", recordings_dir)


def test_an_unknown_name_is_answered_with_near_ones_only(tmp_path):
    with pytest.raises(ValueError, match=r"'cifr10'\. Did you mean 'cifar10'") as info:
        get_dataset("cifr10", "train", str(tmp_path))
    assert len(str(info.value)) < 500
    for typo, meant in {"shaps": "shapes", "foldr": "folder"}.items():
        with pytest.raises(ValueError, match=f"Did you mean '{meant}'.* listed at https"):
            get_dataset(typo, "train", str(tmp_path))
    with pytest.raises(ValueError, match="name of the dataset is empty"):
        get_dataset(" ", "train")


def test_an_unknown_configuration_or_version_names_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match=r"'320'\. Did you mean '320px'"):
        get_dataset("imagenette/320", "train", str(tmp_path))
    with pytest.raises(ValueError, match="'cifar10' has no configurations; 'v2' was given"):
        get_dataset("cifar10/v2", "train", str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot be loaded at version 9.9.9, only: 3.0.2"):
        get_dataset("cifar10:9.9.9", "train", str(tmp_path))
    with pytest.raises(ValueError, match="Parsing builder name string a b c failed"):
        get_dataset("a b c", "train", str(tmp_path))


def test_without_network_a_missing_dataset_is_an_error_at_once(tmp_path, no_network):
    start = time.monotonic()
    with pytest.raises(ValueError, match="no network connection") as info:
        get_dataset("mnist", "train", str(tmp_path / "data"))
    # TFDS itself would retry for more than three minutes.
    assert time.monotonic() - start < 10
    assert f"not prepared in {tmp_path / 'data'}" in str(info.value)
    assert not (tmp_path / "data").exists()


def test_files_that_must_be_fetched_by_hand_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"ILSVRC2012_img_train\.tar"):
        get_dataset("imagenet2012", "train", str(tmp_path))


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file is a file; the folder of prepared datasets"):
        get_dataset("cifar10", "train", str(tmp_path / "file"))


def test_missing_records_are_named(shapes_dir, tmp_path):
    shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "shapes")
    (tmp_path / "shapes/1.0.0/shapes-train.tfrecord-00000-of-00001").unlink()
    with pytest.raises(ValueError, match=r"incomplete: .*shapes-train.tfrecord.* is missing"):
        get_dataset("shapes", "train", str(tmp_path))
    assert get_dataset("shapes", "validation", str(tmp_path)).num_examples == 50


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_records_of_tfds_that_were_cut_are_named_at_the_start(shapes_dir, tmp_path, share):
    shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "shapes")
    shard = tmp_path / "shapes/1.0.0/shapes-train.tfrecord-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[: int(share * shard.stat().st_size)])
    with pytest.raises(
        ValueError, match=f"'shapes' is damaged: {shard} .*Remove {shard.parent} and prepare the d"
    ):
        get_dataset("shapes", "train[:10]", str(tmp_path))
    assert get_dataset("shapes", "validation", str(tmp_path)).num_examples == 50


def test_records_of_tfds_that_are_damaged_inside_are_found(shapes_dir, tmp_path):
    shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "shapes")
    shard = tmp_path / "shapes/1.0.0/shapes-train.tfrecord-00000-of-00001"
    dataset = get_dataset("shapes", "train+validation", str(tmp_path))
    assert dataset.find_damage() is None
    contents = bytearray(shard.read_bytes())
    contents[1000] ^= 1
    shard.write_bytes(contents)
    assert dataset.find_damage().startswith(f"The dataset 'shapes' is damaged: {shard} cannot be")
    with pytest.raises(tf.errors.DataLossError):
        list(dataset.examples())


@pytest.mark.parametrize("by_its_folder", [False, True])
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("contents", [b"", b"{", b"null", b"3", b"\xff", b"[" * 100_000])
def test_damaged_descriptions_end_in_a_message(shapes_dir, tmp_path, name, contents, by_its_folder):
    folder = shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "shapes") / "1.0.0"
    (folder / name).write_bytes(contents)
    with pytest.raises(ValueError, match=r"damaged|cannot be read|[Ee]xpecting|decode"):
        get_dataset("shapes", "train", str(folder if by_its_folder else tmp_path))


def test_descriptions_are_those_that_were_written(shapes_dir, tmp_path):
    """Of a dataset with checksums: class names that are torn would be others without a word."""
    folder = shutil.copytree(f"{shapes_dir}/shapes", tmp_path / "shapes") / "1.0.0"
    records = {path.name: record_files.measured(path) for path in folder.iterdir()}
    (folder / "checksums.tsv").write_text(record_files.checksums_text(records))
    assert get_dataset("shapes", "train", str(tmp_path)).class_names[0] == "arrow"
    labels = folder / "label.labels.txt"
    labels.write_bytes(labels.read_bytes()[:-8])
    with pytest.raises(ValueError, match=f"{labels} is not as it was written. Remove {folder} and"):
        get_dataset("shapes", "train", str(tmp_path))


def test_an_empty_folder_in_place_of_a_dataset(tmp_path):
    (tmp_path / "shapes" / "1.0.0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is incomplete\. Remove that folder"):
        get_dataset("shapes", "train", str(tmp_path))


def test_python_random_numbers_are_left_alone(shapes_dir):
    random.seed(5)
    tfds_source.prepared_builder("shapes", shapes_dir)
    assert random.random() == random.Random(5).random()
