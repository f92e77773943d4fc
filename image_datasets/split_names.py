"""The names that people give to splits, and which of them mean the same."""

from __future__ import annotations

from collections.abc import Iterable

# What a name means, by how it is written in small letters.
_MEANINGS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
SPLIT_NAMES = tuple(_MEANINGS)
"""Every name that has a meaning, in small letters."""


def split_meaning(name: str) -> str | None:
    """Returns "train", "validation" or "test", whichever a name in any case means, or None."""
    return _MEANINGS.get(name.lower())


def find_split(name: str, known: Iterable[str]) -> str | None:
    """Returns which of the known splits a name stands for.

    Args:
      name: as a user typed it.
      known: the splits that exist.

    Returns:
      The split of that very name, else the only one that means the same; None without one.
    """
    known = list(known)
    if name in known:
        return name
    meaning = split_meaning(name)
    same = [split for split in known if meaning and split_meaning(split) == meaning]
    return same[0] if len(same) == 1 else None
