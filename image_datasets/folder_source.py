"""A folder of images per class as a dataset.

Two layouts are read:

    root/train/<class>/...  root/{val,validation,test}/<class>/...
    root/<class>/...

In the first, splits may be called by any of their usual names, in any case: see `split_names`. A
split is called train, validation or test, except that a folder "val" keeps its name.

In the second, a hash of each file's path below the root puts it into "train" (80%) or
"validation" (20%), so that a file stays where it is when others are added. A class that would have
no training image gets one: the one that is nearest to being one.

A folder "train" among others may be a class, of vehicles say. What is inside decides: it is a
split if most of its images lie in two or more folders of its own. What was taken for what is said.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Mapping

from image_datasets.class_folders import (
    IMAGE_EXTENSIONS,
    files_by_class,
    holds_classes,
    holds_image,
    say_once,
    visible_folders,
)
from image_datasets.file_names import listed, printable
from image_datasets.image_dataset import ImageDataset
from image_datasets.registry import DatasetSource, register_source
from image_datasets.split_names import split_meaning
from image_datasets.tfrecord_files import patterns_in

_NAME = "folder"

# In the order in which splits are listed.
_SPLITS = ("train", "validation", "val", "test")

_TRAIN_FRACTION = 0.8


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """What was found below a folder.

    Attributes:
      root: the folder.
      class_names: of all splits together, sorted.
      files: for each split with images, path below the root and label of each, in the order of
        examples.
    """

    root: str
    class_names: tuple[str, ...]
    files: Mapping[str, tuple[tuple[str, int], ...]]


@register_source(_NAME)
class FolderSource(DatasetSource):
    """The images below `dataset_dir`.

    Their order mixes the classes, by a hash of the paths, so that "train[:10%]" is a fair sample.
    """

    is_named_by_folder = True

    def load(self, split: str, dataset_dir: str | None) -> ImageDataset:
        """Returns one split; `describe` gives the path of an image."""
        folder = scan_folder(str(dataset_dir))
        return ImageDataset.from_files(
            _NAME,
            split,
            folder.files,
            folder.class_names,
            root=folder.root,
            called=f"the folder {folder.root}",
        )

    def class_names(self, dataset_dir: str | None) -> tuple[str, ...]:
        """Returns the names of the class folders, sorted."""
        return scan_folder(str(dataset_dir)).class_names

    def split_sizes(self, dataset_dir: str | None) -> dict[str, int]:
        """Returns how many images each split with images has."""
        return {split: len(rows) for split, rows in scan_folder(str(dataset_dir)).files.items()}


def scan_folder(root: str) -> ImageFolder:
    """Finds classes, splits and images below `root`, without reading any image.

    A class folder without images is no class. Hidden files and folders are ignored. A line is
    printed for each kind of thing that is not used, and where it is not plain what is a split.

    Raises:
      ValueError: if the folder is missing, is a file, cannot be read, or has no class folders; if
        it has validation classes that training lacks, two folders for one split, or names that
        are not in UTF-8.
    """
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.exists(root):
        raise ValueError(f"The folder {root} does not exist.")
    if not os.path.isdir(root):
        raise ValueError(f"{root} is a file; a folder of images per class was expected.")

    if split_folders := _split_folders(root):
        files = _files_by_split(root, split_folders)
    else:
        classes = files_by_class(root)
        _say_if_classes_may_be_deeper(root, classes)
        files = _divided(classes)
    class_names = tuple(sorted({name for classes in files.values() for name in classes}))
    if not class_names:
        records = " It holds records: give --dataset_name=tfrecord." if patterns_in(root) else ""
        raise ValueError(
            f"There are no class folders with images in {root}. Expected {root}/<class>/<image> or "
            f"{root}/train/<class>/<image>, images ending in "
            f"{', '.join(extension[1:] for extension in IMAGE_EXTENSIONS)}.{records}"
        )
    label_of_class = {name: label for label, name in enumerate(class_names)}
    return ImageFolder(
        root=root,
        class_names=class_names,
        files={
            split: tuple(
                sorted(
                    ((path, label_of_class[name]) for name in classes for path in classes[name]),
                    key=lambda row: (_fraction(row[0]), row[0]),
                )
            )
            for split, classes in files.items()
        },
    )


def _divided(classes: Mapping[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Puts the files of each class into "train" or "validation", by the hash of their paths."""
    files: dict[str, dict[str, list[str]]] = {"train": {}, "validation": {}}
    for name, paths in classes.items():
        first = min(paths, key=_fraction)  # what is not in training at all cannot be learned
        for path in paths:
            in_training = path == first or _fraction(path) < _TRAIN_FRACTION
            files["train" if in_training else "validation"].setdefault(name, []).append(path)
    return {split: classes for split, classes in files.items() if classes}


def _files_by_split(root: str, split_folders: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Returns the files of each class of each split that has any.

    Raises:
      ValueError: if two folders mean the same split, or if a split has a class that "train" lacks.
    """
    files: dict[str, dict[str, list[str]]] = {}
    folder_of_meaning: dict[str | None, str] = {}
    folder_of_path: dict[str, str] = {}
    for folder, split in split_folders.items():
        classes = files_by_class(os.path.join(root, folder), f"{folder}/")
        if not classes:
            continue
        meaning = split_meaning(folder)
        other = folder_of_meaning.setdefault(meaning, folder)
        if {folder, other} == {"validation", "val"}:  # which were two splits from the beginning
            say_once(
                f"{printable(root)} has both validation and val, which are two splits: validation "
                "is taken where none is named."
            )
        elif other != folder:
            raise ValueError(
                f"{printable(root)} has two folders for the split {meaning}: {other} and {folder}. "
                "Put the images of both into one, or give one of them a name that is no split's."
            )
        files[split] = classes
        same = folder_of_path.setdefault(os.path.realpath(os.path.join(root, folder)), folder)
        if same != folder:
            say_once(f"WARNING: {same} and {folder} of {printable(root)} are the same folder.")
    for split, classes in files.items():
        unknown = sorted(set(classes) - set(files.get("train", classes)))
        if unknown:
            # By the names of the folders, with which the paths begin.
            other, train = (
                printable(os.path.join(root, next(iter(files[name].values()))[0].split("/")[0]))
                for name in (split, "train")
            )
            raise ValueError(
                f"{other} has classes that {train} lacks: "
                f"{listed(unknown)}. Classes to train on: {listed(sorted(files['train']))}. "
                "Rename or remove the folders, or add images of these classes to train."
            )
    return files


def _split_folders(root: str) -> dict[str, str]:
    """Returns the folders of `root` that are splits, with the split's name; none if it has classes.

    A line says what was taken for what, where someone else might have taken it for another thing.
    """
    folders = visible_folders(root)
    meanings = {name: meaning for name in folders if (meaning := split_meaning(name))}
    if not meanings:
        return {}
    others = [
        name for name in folders if name not in meanings and holds_image(os.path.join(root, name))
    ]
    if others:
        likely = [name for name in meanings if holds_classes(os.path.join(root, name))]
        if len(likely) < 2 and "train" not in map(meanings.get, likely):
            say_once(
                f"In {printable(root)}, {listed(sorted(meanings))} "
                f"{'is taken for a class' if len(meanings) == 1 else 'are taken for classes'} "
                f"like {listed(others)}. If that is wrong, move {listed(others)} elsewhere."
            )
            return {}
    names = {
        folder: folder.lower() if folder.lower() in _SPLITS else meaning
        for folder, meaning in meanings.items()
    }
    names = dict(sorted(names.items(), key=lambda item: _SPLITS.index(item[1])))
    if others or any(folder != name for folder, name in names.items()):
        splits = [
            name if name == folder else f"{folder} as {name}" for folder, name in names.items()
        ]
        unused = f" Not used beside them: {listed(others)}." if others else ""
        say_once(f"Splits in {printable(root)}: {', '.join(splits)}.{unused}")
    return names


def _say_if_classes_may_be_deeper(root: str, classes: Mapping[str, list[str]]) -> None:
    """Prints a warning if folders that are taken for classes hold folders of the same names."""
    inner = {
        name: {path.split("/")[-2] for path in paths}
        for name, paths in classes.items()
        if all(path.count("/") > 1 for path in paths)
    }
    counts = collections.Counter(itertools.chain.from_iterable(inner.values()))
    shared = sorted(name for name, count in counts.items() if count > 1 or len(classes) == 1)
    if len(shared) > 1:
        outer = sorted(name for name, names in inner.items() if not names.isdisjoint(shared))
        say_once(
            f"WARNING: {listed(outer)} of {printable(root)} "
            f"{'is taken for a class' if len(outer) == 1 else 'are taken for classes'}. If the "
            f"folders in there ({listed(shared)}) are the classes, give the folder around them as "
            "--dataset_dir, or call it train, and the one to validate on validation."
        )


@functools.cache
def _fraction(path: str) -> float:
    """Returns a number in 0 to 1 that depends on nothing but `path`."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
