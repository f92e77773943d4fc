"""Files of records of `tf.train.Example`, as TF-Slim's scripts and the Model Garden write them.

What is read of a record: `image/encoded`, an image file or, where `image/format` is "raw", uint8
pixels of `image/height` by `image/width` with 1, 3 or 4 channels; and `image/class/label`.
"""

from __future__ import annotations

import bisect
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.class_folders import say_once
from image_datasets.file_names import printable
from image_datasets.image_dataset import ImageDataset, fingerprint
from image_datasets.label_names import (
    LABELS_NAME,
    has_imagenet_labels,
    imagenet_classes,
    numbers_as_names,
    read_label_file,
)
from image_datasets.registry import DatasetSource, register_source
from image_datasets.split_slices import SplitSlice, parse_split, slices_from
from image_datasets.tfrecord_counts import CountedFile, count_records
from image_datasets.tfrecord_examples import (
    FILES_READ_BY_TURNS,
    Piece,
    pieces_of,
    read_examples,
)
from image_datasets.tfrecord_files import RecordFiles, find_record_files, folder_of
from image_datasets.tfrecord_reading import REMEDY, labelled_records

_NAME = "tfrecord"


@register_source(_NAME)
class TfrecordSource(DatasetSource):
    """The records that `dataset_dir` tells: a folder, or the pattern of their files.

    Args:
      name: what the dataset is called.
      accepts: a regular expression of the patterns that are looked for in a folder.
      is_imagenet: whether labels without a `labels.txt` are ImageNet's.
    """

    is_named_by_folder = True
    respects_exif = False  # as TF-Slim

    def __init__(self, name: str = _NAME, accepts: str = ".*", is_imagenet: bool = False):
        self._name = name
        self._accepts = accepts
        self._is_imagenet = is_imagenet

    def load(self, split: str, dataset_dir: str | None) -> ImageDataset:
        """Returns one split; `describe` gives the file and the number of a record in it.

        Raises:
          ValueError: if there are no such files, if one of the split is missing, cannot be read or
            is damaged, if a record has no image or no label, or a label has no name.
        """
        files = self._find(dataset_dir)
        splits = _Splits(files)
        parts = parse_split(split, splits, f"the records {printable(files.pattern)}")
        class_names = self._class_names(files, splits)
        counted = [file for name in _names(parts) for file in splits.counted(name)]
        _check_labels(counted, class_names, files.folder)
        _say_if_classes_are_not_told(counted)

        def pieces_from(start: int) -> list[Piece]:
            left = slices_from(parts, start)
            return pieces_of([(part, splits.counted(part.name)) for part in left], start)

        pieces = pieces_from(0)
        starts = [piece.first_index for piece in pieces]

        def describe(index: int) -> str:
            piece = pieces[bisect.bisect_right(starts, index) - 1]
            return f"record {piece.skipped + index - piece.first_index} of {piece.path}"

        return ImageDataset(
            name=self._name,
            split=split,
            num_examples=sum(piece.num_examples for piece in pieces),
            class_names=class_names,
            make_examples=lambda: read_examples(pieces, FILES_READ_BY_TURNS),
            describe=describe,
            make_stored_examples=lambda start: read_examples(pieces_from(start), 1),
            fingerprint=fingerprint(_what_decides_the_examples(counted, parts)),
            parts=tuple(parts),
            find_damage=lambda: _find_damage(counted),
        )

    def class_names(self, dataset_dir: str | None) -> tuple[str, ...]:
        """Returns the classes; records are counted if only their labels tell them."""
        files = self._find(dataset_dir)
        return self._class_names(files, _Splits(files))

    def split_names(self, dataset_dir: str | None) -> list[str]:
        """Returns the names of the splits, by the names of the files."""
        return list(self._find(dataset_dir).splits)

    def split_sizes(self, dataset_dir: str | None) -> dict[str, int]:
        """Returns how many records each split has, which are counted."""
        return {name: info.num_examples for name, info in _Splits(self._find(dataset_dir)).items()}

    def short_name(self, name: str, dataset_dir: str | None) -> str:
        """Returns the name of a dataset of TF-Slim, or else of the folder of the records."""
        if name != _NAME or not dataset_dir:
            return name
        return super().short_name(name, folder_of(dataset_dir))

    def _find(self, dataset_dir: str | None) -> RecordFiles:
        return find_record_files(str(dataset_dir), self._accepts)

    def _class_names(self, files: RecordFiles, splits: _Splits) -> tuple[str, ...]:
        """By the records' WordNet ids, else by labels.txt, else by the largest label."""
        if has_imagenet_labels(next(iter(files.splits.values()))[0]):
            return imagenet_classes()
        if names := read_label_file(files.folder):
            return names
        if self._is_imagenet:
            return imagenet_classes()
        counted = [file for name in splits for file in splits.counted(name) if file.num_examples]
        least = min((file.least_label for file in counted if file.largest_label >= 0), default=0)
        largest = max((file.largest_label for file in counted), default=-1)
        names = numbers_as_names(least, largest, files.folder)
        background = ", of which 0 is taken for a background class" if least == 1 else ""
        say_once(
            f"There is no {LABELS_NAME} in {printable(files.folder)}: its {len(names):,} classes "
            f"are called by their numbers{background}."
        )
        return names


class _Splits(Mapping[str, tfds.core.SplitInfo]):
    """The splits by their names; a split is counted when it is looked at."""

    def __init__(self, files: RecordFiles):
        self._files = files
        self.counted = functools.cache(self._count)

    def __getitem__(self, name: str) -> tfds.core.SplitInfo:
        lengths = [file.num_examples for file in self.counted(name)]
        return tfds.core.SplitInfo(name=name, shard_lengths=lengths, num_bytes=0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.splits)

    def __len__(self) -> int:
        return len(self._files.splits)

    def _count(self, name: str) -> tuple[CountedFile, ...]:
        self._files.check_complete(name)
        return count_records(self._files.splits[name], self._files.folder)


def _check_labels(files: Sequence[CountedFile], class_names: Sequence[str], folder: str) -> None:
    """Raises ValueError if a label has no name; it names the first record with such a one."""
    for file in files:
        if file.largest_label >= len(class_names):
            number, label = _first_label(file, lambda label: label >= len(class_names))
            named = os.path.join(folder, LABELS_NAME)
            named = printable(named) if os.path.exists(named) else "The dataset"
            raise ValueError(
                f"Record {number} of {printable(file.path)} has the label {label}. {named} has "
                f"names for the {len(class_names):,} labels 0 to {len(class_names) - 1:,}."
            )


def _say_if_classes_are_not_told(files: Sequence[CountedFile]) -> None:
    """Prints a warning that names the first record whose label is -1."""
    for file in files:
        if file.num_examples and file.least_label < 0:
            number, label = _first_label(file, lambda label: label < 0)
            say_once(
                f"WARNING: record {number} of {printable(file.path)} has the label {label}, that "
                "of an image whose class is not told. Such images are left out."
            )
            return


def _first_label(file: CountedFile, is_meant: Callable[[int], bool]) -> tuple[int, int]:
    """The number of the first record that has such a label, and this label."""
    labels = (record.label for record in labelled_records(file.path))
    return next((number, label) for number, label in enumerate(labels) if is_meant(label))


def _find_damage(files: Sequence[CountedFile]) -> str | None:
    """Reads files with all their checksums, and says which is damaged, and where."""
    for file in files:
        number = 0
        try:
            for _ in tf.data.TFRecordDataset(file.path, file.compression):
                number += 1
        except tf.errors.OpError:
            return f"{printable(file.path)} is damaged: record {number} cannot be read. {REMEDY}"
        if number != file.num_examples:
            return (
                f"{file.path} has {number:,} records, and had {file.num_examples:,} when it was "
                "read first. The same command, given again, reads it anew."
            )
    return None


def _what_decides_the_examples(
    files: Sequence[CountedFile], parts: Sequence[SplitSlice]
) -> Iterator[str]:
    # Neither times nor folders: another host may have a copy.
    for file in files:
        yield f"{os.path.basename(file.path)} {file.num_bytes} {file.num_examples}"
    yield from map(str, parts)


def _names(parts: Sequence[SplitSlice]) -> list[str]:
    return list(dict.fromkeys(part.name for part in parts))
