"""Names of files and folders as text: compared, checked and shown."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence


def same_spelling(name: str) -> str:
    """Returns a name with accents as one character each (NFC), as names are compared.

    File systems keep both spellings: "é" typed on Linux is one character, on a Mac it is two.
    """
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    r"""Returns a name that any terminal can show on one line: "caf\\xe9", "two\\nlines"."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns names for a message: all, or the first `most` and how many more there are."""
    shown = ", ".join(map(printable, names[:most]))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def check_utf8(paths: Iterable[str], where: str) -> None:
    """Checks that names can be written to JSON, CSV and a SavedModel, which know UTF-8 only.

    Args:
      paths: of files, as Python gives them: bytes that are not UTF-8 became surrogates.
      where: what the message calls the place of the files.

    Raises:
      ValueError: naming those that are not UTF-8.
    """
    wrong = list(
        dict.fromkeys(
            path[: path.find("/", error.start)] if "/" in path[error.start :] else path
            for path in paths
            if (error := _encoding_error(path))
        )
    )
    if wrong:
        raise ValueError(
            f"{len(wrong):,} {'name is' if len(wrong) == 1 else 'names are'} not in UTF-8 in "
            f"{printable(where)}: {listed(wrong, 3)}. Rename what is called so; if the names are "
            "Latin-1, `convmv -r -f latin1 -t utf8 --notest FOLDER` does."
        )


def _encoding_error(path: str) -> UnicodeEncodeError | None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        return error
    return None
