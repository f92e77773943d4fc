"""Finds the image files below folders, without reading any, and says what it did not take.

Hidden files and folders are ignored without a word, and so is `lost+found`, the file system's own.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Iterator

from image_datasets.file_names import check_utf8, listed, printable, same_spelling

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
"""What an image's file name may end in, in any case."""

# Photos that are not decoded, by what their files end in.
_TO_CONVERT = {".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".dng", ".cr2", ".nef"}

_FOLDER, _FILE = "folder", "file"

# Why something is not used, as it is called: one of it, and several.
_BROKEN = ("broken link", "broken links")
_SEEN = (
    "link to a folder that is read already",
    "links to folders that are read already",
)
_SPECIAL = ("pipe, socket or device", "pipes, sockets or devices")
_LOOSE = ("image outside the class folders", "images outside the class folders")


def files_by_class(parent: str, prefix: str = "") -> dict[str, list[str]]:
    """Finds the images of each class folder, and prints a line for each kind that is not used.

    Args:
      parent: the folder of class folders.
      prefix: put before each path, with its slash: "train/".

    Returns:
      For each class with images, whose name is its folder's in NFC, the paths below `parent` with
      forward slashes. Folders whose names differ only in how accents are spelled are one class.

    Raises:
      ValueError: if a folder cannot be read, or a name is not in UTF-8.
    """
    unused = _Unused(parent)
    files: dict[str, list[str]] = {}
    for name, kind in _entries(parent, prefix, unused):
        if kind == _FILE:
            if is_image(name):
                unused.add(_LOOSE, prefix + name)
            continue
        images = files.setdefault(same_spelling(name), [])
        for path in _files_below(os.path.join(parent, name), f"{prefix}{name}/", unused):
            if is_image(path):
                images.append(path)
            else:
                ending = os.path.splitext(path)[1] or "nothing"
                unused.add_ending(ending, path)
    unused.say()
    check_utf8((path for images in files.values() for path in images), parent)
    empty = [name for name, images in files.items() if not images]
    if empty and len(empty) < len(files):
        say_once(
            f"Folders without images in {printable(parent)}, which are no classes: {listed(empty)}."
        )
    return {name: images for name, images in files.items() if images}


def images_below(folder: str) -> tuple[list[str], dict[str, str]]:
    """Finds the images in a folder, at any depth; prints a line for each kind that is not used.

    A link to a folder is followed once, so that links in a circle come to an end.

    Args:
      folder: to look in.

    Returns:
      The paths of the images, sorted, each beginning with `folder`; and for each folder that cannot
      be read, why. Names that are not UTF-8 are as Python gives them, with surrogates.
    """
    unused = _Unused(folder)
    problems: dict[str, str] = {}
    paths = []
    for path in _files_below(folder, "", unused, problems, is_class=False):
        if is_image(path):
            paths.append(os.path.join(folder, path))
        else:
            unused.add_ending(os.path.splitext(path)[1] or "nothing", path)
    unused.say()
    return sorted(paths), problems


def holds_image(folder: str) -> bool:
    """Returns whether there is an image in a folder or below; looks no further than the first."""
    return any(map(is_image, _files_below(folder, "", _Unused(folder))))


def holds_classes(folder: str) -> bool:
    """Returns whether a folder looks like one of class folders, rather than a class itself.

    That is: two or more of its folders have images, and more lie in these than beside them.
    """
    unused = _Unused(folder)
    entries = list(_entries(folder, "", unused))
    num_loose = sum(kind == _FILE and is_image(name) for name, kind in entries)
    num_classes = num_images = 0
    for name, kind in entries:
        if kind == _FOLDER:
            before = num_images
            for path in _files_below(os.path.join(folder, name), "", unused):
                num_images += is_image(path)
                if num_images > num_loose:
                    break  # of a million images, a few are looked at
            num_classes += num_images > before
        if num_classes >= 2 and num_images > num_loose:
            return True
    return False


def visible_folders(parent: str) -> list[str]:
    """Returns the names of the folders in a folder, sorted."""
    entries = _entries(parent, "", _Unused(parent))
    return [name for name, kind in entries if kind == _FOLDER]


def is_image(name: str) -> bool:
    """Returns whether a file is taken for an image, by its name."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


class _Unused:
    """What was found in a folder and is not used: how much of each kind, and the first of it."""

    def __init__(self, parent: str):
        self._parent = parent
        self._counts: dict[tuple[str, str], int] = {}
        self._first: dict[tuple[str, str], str] = {}
        self._endings: dict[str, str] = {}
        self._num_endings = 0

    def add(self, kind: tuple[str, str], path: str) -> None:
        """Notes a path of a kind."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first.setdefault(kind, path)

    def add_ending(self, ending: str, path: str) -> None:
        """Notes a file that ends in what images do not end in."""
        self._endings.setdefault(ending, path)
        self._num_endings += 1

    def say(self) -> None:
        """Prints a line for each kind."""
        where = printable(self._parent)
        by_ending = None
        if self._endings:
            endings = listed(sorted(self._endings), 10)
            by_ending = (f"file that ends in {endings}", f"files that end in {endings}")
            self._counts[by_ending] = self._num_endings
            self._first[by_ending] = next(iter(self._endings.values()))
        for kind, count in self._counts.items():
            what = kind[0] if count == 1 else kind[1]
            said = f"Not used: {count:,} {what} in {where}, such as {printable(self._first[kind])}."
            if kind == by_ending and _TO_CONVERT & {ending.lower() for ending in self._endings}:
                said += " Convert photos among them to JPEG or PNG."
            say_once(said)


def _files_below(
    folder: str,
    prefix: str,
    unused: _Unused,
    problems: dict[str, str] | None = None,
    is_class: bool = True,
) -> Iterator[str]:
    """Yields the paths of files in a folder, `prefix` before each, with forward slashes.

    Folders that cannot be read become `problems`, with what is wrong, or else an error.
    """
    # Links are followed, as class folders are often links to a large disk; the real paths seen so
    # far keep a link to a parent from being followed forever. What lies above is no part of a
    # class either: a link there would bring the images of all others.
    seen = set(map(str, pathlib.Path(os.path.realpath(folder)).parents))
    if is_class:
        parent = os.path.realpath(os.path.dirname(folder))
        seen |= {parent, *map(str, pathlib.Path(parent).parents)}
    pending = [(folder, prefix)]
    while pending:
        directory, path = pending.pop()
        real_path = os.path.realpath(directory)
        if real_path in seen:
            unused.add(_SEEN, path.rstrip("/"))
            continue
        seen.add(real_path)
        try:
            entries = _entries(directory, path, unused)
        except ValueError as error:
            if problems is None:
                raise
            problems[directory] = str(error.__cause__.strerror)  # type: ignore[union-attr]
            continue
        for name, kind in entries:
            if kind == _FILE:
                yield path + name
            else:
                pending.append((os.path.join(directory, name), f"{path}{name}/"))


def _entries(folder: str, prefix: str, unused: _Unused) -> list[tuple[str, str]]:
    """Returns name and kind of the visible files and folders in a folder, sorted."""
    entries = []
    try:
        with os.scandir(folder) as scanned:
            for entry in scanned:
                if entry.name.startswith(".") or entry.name == "lost+found":
                    continue
                kind = _kind(entry)
                if isinstance(kind, str):
                    entries.append((entry.name, kind))
                else:
                    unused.add(kind, prefix + entry.name)
    except OSError as error:
        raise ValueError(
            f"The folder {printable(folder)} cannot be read: {error.strerror}. Repair or move it; "
            "what is in it is not left out without a word."
        ) from error
    return sorted(entries)


def _kind(entry: os.DirEntry[str]) -> str | tuple[str, str]:
    """Returns what an entry is, a link being what it leads to, or why it is neither."""
    try:
        if entry.is_dir():
            return _FOLDER
        if entry.is_file():
            return _FILE
    except OSError:  # a link to itself
        return _BROKEN
    return _SPECIAL if os.path.exists(entry.path) else _BROKEN


@functools.cache  # a folder is scanned for each of its splits
def say_once(text: str) -> None:
    """Prints a line, unless it was printed before."""
    print(text)
