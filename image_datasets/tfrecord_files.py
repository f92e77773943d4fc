"""Finds files of records by the names that those who write them give: which split each is of.

    flowers_train_00000-of-00005.tfrecord     flowers_%s_*.tfrecord
    cifar10_test.tfrecord                     cifar10_%s.tfrecord
    validation-00000-of-00128                 %s-*
    val.record-00000-of-00010                 %s.record-*

On the right is what TF-Slim calls the file pattern, `%s` being the split. In a folder it is worked
out from the names; where that does not tell, a user gives it in the place of the folder.
"""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Mapping

from image_datasets.file_names import check_utf8, listed, printable
from image_datasets.split_names import SPLIT_NAMES, split_meaning

SPLIT_MARK = "%s"

_ONLY_SPLIT = "train"  # of files whose pattern has no %s
_ORDER = ("train", "validation", "test", None)
_WORDS = "|".join(sorted(SPLIT_NAMES, key=len, reverse=True))
_LOOKS_LIKE_RECORDS = re.compile(r"\.(tf_?)?records?\b|-\d+-of-\d+", re.IGNORECASE)
_NAME_WITH_SPLIT = re.compile(
    rf"(?P<before>|.*[^a-z])(?P<split>{_WORDS})(?P<after>|[^a-z].*)", re.IGNORECASE
)
_SHARD = re.compile(
    r"(?P<before>.*?)(?P<number>\d+)(?P<after>[-_]of[-_](?P<count>\d{1,5})(?!\d).*)", re.DOTALL
)


@dataclasses.dataclass(frozen=True)
class RecordFiles:
    """Files of records that belong together.

    Attributes:
      folder: that they are in, or below.
      pattern: the paths of the files, `%s` being the split.
      splits: the paths of each split, sorted.
      fits: the paths that are asked for, whether they are there or not.
    """

    folder: str
    pattern: str
    splits: Mapping[str, tuple[str, ...]]
    fits: re.Pattern[str]

    def check_complete(self, split: str) -> None:
        """Looks for the files that others promise: 00000-of-00002 is one of two.

        Args:
          split: whose files are looked at.

        Raises:
          ValueError: if some are not there, or the same records are there twice, written into
            another number of files. The message says which are, and which are not.
        """
        there: dict[tuple[str, str, int], dict[int, str]] = collections.defaultdict(dict)
        for path in self.splits[split]:
            folder, name = os.path.split(path)
            if match := _SHARD.fullmatch(name):
                before = os.path.join(folder, match["before"])
                of_the_same = there[before, match["after"], int(match["count"])]
                of_the_same[int(match["number"])] = match["number"]
        for (before, after, count), numbers in there.items():
            digits = len(numbers[min(numbers)])
            first = 1 if count in numbers else 0  # some count from 1
            promised = [f"{number:0{digits}}" for number in range(first, first + count)]
            missing = [
                number
                for number in promised
                if int(number) not in numbers and self.fits.fullmatch(before + number + after)
            ]
            if missing:
                raise ValueError(self._what_is_missing(before, after, numbers, missing, count))
        _check_written_once(split, [f"{before}*{after}" for before, after, _ in there])

    def _what_is_missing(
        self, before: str, after: str, numbers: Mapping[int, str], missing: list[str], count: int
    ) -> str:
        there = [numbers[number] for number in sorted(numbers)]
        return (
            f"{len(missing):,} of the {count:,} files {printable(before)}*{printable(after)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: {listed(missing)}. There "
            f"{'is' if len(there) == 1 else 'are'} {listed(there)}. Copy what is missing there, or "
            "write the records again. If the others are meant alone, give a pattern as "
            "--dataset_dir that does not fit those that are missing, or rename them to names "
            "without -of-."
        )


def _check_written_once(split: str, patterns: Iterable[str]) -> None:
    """Raises ValueError if two patterns of complete sets differ only in the number of files."""
    alike: dict[str, list[str]] = collections.defaultdict(list)
    for pattern in patterns:
        alike[re.sub(r"(?<=\*)([-_]of[-_])\d+", r"\1*", pattern)].append(printable(pattern))
    for several in alike.values():
        if len(several) > 1:
            raise ValueError(
                f"The split {split} is there more than once, each time in another number of files: "
                f"{listed(several)}. All of them together would count each image more than once. "
                "Remove the files that are not meant. If they are different images, rename the "
                "files to names without -of-."
            )


def is_pattern(where: str) -> bool:
    """Whether a path is that of several files, rather than of a folder."""
    return (SPLIT_MARK in where or glob.has_magic(where)) and not os.path.exists(where)


def folder_of(where: str) -> str:
    """Returns the folder that a pattern begins with, in absolute form; a folder is its own."""
    where = os.path.abspath(os.path.expanduser(where))
    if is_pattern(where):
        return os.path.dirname(re.split(rf"{SPLIT_MARK}|[*?[]", where)[0])
    return os.path.dirname(where) if os.path.isfile(where) else where


def find_record_files(where: str, accepts: str = ".*") -> RecordFiles:
    """Finds files of records.

    Args:
      where: a folder, in which one pattern is found, or a pattern.
      accepts: a regular expression of the patterns that are looked for in a folder.

    Raises:
      ValueError: if there is no such folder, if no file or more than one pattern fits, or if a name
        is not in UTF-8. The message says which files are there.
    """
    where = os.path.abspath(os.path.expanduser(where))
    if os.path.isfile(where):
        found = RecordFiles(
            os.path.dirname(where), where, {_ONLY_SPLIT: (where,)}, re.compile(re.escape(where))
        )
    elif is_pattern(where):
        found = _matching(where)
    else:
        if not os.path.isdir(where):
            raise ValueError(f"The folder {where} does not exist.")
        found = _in_folder(where, accepts)
    check_utf8((path for paths in found.splits.values() for path in paths), found.folder)
    return found


def patterns_in(folder: str, accepts: str = ".*") -> dict[str, dict[str, list[str]]]:
    """Returns the patterns that files of a folder have, and the paths of each split of each."""
    patterns: dict[str, dict[str, list[str]]] = {}
    for name in sorted(os.listdir(folder)):
        match = _NAME_WITH_SPLIT.fullmatch(name)
        if not match or name.startswith(".") or not _LOOKS_LIKE_RECORDS.search(name):
            continue
        after = re.sub(r"\d+(-of-\d+)?", "*", match["after"])
        pattern = f"{match['before']}{SPLIT_MARK}{after}"
        if re.fullmatch(accepts, pattern):
            splits = patterns.setdefault(pattern, {})
            splits.setdefault(match["split"], []).append(os.path.join(folder, name))
    return patterns


def _in_folder(folder: str, accepts: str) -> RecordFiles:
    if os.path.exists(os.path.join(folder, "features.json")):
        raise ValueError(
            f"{printable(folder)} holds a dataset of TFDS: give its name as --dataset_name."
        )
    patterns = patterns_in(folder, accepts)
    if not patterns:
        raise ValueError(
            f"No file in {printable(folder)} is called like records of a split, such as "
            f"flowers_train_00000-of-00005.tfrecord. {_what_is_there(folder)} If there are records "
            "among them, give their pattern as --dataset_dir, with %s for the split or without: "
            f"--dataset_dir='{os.path.join(printable(folder), '*.tfrecord')}'."
        )
    if len(patterns) > 1:
        raise ValueError(
            f"{printable(folder)} holds records of several kinds: {listed(sorted(patterns))}. Give "
            f"the one that is meant: --dataset_dir='{os.path.join(printable(folder), '')}"
            f"{printable(min(patterns))}'."
        )
    (pattern, splits), *_ = patterns.items()
    every_file = re.compile(".*", re.DOTALL)
    return RecordFiles(folder, os.path.join(folder, pattern), _in_order(splits), every_file)


def _matching(pattern: str) -> RecordFiles:
    folder = folder_of(pattern)
    if not os.path.isdir(folder):
        raise ValueError(f"The folder {printable(folder)} does not exist.")
    # A usual name of a split is taken first: in flowers_%s*, where any beginning would fit.
    before, *after = fnmatch.translate(pattern.replace(SPLIT_MARK, "\0")).split("\0")
    one_split = rf"(?P<split>{_WORDS}|\w+?)" + "(?P=split)".join(after) if after else ""
    expression = re.compile(before + one_split)
    splits: dict[str, list[str]] = {}
    for path in sorted(glob.glob(pattern.replace(SPLIT_MARK, "*"))):
        match = expression.match(path)
        if match and os.path.isfile(path):
            splits.setdefault(match["split"] if after else _ONLY_SPLIT, []).append(path)
    if not splits:
        raise ValueError(f"No file matches {printable(pattern)}. {_what_is_there(folder)}")
    return RecordFiles(folder, pattern, _in_order(splits), expression)


def _in_order(splits: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    names = sorted(splits, key=lambda name: (_ORDER.index(split_meaning(name)), name))
    return {name: tuple(splits[name]) for name in names}


def _what_is_there(folder: str) -> str:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return f"In {printable(folder)} are: {listed(names)}." if names else "That folder is empty."
