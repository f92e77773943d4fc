"""Factors of the learning rate and the weight decay by the names of variables.

--learning_rate_factors=*/biases=2,alexnet_2012/conv1/*@67=0.1
--weight_decay_factors=*/fc10/*=250
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class _Rule(NamedTuple):
    pattern: str
    epoch: float
    factor: float


class VariableFactors:
    """A factor for each variable, which may change at some epochs.

    Of the entries of one pattern the last whose epoch has come counts; those of different patterns
    that match a variable are multiplied.

    Args:
      flag: what error messages call it.
      entries: PATTERN=FACTOR or PATTERN@EPOCH=FACTOR; `*` in a pattern is any text.
      names: of the variables that have factors, in order.
      known: names of all variables that a pattern may match, also those that this run does not
        train. A pattern that matches none of them is an error. Default: `names`.
      takes_epochs: whether factors may change.

    Raises:
      ValueError: if an entry is not of this form, or its pattern matches no variable.
    """

    def __init__(
        self,
        flag: str,
        entries: Sequence[str],
        names: Iterable[str],
        known: Iterable[str] | None = None,
        takes_epochs: bool = True,
    ):
        self._names = list(names)
        known = self._names if known is None else list(known)
        self._rules = sorted(
            (_parse(flag, entry) for entry in entries), key=lambda rule: rule.epoch
        )
        for rule in self._rules:
            if not fnmatch.filter(known, rule.pattern):
                raise ValueError(
                    f"--{flag}: the pattern {rule.pattern!r} matches no variable. It must match "
                    "the whole name, and * stands for any text: */conv1/*. Variables: "
                    f"{', '.join(known[:4])}, ..."
                )
            if rule.epoch and not takes_epochs:
                raise ValueError(f"--{flag}: {rule.pattern}@{rule.epoch:g}; it takes no epochs.")

    def __bool__(self) -> bool:
        """Whether there is any entry."""
        return bool(self._rules)

    def at(self, epoch: float) -> list[float]:
        """Returns the factors of the epoch, one for each variable."""
        current = {rule.pattern: rule.factor for rule in self._rules if rule.epoch <= epoch}
        return [
            math.prod(
                factor for pattern, factor in current.items() if fnmatch.fnmatch(name, pattern)
            )
            for name in self._names
        ]


def _parse(flag: str, entry: str) -> _Rule:
    target, equals, factor = entry.strip().rpartition("=")
    pattern, at, epoch = target.rpartition("@")
    if not at:
        pattern, epoch = target, "0"
    try:
        rule = _Rule(pattern, float(epoch), float(factor))
    except ValueError:
        rule = _Rule("", math.nan, math.nan)
    if not (equals and rule.pattern and 0 <= rule.epoch < math.inf and 0 <= rule.factor < math.inf):
        raise ValueError(
            f"--{flag} has {entry!r}; it takes PATTERN=FACTOR or PATTERN@EPOCH=FACTOR with numbers "
            "of 0 or more, for example */biases=2."
        )
    return rule
