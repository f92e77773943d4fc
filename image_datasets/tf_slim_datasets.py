"""The datasets of TF-Slim by its names for them: records of its scripts, or else what TFDS has.

`flowers` is a name that TFDS does not know, and `cifar10` one that it does. Whether records are
meant, the folder tells.
"""

from __future__ import annotations

import glob
import os
from typing import NamedTuple

from image_datasets.class_folders import say_once
from image_datasets.file_names import printable
from image_datasets.registry import DatasetSource
from image_datasets.tfds_source import TfdsSource
from image_datasets.tfrecord_files import SPLIT_MARK, is_pattern, patterns_in
from image_datasets.tfrecord_source import TfrecordSource


class _Dataset(NamedTuple):
    """A dataset of TF-Slim's factory.

    Attributes:
      accepts: a regular expression of how its script names the files, `%s` being the split.
      example: such a name.
      tfds_name: of the same images in TFDS; None if it has not got them.
    """

    accepts: str
    example: str
    tfds_name: str | None


# Of research/slim/datasets: what the scripts download_and_convert_* and build_* write.
_DATASETS = {
    "cifar10": _Dataset(r"cifar10_%s\.tfrecord", "cifar10_train.tfrecord", "cifar10"),
    "flowers": _Dataset(
        r"flowers_%s[_-].*\.tfrecord", "flowers_train_00000-of-00005.tfrecord", "tf_flowers"
    ),
    "imagenet": _Dataset(r"%s-\*", "train-00000-of-01024", "imagenet2012"),
    "mnist": _Dataset(r"mnist_%s\.tfrecord", "mnist_train.tfrecord", "mnist"),
    "visualwakewords": _Dataset(r"%s\.record-\*", "train.record-00000-of-00100", None),
}


def find_tf_slim_dataset(name: str, dataset_dir: str | None) -> DatasetSource | None:
    """Returns the source of a dataset of TF-Slim, and prints a line on what it is.

    Args:
      name: as a user typed it.
      dataset_dir: where the records may be, or their pattern.

    Returns:
      The records, or the dataset of TFDS that has the same images; None if TF-Slim has no dataset
      of this name, or `dataset_dir` holds one that was prepared under it.

    Raises:
      ValueError: if there are no records, and TFDS has no such dataset.
    """
    if name not in _DATASETS or (dataset_dir and _is_prepared(name, dataset_dir)):
        return None
    dataset = _DATASETS[name]
    where = f" in {printable(dataset_dir)}" if dataset_dir else ""
    if dataset_dir and _has_records(dataset_dir, dataset.accepts):
        say_once(f"{name}: the records{where}, as TF-Slim's scripts write them.")
        return TfrecordSource(name, dataset.accepts, is_imagenet=name == "imagenet")
    missed = _what_is_missed(name, dataset_dir) if dataset_dir else ""
    if dataset.tfds_name is None:
        raise ValueError(
            f"{missed or f'There are no records of {name}.'} Give the folder that TF-Slim's "
            "download_and_convert_data.py wrote them to as --dataset_dir."
        )
    if dataset.tfds_name != name:
        missing = f"there are no records of TF-Slim's{where}" if where else "no --dataset_dir"
        say_once(f"{name}: {missing}; TFDS's {dataset.tfds_name} is taken.")
    # TF-Slim numbers classes by the order of their names, and so do its checkpoints.
    return TfdsSource(dataset.tfds_name, sorts_classes=name == "flowers", missed=missed)


def _has_records(where: str, accepts: str) -> bool:
    if is_pattern(where):  # or the name of a folder that TFDS is to make
        return SPLIT_MARK in where or bool(glob.glob(where))
    return os.path.isdir(where) and bool(patterns_in(where, accepts))


def _what_is_missed(name: str, where: str) -> str:
    """Says why there are no records of a dataset in a place."""
    if is_pattern(where):
        return f"No file matches {printable(where)}."
    if not os.path.exists(where):
        return f"The folder {printable(where)} does not exist."
    return (
        f"No file in {printable(where)} is called like records of {name} that TF-Slim's scripts "
        f"write, such as {_DATASETS[name].example}."
    )


def _is_prepared(name: str, data_dir: str) -> bool:
    """Whether prepare_dataset wrote a dataset of that name to a folder, or that folder is it."""
    if os.path.exists(os.path.join(data_dir, "features.json")):
        return os.path.basename(os.path.dirname(os.path.abspath(data_dir))) == name
    versions = os.path.join(glob.escape(os.path.join(data_dir, name)), "*", "features.json")
    return bool(glob.glob(versions))
