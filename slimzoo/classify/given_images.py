"""Image files as people name them: files, folders, patterns, and what comes by standard input."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
import re
import stat
import sys
from collections.abc import Iterable
from typing import BinaryIO

from image_datasets.class_folders import IMAGE_EXTENSIONS, images_below, is_image
from preprocessing import image_formats

STANDARD_INPUT = "-"

_LONGEST_NAME = 4096  # of a path, as Linux has it
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")  # in no name that people give to a file

_NAME_OF_PIPED_IMAGE = "standard_input"
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WebP": ".webp"}


@dataclasses.dataclass
class GivenImages:
    """The files that were found.

    Attributes:
      paths: of files, each once, in the order in which they were given; those of a folder sorted.
      problems: what was given, or found in a folder, and cannot be taken, with what is wrong, to be
        read after its name.
      folders: that were given, and looked through.
      piped: the path of a temporary file with an image that came by standard input, which the
        caller removes; None if none did.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: list[str] = dataclasses.field(default_factory=list)
    piped: str | None = None

    def shown_name(self, path: str) -> str:
        """What a path is called to the user: an image of standard input has no file."""
        return STANDARD_INPUT if path == self.piped else path


def find_images(names: Iterable[str], temporary_folder: str) -> GivenImages:
    """Finds the files that are meant; prints a line for each kind that is not used in a folder.

    A file is taken whatever its name ends in; of a folder, at any depth, what is called like an
    image. What exists is taken as it is, so that a pattern is what names nothing that exists. `-`
    is standard input: the bytes of one image, or the names of files and folders, one a line (or
    with a zero byte after each, as `find -print0` writes them).

    Args:
      names: files, folders, patterns as the shell has them with `**` for any depth, or `-`.
      temporary_folder: where an image of standard input is kept.

    Raises:
      ValueError: if standard input is asked for and is empty or closed.
    """
    found = GivenImages()
    taken: set[str] = set()
    for name in names:
        if name == STANDARD_INPUT:
            for listed in _from_standard_input(found, temporary_folder):
                _add(found, taken, listed)
            continue
        path = os.path.expanduser(name)
        if os.path.lexists(path) or not glob.has_magic(path):
            _add(found, taken, path)
            continue
        matches = sorted(_matches(path))
        if os.path.basename(path).endswith("*"):
            # It leaves the ending open, and means images, as a folder does.
            matches = [match for match in matches if is_image(match) or os.path.isdir(match)]
        if not matches:
            found.problems[name] = "matches no image"
        for match in matches:
            _add(found, taken, match)
    return found


def _matches(pattern: str) -> list[str]:
    """The files and folders that a pattern means, hidden ones only where it says so.

    Python's own `**` follows links in circles, two of which take it longer than anyone waits.
    """
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return glob.glob(pattern)
    start = parts.index("**")
    rest = [part for part in parts[start:] if part not in (".", "")]
    names_hidden = any(part.startswith(".") for part in rest)
    matches = []
    seen: set[str] = set()
    for base in glob.glob(os.sep.join([*parts[:start], ""])) if start else [""]:
        for folder, folders, files in os.walk(base or ".", followlinks=True):
            below = os.path.relpath(folder, base or ".")
            inner = [] if below == "." else below.split(os.sep)
            folders[:] = sorted(
                name
                for name in folders
                if (names_hidden or not name.startswith("."))
                and _is_new(os.path.join(folder, name), seen)
            )
            matches += [
                os.path.join(base, *inner, name)
                for name in [*folders, *files]
                if _fits([*inner, name], rest)
            ]
    return matches


def _is_new(folder: str, seen: set[str]) -> bool:
    """Whether a folder, by whatever links, is met for the first time; notes it."""
    place = os.path.realpath(folder)
    is_new = place not in seen and not f"{os.path.realpath(os.path.dirname(folder))}/".startswith(
        f"{place.rstrip(os.sep)}/"
    )
    seen.add(place)
    return is_new


def _fits(names: list[str], patterns: list[str]) -> bool:
    """Whether the parts of a path are what a pattern means, in which `**` is any number of them."""
    if not patterns or not names:
        return not names and all(pattern == "**" for pattern in patterns)
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or (
            not names[0].startswith(".") and _fits(names[1:], patterns)
        )
    hidden = names[0].startswith(".") and not patterns[0].startswith(".")
    return (
        not hidden and fnmatch.fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])
    )


def _add(found: GivenImages, taken: set[str], path: str) -> None:
    """Takes a file, or the images of a folder, unless it is taken already."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in it
        why = getattr(error, "strerror", None) or error
        found.problems[path] = f"cannot be read: {why}"
        return
    if stat.S_ISDIR(mode):
        found.folders.append(path)
        paths, problems = images_below(path)
        found.problems |= {folder: f"cannot be read: {why}" for folder, why in problems.items()}
        if not paths and path not in found.problems:
            endings = ", ".join(IMAGE_EXTENSIONS)
            found.problems[path] = f"is a folder without an image ({endings})"
    elif stat.S_ISREG(mode):
        paths = [path]
    else:
        found.problems[path] = (
            "is a pipe, socket or device, not a file; give - and pipe the image into the command"
        )
        return
    for one in paths:
        # By another link to its folder it is the same file again.
        folder, name = os.path.split(one)
        place = os.path.join(os.path.realpath(folder), name)
        if place not in taken:
            taken.add(place)
            found.paths.append(one)


def _from_standard_input(found: GivenImages, temporary_folder: str) -> list[str]:
    """The names that standard input lists, or of the file that its image has been written to."""
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise ValueError("- stands for standard input, which is closed.")
    if stream.isatty():
        print(
            "Names of files or folders, one a line; Ctrl-D in a line of its own ends them.",
            file=sys.stderr,
        )
    contents = stream.read()
    if not contents.strip(b"\0\r\n\t "):
        raise ValueError(
            "Standard input is empty. Pipe the names of files into the command, one a line, as "
            "`find photos -name '*.jpg'` writes them, or one image, as `cat a.jpg` does."
        )
    kind = image_formats.image_format(contents)
    if kind is None:
        separator = b"\0" if b"\0" in contents else b"\n"
        names = [os.fsdecode(name.removesuffix(b"\r")) for name in contents.split(separator)]
        if any(len(name) > _LONGEST_NAME or _CONTROL.search(name) for name in names):
            raise ValueError(
                "Standard input is neither an image (JPEG, PNG, WebP, GIF or BMP) nor names of "
                "files, one a line."
            )
        return [name for name in names if name.strip()]
    found.piped = os.path.join(temporary_folder, _NAME_OF_PIPED_IMAGE + _ENDINGS.get(kind, ""))
    with open(found.piped, "wb") as file:
        file.write(contents)
    return [found.piped]
