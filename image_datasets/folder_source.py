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

import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.image_dataset import ImageDataset
from image_datasets.split_slices import parse_split

# No WebP: TensorFlow 2.21 refuses those with alpha, and crashes on animated ones.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
"""What an image's file name may end in, in any case."""

SPLIT_FOLDERS = ("train", "validation", "val", "test")
"""Folder names that mean a split rather than a class."""

_TRAIN_FRACTION = 0.8

_ACCEPTED = (
    f"Expected {{root}}/<class>/<image> or {{root}}/train/<class>/<image>, "
    f"images ending in {', '.join(extension[1:] for extension in IMAGE_EXTENSIONS)}."
)


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """What was found below a folder.

    Attributes:
      root: the folder.
      class_names: of all splits together, sorted.
      splits: for each split with images, the paths below the root, in the order of examples.
      labels: the label of each path.
    """

    root: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, int]


def load_folder(split: str, root: str | None) -> ImageDataset:
    """Reads one split of a folder of images.

    The order mixes the classes, by a hash of the paths, so that "train[:10%]" is a fair sample.

    Args:
      split: in TFDS syntax, of the splits that the folder has.
      root: the folder.

    Returns:
      The dataset; `describe` gives the path of an image.

    Raises:
      ValueError: if the folder is missing, is a file, has no class folders, has validation
        classes that training lacks, or lacks the split.
    """
    folder = scan_folder(root)
    dataset = f"the folder {folder.root}"
    split_infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=[len(paths)], num_bytes=0)
        for name, paths in folder.splits.items()
    }
    paths = [
        path
        for part in parse_split(split, split_infos, dataset)
        for path in folder.splits[part.name][part.start : part.stop]
    ]
    labels = [folder.labels[path] for path in paths]

    @functools.cache
    def path_and_label_tensors() -> tuple[tf.Tensor, tf.Tensor]:
        # Made once, outside any graph, so that a graph refers to a million paths rather than
        # holding a copy; and on first use, because a tensor starts TensorFlow's runtime, after
        # which multi-worker strategies can no longer be set up.
        with tf.init_scope(), tf.device("CPU:0"):
            full_paths = [os.fsencode(os.path.join(folder.root, path)) for path in paths]
            return tf.constant(full_paths), tf.constant(labels, tf.int64)

    def make_examples(start: int = 0) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices(path_and_label_tensors()).enumerate()
        return rows.skip(start).map(
            lambda index, row: {"image": tf.io.read_file(row[0]), "label": row[1], "index": index},
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    return ImageDataset(
        name="folder",
        split=split,
        num_examples=len(paths),
        class_names=folder.class_names,
        make_examples=make_examples,
        describe=lambda index: os.path.join(folder.root, paths[index]),
        make_stored_examples=make_examples,
    )


def scan_folder(root: str | None) -> ImageFolder:
    """Finds classes, splits and images below `root`, without reading any image.

    A class folder without images is no class. Hidden files and folders are ignored.

    Raises:
      ValueError: as `load_folder` does.
    """
    if not root:
        raise ValueError(
            "The dataset 'folder' needs dataset_dir, the folder that holds the images. "
            + _ACCEPTED.format(root="dataset_dir")
        )
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.exists(root):
        raise ValueError(f"The folder {root} does not exist.")
    if not os.path.isdir(root):
        raise ValueError(f"{root} is a file; a folder of images per class was expected.")

    if split_names := _split_folders(root):
        files = {name: _files_by_class(root, name) for name in split_names}
        files = {name: classes for name, classes in files.items() if classes}
        _check_same_classes(root, files)
        splits = {
            name: [path for paths in classes.values() for path in paths]
            for name, classes in files.items()
        }
        classes_of_path = {
            path: name
            for classes in files.values()
            for name, paths in classes.items()
            for path in paths
        }
    else:
        classes = _files_by_class(root, "")
        classes_of_path = {path: name for name, paths in classes.items() for path in paths}
        splits = {
            "train": [path for path in classes_of_path if _fraction(path) < _TRAIN_FRACTION],
            "validation": [path for path in classes_of_path if _fraction(path) >= _TRAIN_FRACTION],
        }
    if not classes_of_path:
        raise ValueError(
            f"There are no class folders with images in {root}. " + _ACCEPTED.format(root=root)
        )
    class_names = tuple(sorted(set(classes_of_path.values())))
    label_of_class = {name: label for label, name in enumerate(class_names)}
    return ImageFolder(
        root=root,
        class_names=class_names,
        splits={
            name: tuple(sorted(paths, key=lambda path: (_fraction(path), path)))
            for name, paths in splits.items()
            if paths
        },
        labels={path: label_of_class[name] for path, name in classes_of_path.items()},
    )


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
