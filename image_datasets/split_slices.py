"""Split syntax for every source: TFDS's own parser, with messages for the person who typed it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import tensorflow_datasets as tfds

from image_datasets.split_names import find_split
from slimzoo_registry import unknown_name_message

# TFDS's name for the union of all splits.
_ALL_SPLITS = "all"


class SplitSlice(NamedTuple):
    """The examples `start` (included) to `stop` (excluded) of the split `name`."""

    name: str
    start: int
    stop: int


def parse_split(
    split: str, split_infos: Mapping[str, tfds.core.SplitInfo], dataset: str
) -> list[SplitSlice]:
    """Turns "train[:80%]+validation" into positions.

    Args:
      split: in the syntax of https://www.tensorflow.org/datasets/splits. A name that means the
        same as that of the only such split is taken for it: "valid" for "validation".
      split_infos: the splits that exist.
      dataset: what error messages call the dataset.

    Returns:
      One slice per term of `split`, in its order, none of them empty.

    Raises:
      ValueError: if `split` cannot be parsed, names a split that does not exist, reaches outside
        its split, or selects nothing.
    """
    try:
        tfds.core.ReadInstruction.from_spec(split)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(
            f"The split {split!r} of {dataset} cannot be read. Write a name, a slice or a sum, "
            f"such as train, train[:80%], train[100:200] or train+validation. "
            f"Splits that exist: {', '.join(split_infos)}."
        ) from error
    terms: list[str] = []
    used: set[str] = set()
    for term in re.split(r"\s*\+\s*", split):
        name, bracket, positions = term.partition("[")
        known_name = name if name == _ALL_SPLITS else find_split(name, split_infos)
        if known_name is None:
            raise ValueError(unknown_name_message(f"split of {dataset}", name, split_infos))
        terms.append(f"{known_name}{bracket}{positions}")
        used.update(split_infos if known_name == _ALL_SPLITS else [known_name])
    instruction = tfds.core.ReadInstruction.from_spec("+".join(terms))
    # Of a split that is not asked for, the size may be costly to find out.
    used_infos = {name: split_infos[name] for name in split_infos if name in used}
    sizes = ", ".join(f"{name} {info.num_examples:,}" for name, info in used_infos.items())
    try:
        absolute = instruction.to_absolute(used_infos)
    except ValueError as error:
        raise ValueError(
            f"The split {split!r} reaches outside {dataset}, which has these examples: {sizes}."
        ) from error
    slices = [
        SplitSlice(
            str(part.splitname),
            part.from_ or 0,
            used_infos[part.splitname].num_examples if part.to is None else part.to,
        )
        for part in absolute
    ]
    slices = [part for part in slices if part.start < part.stop]
    if not slices:
        raise ValueError(
            f"The split {split!r} of {dataset} selects no example. It has these: {sizes}."
        )
    return slices


def num_shared(slices: Iterable[SplitSlice], others: Iterable[SplitSlice]) -> int:
    """Returns how many examples of `slices` are in `others` as well, of the same dataset."""
    count = 0
    in_order = sorted(others)
    for part in slices:
        position = part.start
        for other in in_order:
            start, stop = max(position, other.start), min(part.stop, other.stop)
            if other.name == part.name and start < stop:
                count += stop - start
                position = stop  # what several of the others have is counted once
    return count


def slices_from(slices: list[SplitSlice], start: int) -> list[SplitSlice]:
    """Returns what is left of `slices` without their first `start` examples.

    Args:
      slices: of `parse_split`.
      start: at least 0, and less than the number of examples in `slices`.
    """
    left = []
    for part in slices:
        length = part.stop - part.start
        if start < length:
            left.append(part._replace(start=part.start + start))
        start = max(start - length, 0)
    return left
