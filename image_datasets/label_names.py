"""Names of labels: `labels.txt` as TF-Slim's scripts write it, ImageNet's ids, or numbers.

A line of the file is a label and its name, `0:daisy`.
"""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Iterable, Sequence

from image_datasets.file_names import printable
from image_datasets.tfrecord_reading import labelled_records
from image_datasets.wordnet_names import imagenet_names

LABELS_NAME = "labels.txt"

BACKGROUND = "background"
"""What TF-Slim calls label 0 where labels of classes begin with 1, as ImageNet's do."""

_MOST_CLASSES = 1_000_000
_NUM_LOOKED_AT = 64  # records, of which all have ImageNet's numbers by chance in no other dataset


def imagenet_classes() -> tuple[str, ...]:
    """Returns the classes of ImageNet's records, whose labels run from 1 to 1,000."""
    return (BACKGROUND, *imagenet_names())


def has_imagenet_labels(path: str) -> bool:
    """Returns whether the first records of a file have WordNet ids that ImageNet's labels mean.

    Raises:
      ValueError: as `labelled_records`.
    """
    label_of = {name: label for label, name in enumerate(imagenet_classes())}
    records = list(itertools.islice(labelled_records(path), _NUM_LOOKED_AT))
    return bool(records) and all(label_of.get(one.synset) == one.label for one in records)


def read_label_file(folder: str) -> tuple[str, ...] | None:
    """Returns the names of the labels 0, 1, ... by the `labels.txt` of a folder; None without one.

    A file whose labels begin with 1 has a background class before these. ImageNet's classes in
    words, as TF-Slim writes them, are given as WordNet ids.

    Raises:
      ValueError: if the file cannot be read, a line is something else, or a label has no name, two
        names, or the name of another.
    """
    path = pathlib.Path(folder, LABELS_NAME)
    if not path.exists():
        return None
    where = printable(str(path))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} cannot be read as UTF-8: {error}.") from error
    names: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\S.*?)\s*", line)
        if not match:
            raise ValueError(
                f"Line {number} of {where} is {line[:60]!r}; a label and its name are expected, "
                "such as 0:daisy."
            )
        if int(match[1]) in names:
            raise ValueError(f"{where} has two names for the label {int(match[1])}.")
        names[int(match[1])] = match[2]
    if 0 not in names and BACKGROUND not in names.values():
        names[0] = BACKGROUND
    missing = next((label for label in range(len(names)) if label not in names), None)
    if missing is not None or len(names) < 2:
        raise ValueError(
            f"{where} has no name for the label {len(names) if missing is None else missing}. A "
            "line for each label is expected, such as 0:daisy."
        )
    in_order = tuple(names[label] for label in range(len(names)))
    if _are_imagenets(in_order):
        return imagenet_classes()[-len(in_order) :]
    _check_distinct(in_order, where)
    return in_order


def _are_imagenets(names: Sequence[str]) -> bool:
    """Whether names are those of ImageNet's classes in words, of which two come twice."""
    first_words = [name.partition(",")[0] for name in names]
    known = [BACKGROUND, *imagenet_names().values()]
    return first_words in (known, known[1:])


def _check_distinct(names: Sequence[str], where: str) -> None:
    label_of: dict[str, int] = {}
    for label, name in enumerate(names):
        if label_of.setdefault(name, label) != label:
            raise ValueError(
                f"{where} calls both {label_of[name]} and {label} {name!r}. Give them names of "
                "their own."
            )


def numbers_as_names(least: int, largest: int, folder: str) -> tuple[str, ...]:
    """Returns the labels as names of their classes.

    Args:
      least: of all labels. If it is 1, label 0 is taken for the background class.
      largest: of all labels.
      folder: of the records, for messages.

    Raises:
      ValueError: if there are too many for classes.
    """
    if largest >= _MOST_CLASSES:
        raise ValueError(
            f"The records of {printable(folder)} have labels to {largest:,}, which cannot be "
            "numbers of classes."
        )
    first: Iterable[str] = [BACKGROUND] if least == 1 else ["0"]
    return (*first, *map(str, range(1, largest + 1)))
