"""How many records files hold, and their labels: read once, and kept beside the files.

What is kept goes by names, sizes and times of the files, so that a file that has changed is read
again. Where the folder of the records cannot be written, it is kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import time
import uuid
from collections.abc import Sequence

import tqdm

from image_datasets.file_names import printable
from image_datasets.tfrecord_reading import compression_of, labelled_records

_SECONDS_IN_SILENCE = 2.0
_COMPRESSIONS = ("", "GZIP")


@dataclasses.dataclass(frozen=True)
class CountedFile:
    """A file of records that has been read once.

    Attributes:
      path: of the file.
      num_bytes: its size.
      mtime_ns: when it was changed last, in nanoseconds.
      compression: "" or "GZIP", as tf.data calls it.
      num_examples: how many records it holds.
      least_label: of all records; 0 without any.
      largest_label: of all records; -1 without any.
    """

    path: str
    num_bytes: int
    mtime_ns: int
    compression: str
    num_examples: int
    least_label: int
    largest_label: int


def count_records(paths: Sequence[str], folder: str) -> tuple[CountedFile, ...]:
    """Returns what files of records hold, as it was kept or else by reading them.

    Lines on standard error say so where that takes long.

    Args:
      paths: of the files.
      folder: that they are in or below, where what was found is kept.

    Raises:
      ValueError: as `labelled_records`.
    """
    stamps = list(map(_stamp, paths))
    keepers = _keepers(paths, folder)
    for keeper in keepers:
        if kept := _read(keeper, stamps):
            return kept
    counted = _count_all(stamps, folder, keepers)
    _write(counted, keepers)
    return counted


def _count_all(
    stamps: Sequence[tuple[str, int, int]], folder: str, keepers: Sequence[pathlib.Path]
) -> tuple[CountedFile, ...]:
    num_bytes = sum(size for _, size, _ in stamps)
    started, is_silent = time.monotonic(), True
    bar = tqdm.tqdm(
        total=num_bytes,
        desc="counting",
        unit="B",
        unit_scale=True,
        delay=_SECONDS_IN_SILENCE,
        disable=None,
        leave=False,
        dynamic_ncols=True,
    )

    def count(path: str, size: int, mtime_ns: int) -> CountedFile:
        nonlocal is_silent
        num_examples, least, largest = 0, 0, -1
        for record in labelled_records(path, bar.update):
            least = min(least, record.label) if num_examples else record.label
            largest = max(largest, record.label)
            num_examples += 1
            if is_silent and time.monotonic() - started > _SECONDS_IN_SILENCE:
                is_silent = False
                bar.write(
                    f"The records of {printable(folder)} are counted, which is done once: "
                    f"{len(stamps):,} files, {num_bytes / 1e9:,.1f} GB. What is found is kept in "
                    f"{keepers[0].name}.",
                    file=sys.stderr,
                )
        return CountedFile(path, size, mtime_ns, compression_of(path), num_examples, least, largest)

    with bar:
        return tuple(count(*stamp) for stamp in stamps)


def _stamp(path: str) -> tuple[str, int, int]:
    """What a file is known by: path, size, and when it was changed last."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise ValueError(f"{printable(path)} cannot be read: {error.strerror}.") from error
    return path, stat.st_size, stat.st_mtime_ns


def _keepers(paths: Sequence[str], folder: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The files in which counts are kept: beside the records, and for this user alone."""
    names = [os.path.relpath(path, folder) for path in paths]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return (
        pathlib.Path(folder, f".record_counts_{_digest(names)}.json"),
        pathlib.Path(cache, "slimzoo", f"record_counts_{_digest([folder, *names])}.json"),
    )


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _read(
    keeper: pathlib.Path, stamps: Sequence[tuple[str, int, int]]
) -> tuple[CountedFile, ...] | None:
    """What was kept of these very files; None if there is nothing, or it is damaged."""
    try:
        counted = tuple(
            dataclasses.replace(CountedFile(**row), path=path)
            for row, (path, *_) in zip(json.loads(keeper.read_bytes()), stamps, strict=True)
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    same = [(file.path, file.num_bytes, file.mtime_ns) for file in counted] == list(stamps)
    return counted if same and all(map(_is_sound, counted)) else None


def _is_sound(file: CountedFile) -> bool:
    numbers = (file.num_examples, file.least_label, file.largest_label)
    return (
        file.compression in _COMPRESSIONS
        and all(type(number) is int for number in numbers)
        and file.num_examples >= 0
        and -1 <= file.least_label <= file.largest_label + 1
    )


def _write(counted: Sequence[CountedFile], keepers: Sequence[pathlib.Path]) -> None:
    """Keeps what was found in the first place that can be written; says so if there is none."""
    rows = [
        dataclasses.asdict(file) | {"path": os.path.relpath(file.path, keepers[0].parent)}
        for file in counted
    ]
    text = json.dumps(rows, indent=1) + "\n"
    for number, keeper in enumerate(keepers):
        temporary = keeper.with_name(f"{keeper.name}.{uuid.uuid4().hex[:8]}.incomplete")
        try:
            if number:  # the user's folder; that of the records is there
                keeper.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, keeper)
            return
        except OSError:
            continue
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    print(
        f"WARNING: the records are counted again each time, as neither {keepers[0].parent} nor "
        f"{keepers[1].parent} can be written."
    )
