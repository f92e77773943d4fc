"""Image files copied, or linked, into a folder for each class."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence

from training.storage.whole_files import written_whole

# What Windows, or some file system, has no file of that name for.
_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MOST_BYTES = 120  # of a name, of which file systems take 255


class SortedImages:
    """A folder into which images are put by their class. Nothing in it is ever overwritten.

    A file that is there already with the same contents (or, as a link, with the same target) is
    left alone, so that the same command can be given again.

    Args:
      folder: that holds the folders of the classes; it is made with the first image.
      class_names: whose folders are called as they are, as far as file systems take such names.
      link: whether images are linked, by absolute symbolic links, instead of copied.

    Attributes:
      num_new: images that were put there.
      num_there: images that were there already.
      moved: where images that were put there are as well, by where they were put: in the folder of
        the class that they had when the network was another.
    """

    def __init__(self, folder: str, class_names: Sequence[str], *, link: bool = False):
        self.num_new = 0
        self.num_there = 0
        self.moved: dict[str, str] = {}
        self._folder = folder
        self._names = folder_names(class_names)
        self._link = link
        self._placed: set[str] = set()
        self._earlier = self._found_there()

    def put(self, path: str, label: int) -> str:
        """Copies or links a file into the folder of a class, and returns its path there.

        Raises:
          ValueError: if that cannot be done, with the reason.
        """
        folder = os.path.join(self._folder, self._names[label])
        try:
            os.makedirs(folder, exist_ok=True)
            return self._put(path, folder)
        except OSError as error:
            done = "linked" if self._link else "copied"
            raise ValueError(
                f"{path} cannot be {done} to {folder}: {error.strerror or error}. Those before it "
                "are there; the same command goes on."
            ) from error

    def _put(self, path: str, folder: str) -> str:
        source = os.path.abspath(path)
        for name in _numbered(os.path.basename(path)):
            place = os.path.join(folder, name)
            # Another image of this very run may have the same contents, and is another image.
            if place in self._placed:
                continue
            if not os.path.lexists(place):
                self._write(source, place)
                self.num_new += 1
            elif not self._is_same(source, place):
                continue
            else:
                self.num_there += 1
            self._placed.add(place)
            self._note_if_moved(source, place)
            return place
        raise AssertionError("there are numbers enough")

    def _note_if_moved(self, source: str, place: str) -> None:
        for other in self._earlier.get(self._mark(source), ()):
            elsewhere = os.path.dirname(other) != os.path.dirname(place)
            if elsewhere and self._is_same(source, other):
                self.moved[place] = other
                return

    def _found_there(self) -> dict[str | int, list[str]]:
        """What is in the folders of classes before anything is put there, by its mark."""
        found: dict[str | int, list[str]] = {}
        for name in self._names:
            folder = os.path.join(self._folder, name)
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder):
                    if self._link and entry.is_symlink():
                        found.setdefault(os.readlink(entry.path), []).append(entry.path)
                    elif not self._link and entry.is_file(follow_symlinks=False):
                        found.setdefault(self._mark(entry.path), []).append(entry.path)
        return found

    def _mark(self, path: str) -> str | int:
        """What two files have in common that can be the same image: the target of a link, a size.

        By a size alone only some files are read to find those with the same contents.
        """
        return path if self._link else os.path.getsize(path)

    def _write(self, source: str, place: str) -> None:
        if self._link:
            os.symlink(source, place)
            return
        with written_whole(place) as temporary:
            shutil.copy2(source, temporary)

    def _is_same(self, source: str, place: str) -> bool:
        if self._link:
            return os.path.islink(place) and os.readlink(place) == source
        try:
            return not os.path.islink(place) and filecmp.cmp(source, place, shallow=False)
        except OSError:  # what is there cannot be read
            return False


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Returns a name for the folder of each class: its own, where file systems take that.

    What they do not take becomes "_", long names are cut, and names that are the same then, or for
    a file system that does not tell capitals, get a number. The dot of a hidden folder goes too.

    Args:
      class_names: any text.
    """
    taken: set[str] = set()
    names = []
    for class_name in class_names:
        name = _UNSAFE.sub("_", class_name).strip().rstrip(".")
        name = re.sub(r"^\.", "_", name) or "_"
        if _RESERVED.match(name):
            name = f"_{name}"
        if len(os.fsencode(name)) > _MOST_BYTES:
            name = name.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore").strip()
        name = next(other for other in _numbered(name) if _folded(other) not in taken)
        taken.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _numbered(name: str) -> Iterator[str]:
    """Yields the name, then with a number before its ending: a.jpg, a-2.jpg, a-3.jpg."""
    yield name
    stem, ending = os.path.splitext(name)
    number = 2
    while True:
        yield f"{stem}-{number}{ending}"
        number += 1
