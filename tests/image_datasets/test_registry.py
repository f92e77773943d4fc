import pytest

from image_datasets import dataset_factory
from image_datasets.dataset_factory import DatasetSource, ImageDataset, register_source


class Numbers(DatasetSource):
    """Its images are whatever files it is told; where they lie does not matter."""

    def load(self, split, dataset_dir):
        files = {"train": [(f"{dataset_dir}/1.png", 0), (f"{dataset_dir}/2.png", 1)]}
        return ImageDataset.from_files("numbers", split, files, ("one", "two"))

    def class_names(self, dataset_dir):
        return ("one", "two")

    def split_sizes(self, dataset_dir):
        return {"train": 2}


def test_what_the_package_brings_is_registered():
    assert list(dataset_factory.sources) == ["folder", "shapes", "tfrecord"]


@pytest.mark.usefixtures("registries_restored")
def test_a_registered_source_answers_to_its_name_and_others_go_on_to_tfds(tmp_path):
    assert register_source("numbers")(Numbers) is Numbers
    assert dataset_factory.split_sizes(" numbers ") == {"train": 2}
    assert dataset_factory.get_dataset("numbers", "train", str(tmp_path)).num_examples == 2
    with pytest.raises(ValueError, match=r"'numbrs'. Did you mean 'numbers'.* TensorFlow Datasets"):
        dataset_factory.get_dataset("numbrs", "train", str(tmp_path))


@pytest.mark.usefixtures("registries_restored")
def test_the_home_folder_is_found_for_every_source(tmp_path, monkeypatch):
    register_source("numbers")(Numbers)
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = dataset_factory.get_dataset("numbers", "train", "~/photos")
    assert dataset.describe(0) == f"{tmp_path}/photos/1.png"


@pytest.mark.usefixtures("registries_restored")
def test_a_name_is_given_once_and_to_a_whole_source():
    with pytest.raises(ValueError, match="A dataset called 'folder' is registered already"):
        register_source("folder")(Numbers)

    class Unfinished(DatasetSource):
        pass

    with pytest.raises(TypeError, match="class_names"):
        register_source("unfinished")(Unfinished)
    assert "unfinished" not in dataset_factory.sources


def test_what_is_made_of_a_dataset_is_called_after_its_folder_or_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dataset_factory.is_named_by_folder(" folder ")
    assert not dataset_factory.is_named_by_folder("shapes")
    assert not dataset_factory.is_named_by_folder("imagenette/320px-v2")
    assert dataset_factory.respects_exif("folder")
    assert not dataset_factory.respects_exif("shapes")
    assert dataset_factory.short_name("folder", "data/photos/") == "photos"
    assert dataset_factory.short_name("folder", ".") == tmp_path.name
    assert dataset_factory.short_name("folder", "/") == "folder"
    assert dataset_factory.short_name("folder") == "folder"
    assert dataset_factory.short_name("imagenette/320px-v2", "data") == "imagenette/320px-v2"
    with pytest.raises(ValueError, match="'folder' needs --dataset_dir"):
        dataset_factory.class_names("folder")
