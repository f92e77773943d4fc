"""The registry of sources of images, and what a source is.

A name that is not registered here is one of TFDS.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable
from typing import ClassVar, TypeVar

from image_datasets.image_dataset import ImageDataset
from slimzoo_registry import Registry

S = TypeVar("S", bound="type[DatasetSource]")


class DatasetSource(abc.ABC):
    """Where labelled images come from.

    `dataset_dir` is what the user gave, a leading "~" replaced by the home folder. It may be None,
    except where `is_named_by_folder`.
    """

    # Whether `dataset_dir`, rather than the name, says which dataset it is, as for "folder". It
    # must then be given, and what is made of the dataset is called after it.
    is_named_by_folder: ClassVar[bool] = False

    # Whether photos are turned as their cameras noted, where a user does not say; None is whether
    # they are from a folder of the user's own.
    respects_exif: ClassVar[bool | None] = None

    @abc.abstractmethod
    def load(self, split: str, dataset_dir: str | None) -> ImageDataset:
        """Returns one split, with at least one example.

        Args:
          split: in TFDS syntax: "train", "train[:80%]"; `ImageDataset.from_files` reads it.
          dataset_dir: see the class.

        Raises:
          ValueError: if there is no such split, or no such dataset. The message is for the user.
        """

    @abc.abstractmethod
    def class_names(self, dataset_dir: str | None) -> tuple[str, ...]:
        """Returns the names of the labels 0, 1, ..., the same for every split."""

    @abc.abstractmethod
    def split_sizes(self, dataset_dir: str | None) -> dict[str, int]:
        """Returns how many examples each split has."""

    def split_names(self, dataset_dir: str | None) -> list[str]:
        """Returns the names of the splits; overridden where sizes take long to find out."""
        return list(self.split_sizes(dataset_dir))

    def short_name(self, name: str, dataset_dir: str | None) -> str:
        """Returns what files that are made of the dataset can be called after.

        Args:
          name: as the user typed it.
          dataset_dir: see the class.
        """
        if dataset_dir and self.is_named_by_folder:
            return os.path.basename(os.path.abspath(dataset_dir)) or name
        return name


sources: Registry[DatasetSource] = Registry("dataset")


def register_source(name: str) -> Callable[[S], S]:
    """Returns a decorator that registers a source under the name that a user types.

    The class is instantiated without arguments. A name that TFDS has too is then this source's.

    Raises:
      ValueError: if the name is taken by another source.
      TypeError: if the class lacks a method of `DatasetSource`.
    """

    def decorator(cls: S) -> S:
        sources.register(name)(cls())
        return cls

    return decorator
