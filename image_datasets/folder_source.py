"""A folder of images per class as a dataset.

Two layouts are read:

    root/train/<class>/...  root/{val,validation,test}/<class>/...
    root/<class>/...

In the second, a hash of each file's path below the root puts it into "train" (80%) or
"validation" (20%), so that a file stays where it is when others are added.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping

from image_datasets.image_dataset import ImageDataset
from image_datasets.registry import DatasetSource, register_source

_NAME = "folder"

# No WebP: TensorFlow 2.21 refuses those with alpha, and crashes on animated ones.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
"""What an image's file name may end in, in any case."""

SPLIT_FOLDERS = ("train", "validation", "val", "test")
"""Folder names that mean a split rather than a class."""

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

    A class folder without images is no class. Hidden files and folders are ignored.

    Raises:
      ValueError: if the folder is missing, is a file, has no class folders, or has validation
        classes that training lacks.
    """
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.exists(root):
        raise ValueError(f"The folder {root} does not exist.")
    if not os.path.isdir(root):
        raise ValueError(f"{root} is a file; a folder of images per class was expected.")

    if split_names := _split_folders(root):
        files = {name: _files_by_class(root, name) for name in split_names}
        files = {name: classes for name, classes in files.items() if classes}
        _check_same_classes(root, files)
    else:
        files = _divided(_files_by_class(root, ""))
    class_names = tuple(sorted({name for classes in files.values() for name in classes}))
    if not class_names:
        raise ValueError(
            f"There are no class folders with images in {root}. Expected {root}/<class>/<image> or "
            f"{root}/train/<class>/<image>, images ending in "
            f"{', '.join(extension[1:] for extension in IMAGE_EXTENSIONS)}."
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
        for path in paths:
            split = "train" if _fraction(path) < _TRAIN_FRACTION else "validation"
            files[split].setdefault(name, []).append(path)
    return {split: classes for split, classes in files.items() if classes}


def _split_folders(root: str) -> list[str]:
    """Returns the folders of `root` that are splits; none where its folders are classes."""
    folders = _visible_folders(root)
    split_names = [name for name in SPLIT_FOLDERS if name in folders]
    if len(split_names) == len(folders):
        return split_names
    # Among other folders "train" may be a class, of vehicles say: then it holds images itself.
    if "train" in folders and not any(map(_is_image, os.listdir(os.path.join(root, "train")))):
        return split_names
    return []


def _files_by_class(root: str, split_folder: str) -> dict[str, list[str]]:
    """Returns, for each class folder with images, their paths below `root` with forward slashes."""
    parent = os.path.join(root, split_folder)
    prefix = f"{split_folder}/" if split_folder else ""
    files = {
        name: [f"{prefix}{name}/{path}" for path in _files_below(os.path.join(parent, name))]
        for name in _visible_folders(parent)
    }
    images = {name: list(filter(_is_image, paths)) for name, paths in files.items()}
    others = [path for paths in files.values() for path in paths if not _is_image(path)]
    empty = [name for name, paths in images.items() if not paths]
    if others:
        endings = sorted({os.path.splitext(path)[1] or "nothing" for path in others})
        _say_once(
            f"Not used: {len(others):,} files in {parent} that end in {', '.join(endings)}, such "
            f"as {others[0]}."
        )
    if empty and len(empty) < len(images):
        _say_once(f"No class in {parent}, for lack of images: {', '.join(empty)}.")
    return {name: paths for name, paths in images.items() if paths}


@functools.cache  # a folder is scanned for each of its splits
def _say_once(text: str) -> None:
    print(text)


def _files_below(folder: str) -> Iterator[str]:
    """Yields the paths of visible files in a class folder, relative, with forward slashes."""
    # Links are followed, as class folders are often links to a large disk; the real paths seen so
    # far keep a link to a parent from being followed forever.
    seen: set[str] = set()
    for directory, subfolders, names in os.walk(folder, followlinks=True):
        real_path = os.path.realpath(directory)
        if real_path in seen:
            subfolders.clear()
            continue
        seen.add(real_path)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            yield os.path.relpath(os.path.join(directory, name), folder).replace(os.sep, "/")


def _visible_folders(parent: str) -> list[str]:
    with os.scandir(parent) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS) and not os.path.basename(name).startswith(".")


def _check_same_classes(root: str, files: Mapping[str, Mapping[str, list[str]]]) -> None:
    """Raises ValueError if another split has a class that "train" lacks."""
    if "train" not in files:
        return
    for split, classes in files.items():
        unknown = sorted(set(classes) - set(files["train"]))
        if unknown:
            raise ValueError(
                f"{os.path.join(root, split)} has classes that "
                f"{os.path.join(root, 'train')} lacks: {', '.join(unknown)}. "
                f"Classes to train on: {', '.join(sorted(files['train']))}. "
                "Rename or remove the folders, or add images of these classes to train."
            )


@functools.cache
def _fraction(path: str) -> float:
    """Returns a number in 0 to 1 that depends on nothing but `path`."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
