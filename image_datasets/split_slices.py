"""Split syntax for every source: TFDS's own parser, with messages for the person who typed it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow_datasets as tfds

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
      split: in the syntax of https://www.tensorflow.org/datasets/splits.
      split_infos: the splits that exist.
      dataset: what error messages call the dataset.

    Returns:
      One slice per term of `split`, in its order, none of them empty.

    Raises:
      ValueError: if `split` cannot be parsed, names a split that does not exist, reaches outside
        its split, or selects nothing.
    """
    try:
        instruction = tfds.core.ReadInstruction.from_spec(split)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(
            f"The split {split!r} of {dataset} cannot be read. Write a name, a slice or a sum, "
            f"such as train, train[:80%], train[100:200] or train+validation. "
            f"Splits that exist: {', '.join(split_infos)}."
        ) from error
    for term in re.split(r"\s*\+\s*", split):
        name = term.partition("[")[0]
        if name not in split_infos and name != _ALL_SPLITS:
            raise ValueError(unknown_name_message(f"split of {dataset}", name, split_infos))
    sizes = ", ".join(f"{name} {info.num_examples:,}" for name, info in split_infos.items())
    try:
        absolute = instruction.to_absolute(dict(split_infos))
    except ValueError as error:
        raise ValueError(
            f"The split {split!r} reaches outside {dataset}, which has these examples: {sizes}."
        ) from error
    slices = [
        SplitSlice(
            str(part.splitname),
            part.from_ or 0,
            split_infos[part.splitname].num_examples if part.to is None else part.to,
        )
        for part in absolute
    ]
    slices = [part for part in slices if part.start < part.stop]
    if not slices:
        raise ValueError(
            f"The split {split!r} of {dataset} selects no example. It has these: {sizes}."
        )
    return slices


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
