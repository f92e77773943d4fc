"""Datasets by the name that a user types."""

from __future__ import annotations

import image_datasets.shapes  # noqa: F401 (registers the builder with TFDS)
from image_datasets import folder_source, tfds_source
from image_datasets.image_dataset import ImageDataset

# The names that are not TFDS's own, for messages.
_OWN_NAMES = ("folder", "shapes")

# In order of preference.
_VALIDATION_SPLITS = ("validation", "val", "test")


def get_dataset(name: str, split: str, dataset_dir: str | None = None) -> ImageDataset:
    """Returns one split of a dataset, prepared on first use.

    Args:
      name: "shapes", which is drawn on first use and needs no network; "folder", a folder of
        images per class; or any name of TFDS, such as "cifar10" or "imagenette/320px-v2".
      split: in TFDS syntax for every source: "train", "train[:80%]", "train+validation".
      dataset_dir: the folder of images for "folder"; otherwise where prepared datasets are kept,
        None for TFDS's default, ~/tensorflow_datasets.

    Returns:
      The dataset, with at least one example.

    Raises:
      ValueError: if the dataset or the split is unknown or empty; if the dataset is not prepared
        and cannot be downloaded, is incomplete, or does not consist of labelled images; if the
        folder is missing, is a file, or has no class folders. The message is for the user.
    """
    name, split = name.strip(), split.strip()
    if not name:
        raise ValueError("The name of the dataset is empty. Known: folder, shapes, any TFDS name.")
    if name == "folder":
        return folder_source.load_folder(split, dataset_dir)
    return tfds_source.load_tfds(name, split, dataset_dir, other_names=_OWN_NAMES)


def class_names(name: str, dataset_dir: str | None = None) -> tuple[str, ...]:
    """Returns the classes of a dataset in the order of its labels, without preparing it.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    name = name.strip()
    if name == "folder":
        return tuple(folder_source.scan_folder(dataset_dir).class_names)
    return tfds_source.class_names(name, dataset_dir, _OWN_NAMES)


def default_validation_split(name: str, dataset_dir: str | None = None) -> str | None:
    """Returns the split to validate on: "validation", "val" or "test", or None without any.

    A dataset that is not prepared is prepared, as only then its splits are known.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    splits = split_sizes(name, dataset_dir)
    return next((split for split in _VALIDATION_SPLITS if split in splits), None)


def split_sizes(name: str, dataset_dir: str | None = None) -> dict[str, int]:
    """Returns how many examples each split of a dataset has, which is prepared if it is not.

    Args:
      name: as in `get_dataset`.
      dataset_dir: as in `get_dataset`.

    Raises:
      ValueError: as in `get_dataset`.
    """
    name = name.strip()
    if name == "folder":
        folder = folder_source.scan_folder(dataset_dir)
        return {split: len(paths) for split, paths in folder.splits.items()}
    builder = tfds_source.prepared_builder(name, dataset_dir, _OWN_NAMES)
    return {split: info.num_examples for split, info in builder.info.splits.items()}
