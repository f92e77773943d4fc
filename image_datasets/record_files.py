"""Whether the files of records that a dataset consists of are as they were written.

`prepare_dataset` leaves `checksums.tsv` beside its records: name, bytes and SHA-256 of each file.
Sizes are compared whenever such a dataset is opened, which reads nothing of the records.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

CHECKSUMS_NAME = "checksums.tsv"
_PREPARATION_NAME = "preparation.json"
_DESCRIPTIONS = ("dataset_info.json", "features.json", ".labels.txt")
_CHUNK_BYTES = 1 << 20


class FileRecord(NamedTuple):
    """What is recorded of a file.

    Attributes:
      num_bytes: its size.
      sha256: of its contents, in hexadecimal digits.
    """

    num_bytes: int
    sha256: str


def measured(path: pathlib.Path, progress: Callable[[int], object] = lambda _: None) -> FileRecord:
    """Reads a file and returns what is to be recorded of it.

    Args:
      path: of the file.
      progress: is told how many bytes have been read since it was told last.
    """
    digest, num_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            num_bytes += len(chunk)
            progress(len(chunk))
    return FileRecord(num_bytes, digest.hexdigest())


def checksums_text(records: Mapping[str, FileRecord]) -> str:
    """The contents of `checksums.tsv`: a line for each file."""
    lines = (f"{name}\t{one.num_bytes}\t{one.sha256}\n" for name, one in sorted(records.items()))
    return "".join(lines)


def read_checksums(folder: str | os.PathLike[str]) -> dict[str, FileRecord] | None:
    """Reads the `checksums.tsv` of a folder; None if there is none, as in earlier versions.

    Raises:
      ValueError: if it is damaged.
    """
    path = pathlib.Path(folder, CHECKSUMS_NAME)
    if not path.exists():
        return None
    records = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, num_bytes, sha256 = parts = [*line.split("\t"), "", ""][:3]
            if not all(parts):
                raise ValueError(f"{line[:60]!r} is not name, bytes and SHA-256")
            if name != pathlib.PurePath(name).name:
                raise ValueError(f"{name!r} is no name of a file")
            if len(bytes.fromhex(sha256)) != hashlib.sha256().digest_size:
                raise ValueError(f"{sha256!r} is no SHA-256")
            records[name] = FileRecord(int(num_bytes), sha256)
        if not records:
            raise ValueError("it is empty")
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove {folder} and prepare the dataset again."
        ) from error
    return records


def check_descriptions(name: str, folder: pathlib.Path) -> None:
    """Compares the small files by which TFDS reads the records with their checksums.

    Args:
      name: of the dataset, for messages.
      folder: of the dataset; nothing is compared where it has no checksums.

    Raises:
      ValueError: naming a file that is not as it was written, and what to do.
    """
    for file_name, record in (read_checksums(folder) or {}).items():
        path = folder / file_name
        if not file_name.endswith(_DESCRIPTIONS):
            continue
        if not path.exists() or measured(path) != record:
            raise ValueError(
                f"The dataset {name!r} is damaged: {path} is not as it was written. Remove "
                f"{folder} and prepare the dataset again."
            )


def check_sizes(
    name: str, paths: Sequence[pathlib.Path], lengths: Sequence[int], num_bytes: int
) -> None:
    """Compares the sizes of a split's files with what is recorded of them.

    Without checksums there is only the sum that TFDS keeps, of the records or of the files; where
    that is more than there is, the files are read to see which of them was cut.

    Args:
      name: of the dataset, for messages.
      paths: of the files, which are there, all in one folder.
      lengths: the number of examples in each.
      num_bytes: of the split, as TFDS says it.

    Raises:
      ValueError: naming a file that is not as it was written, and what to do.
    """
    folder = paths[0].parent
    sizes = [path.stat().st_size for path in paths]
    records = read_checksums(folder)
    if records is None:
        framed = num_bytes + 16 * sum(lengths)  # lengths and checksums of TFRecord
        if sum(sizes) in (num_bytes, framed) or sum(sizes) > framed:
            return
        print(f"{folder} has fewer bytes than it should have; its records are being read.")
        if damage := find_damage(paths, lengths):
            raise ValueError(f"The dataset {name!r} is damaged: {damage}")
        return
    for path, size in zip(paths, sizes, strict=True):
        if path.name not in records:
            raise ValueError(
                f"The dataset {name!r} is damaged: {folder / CHECKSUMS_NAME} does not list "
                f"{path.name}. Remove {folder} and prepare the dataset again."
            )
        if size != records[path.name].num_bytes:
            raise ValueError(
                f"The dataset {name!r} is damaged: {path} has {size:,} bytes, and had "
                f"{records[path.name].num_bytes:,} when it was written. {remedy(path)}"
            )


def find_damage(paths: Iterable[pathlib.Path], lengths: Iterable[int]) -> str | None:
    """Reads files of records, which have checksums of their own, and says which is damaged.

    Args:
      paths: of the files.
      lengths: the number of records in each.

    Returns:
      What is wrong with the first that is, and what to do; None if all are whole.
    """
    for path, length in zip(paths, lengths, strict=True):
        found = 0
        try:
            records = tf.data.TFRecordDataset(str(path), buffer_size=_CHUNK_BYTES)
            found = int(records.reduce(np.int64(0), lambda count, _: count + 1))
        except tf.errors.OpError as error:
            # Without the names of operations.
            why = re.sub(
                r"{{.*?}} *|' failed with.*| *\(Is this.*| *\[Op:.*",
                "",
                error.message.splitlines()[0],
            )
            return f"{path} cannot be read ({why}). {remedy(path)}"
        if found != length:
            return f"{path} has {found:,} records, and should have {length:,}. {remedy(path)}"
    return None


def remedy_of_missing(path: pathlib.Path) -> str:
    """Says how a file of records that is not there is brought back."""
    if (path.parent / CHECKSUMS_NAME).exists():
        return "The prepare_dataset command that wrote it, run again, writes what is missing."
    if (path.parent / _PREPARATION_NAME).exists():
        return f"Remove {path.parent}, and run the prepare_dataset command again that wrote it."
    return f"Remove {path.parent} and prepare the dataset again."


def remedy(path: pathlib.Path) -> str:
    """Says how a damaged file of records is brought back."""
    how = remedy_of_missing(path)
    return how if str(path.parent) in how else f"Remove that file. {how}"
