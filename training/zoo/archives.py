"""Takes a checkpoint out of an archive, and nothing else."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable

_BLOCK = 1 << 20


def unpack_checkpoint(archive: str, wanted: str, folder: str) -> None:
    """Unpacks the files of one checkpoint of TensorFlow.

    They come to lie in `folder` itself: where the archive would have its files written, and what
    its links point to, does not count.

    Args:
      archive: a tar file, compressed or not.
      wanted: as `find_checkpoint_among` takes it.
      folder: an existing one.

    Raises:
      ValueError: if it is no such archive, is cut off, or does not hold the checkpoint.
      OSError: if `folder` cannot be written.
    """
    try:
        with tarfile.open(archive) as tar:
            files = [member for member in tar.getmembers() if member.isfile()]
            while tar.fileobj and tar.fileobj.read(_BLOCK):
                pass  # at the end is a checksum, often all that tells what is damaged
            prefix = find_checkpoint_among([member.name for member in files], wanted)
            for member in files:
                content = tar.extractfile(member)
                if content and _is_part(member.name, prefix):
                    place = os.path.join(folder, os.path.basename(member.name))
                    with content, open(place, "wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        why = str(error).partition(":\n")[0]  # a line for each kind of archive follows
        raise ValueError(f"it is no whole archive: {why}{_beginning(archive)}") from error


def find_checkpoint_among(names: Iterable[str], wanted: str) -> str:
    """Finds a checkpoint, of either format of TensorFlow, among files by their names.

    Args:
      names: of the files.
      wanted: the checkpoint's path among them, or the end of that. If there is none such, the only
        checkpoint is taken.

    Returns:
      The name of its files without what they end in.

    Raises:
      ValueError: if it is not among them, or it is not clear which is meant.
    """
    found = set()
    for name in names:
        if name.endswith(".index"):
            found.add(name.removesuffix(".index"))
        elif name.endswith(".ckpt"):  # all in one file, TensorFlow's first format
            found.add(name)
    fitting = [one for one in found if wanted and f"/{one}".endswith(f"/{wanted}")]
    if len(fitting) == 1:
        return fitting[0]
    if len(found) == 1:
        return found.pop()
    if not found:
        raise ValueError("there is no checkpoint in it")
    raise ValueError(
        f"it holds the checkpoints {', '.join(sorted(found))}, and not {wanted or 'a single one'}"
    )


def _is_part(name: str, prefix: str) -> bool:
    """Whether a file is of the checkpoint: its index, its data, or the one file that it is."""
    ending = name.removeprefix(prefix)
    is_part = ending in ("", ".index", ".meta") or ending.startswith(".data-")
    return name.startswith(prefix) and is_part


def _beginning(path: str) -> str:
    """What a file begins with, if it is text: a page that asks for a login is no archive."""
    with open(path, "rb") as file:
        begins = file.read(60)
    return f" (it begins with {begins.decode()!r})" if begins.isascii() and begins else ""
