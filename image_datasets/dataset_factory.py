"""Datasets by the name that a user types.

A source of one's own is a class derived from `DatasetSource`:

    @register_source("mine")
    class MyImages(DatasetSource): ...
"""

from __future__ import annotations

import glob
import itertools
import os
import re

# The imports of sources are what registers them.
from image_datasets import folder_source, shapes, tfrecord_source  # noqa: F401
from image_datasets.class_folders import holds_image, is_image
from image_datasets.file_names import check_utf8
from image_datasets.image_dataset import ImageDataset
from image_datasets.registry import DatasetSource, register_source, sources
from image_datasets.split_names import find_split
from image_datasets.tf_slim_datasets import find_tf_slim_dataset
from image_datasets.tfds_source import TfdsSource

__all__ = [
    "DatasetSource",
    "ImageDataset",
    "class_names",
    "default_validation_split",
    "get_dataset",
    "is_named_by_folder",
    "register_source",
    "respects_exif",
    "short_name",
    "sources",
    "split_sizes",
]

# In order of preference; other names that mean the same are found by them.
_VALIDATION_SPLITS = ("validation", "val", "test")


def get_dataset(name: str, split: str, dataset_dir: str | None = None) -> ImageDataset:
    """Returns one split of a dataset, prepared on first use.

    Args:
      name: of a registered source: "shapes", which is drawn on first use and needs no network,
        "folder", a folder of images per class, "tfrecord", records as TF-Slim's scripts write them,
        or one's own; of a dataset of TF-Slim, such as "flowers", whose records are taken if they
        are there; otherwise any name of TFDS, such as "cifar10" or "imagenette/320px-v2".
      split: in TFDS syntax for every source: "train", "train[:80%]", "train+validation".
      dataset_dir: the folder of images for "folder"; of records the folder, or a pattern of their
        files, in which %s is the split; for datasets of TFDS where prepared ones are kept, None for
        TFDS's default, ~/tensorflow_datasets.

    Returns:
      The dataset, with at least one example.

    Raises:
      ValueError: if the dataset or the split is unknown or empty; if the dataset is not prepared
        and cannot be downloaded, is incomplete, or does not consist of labelled images; if the
        folder is missing, is a file, or has no class folders. The message is for the user.
    """
    source, dataset_dir = _find(name, dataset_dir)
    return source.load(split.strip(), dataset_dir)


def class_names(name: str, dataset_dir: str | None = None) -> tuple[str, ...]:
    """Returns the classes of a dataset in the order of its labels, without preparing it.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    source, dataset_dir = _find(name, dataset_dir)
    return source.class_names(dataset_dir)


def default_validation_split(name: str, dataset_dir: str | None = None) -> str | None:
    """Returns the split to validate on: that for validation, else that for tests, else None.

    Which one it is says its name, in any case: see `split_names`.

    A dataset that is not prepared is prepared, as only then its splits are known.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    source, dataset_dir = _find(name, dataset_dir)
    splits = source.split_names(dataset_dir)
    found = (find_split(split, splits) for split in _VALIDATION_SPLITS)
    return next((split for split in found if split), None)


def split_sizes(name: str, dataset_dir: str | None = None) -> dict[str, int]:
    """Returns how many examples each split of a dataset has, which is prepared if it is not.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    source, dataset_dir = _find(name, dataset_dir)
    return source.split_sizes(dataset_dir)


def is_named_by_folder(name: str, dataset_dir: str | None = None) -> bool:
    """Returns whether `dataset_dir`, rather than the name, says which dataset it is."""
    return _source(name.strip(), dataset_dir).is_named_by_folder


def respects_exif(name: str, dataset_dir: str | None = None) -> bool:
    """Returns whether photos are turned as their cameras noted, where a user does not say."""
    source = _source(name.strip(), dataset_dir)
    return source.is_named_by_folder if source.respects_exif is None else source.respects_exif


def short_name(name: str, dataset_dir: str | None = None) -> str:
    """Returns what files that are made of a dataset can be called after.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Returns:
      The name; for "folder" and sources like it that of the folder, without those above it.
    """
    name = name.strip()
    folder = dataset_dir and os.path.expanduser(dataset_dir)
    return _source(name, dataset_dir).short_name(name, folder)


def _find(name: str, dataset_dir: str | None) -> tuple[DatasetSource, str | None]:
    """Returns the source of that name, and the folder as a source takes it."""
    name = name.strip()
    if not name:
        raise ValueError(
            f"The name of the dataset is empty. Known: {', '.join(sources)}, any TFDS name."
        )
    folder = dataset_dir and os.path.expanduser(dataset_dir)
    source = _source(name, dataset_dir)
    _check_not_meant_as_folder(name, source, folder)
    if source.is_named_by_folder and not dataset_dir:
        raise ValueError(
            f"The dataset {name!r} needs --dataset_dir, the folder that holds the images."
        )
    check_utf8([dataset_dir or ""], "dataset_dir")
    return source, folder


def _source(name: str, dataset_dir: str | None) -> DatasetSource:
    folder = dataset_dir and os.path.expanduser(dataset_dir)
    if name in sources:
        return sources[name]
    return find_tf_slim_dataset(name, folder) or TfdsSource(name)


def _check_not_meant_as_folder(name: str, source: DatasetSource, folder: str | None) -> None:
    """Raises ValueError where a user has photos, and has not said that they are the dataset."""
    path = os.path.expanduser(name)
    if name not in sources and os.path.isdir(path) and (os.sep in path or holds_image(path)):
        raise ValueError(
            f"The name of the dataset is {name}, which is a folder. For a folder of images give "
            f"--dataset_name=folder --dataset_dir={name}."
        )
    is_of_tfds = isinstance(source, TfdsSource)
    is_there = folder and os.path.isdir(os.path.join(folder, re.split(r"\W", name)[0]))
    if folder and is_of_tfds and not is_there and _holds_folders_of_images(folder):
        raise ValueError(
            f"--dataset_dir {folder} holds folders of images, and the dataset {name!r} is none of "
            "them: it would be put there. For these images give --dataset_name=folder."
        )


def _holds_folders_of_images(folder: str) -> bool:
    """Whether two folders in a folder have images in them, not in folders of their own."""
    images = glob.iglob(os.path.join(glob.escape(folder), "*", "*"))  # of what can be read
    found = itertools.groupby(filter(is_image, images), os.path.dirname)
    return len(list(itertools.islice(found, 2))) == 2
