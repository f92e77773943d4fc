"""Photos that are prepared by the library, without the command."""

import pathlib

import pytest

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation.directory import PreparationPlan, PreparedDirectory
from training.dataset_preparation.writing import write_dataset


def make_plan(splits, **values):
    """Of `splits`, name -> number of images, in files of eight."""
    return PreparationPlan(
        **{
            "prepared_name": "photos_test",
            "dataset_name": "folder",
            "dataset_dir": None,
            "splits": splits,
            "class_names": ["blue", "green", "red"],
            "image_size": 36,
            "encoding": "raw",
            "jpeg_quality": None,
            "examples_per_shard": 8,
            **values,
        }
    )


@pytest.fixture(scope="session")
def plan():
    """`plan(splits, name=value)`: of photos, other than the defaults in what is named."""
    return make_plan


@pytest.fixture(scope="session")
def write(photos):
    """`write(folder, name=value)` prepares the photos, or what is left of them, by such a plan."""

    def run(
        output_dir, *, source=("folder", photos), split_names=("train", "validation"), **values
    ):
        options = {
            name: values.pop(name)
            for name in ("skip_corrupt_images", "stop_requested")
            if name in values
        }
        name, dataset_dir = source
        datasets = {split: get_dataset(name, split, dataset_dir) for split in split_names}
        sizes = {split: dataset.num_examples for split, dataset in datasets.items()}
        directory = PreparedDirectory(
            str(output_dir), make_plan(sizes, dataset_name=name, **values)
        )
        assert not directory.is_finished()
        with directory.being_written():
            write_dataset(directory, datasets, dataset_dir=dataset_dir, **options)
        return directory

    return run


@pytest.fixture(scope="session")
def finished(write, tmp_path_factory):
    """The photos as raw pixels; not to be changed."""
    return write(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def files_of():
    def read(folder):
        """The contents of all files, by their paths in the folder."""
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(pathlib.Path(folder).rglob("*"))
            if path.is_file()
        }

    return read
