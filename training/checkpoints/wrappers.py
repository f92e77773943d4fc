"""Finds a network's weights behind what their names were wrapped in.

`features.module.0.weight` (PyTorch's DataParallel), `_orig_mod.` (torch.compile), `model.`
(Lightning), dictionaries in dictionaries: what comes before a name, or between its parts, depends
on the script that saved it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable

from weight_formats import NESTED

Components = tuple[str, ...]

# Of DataParallel and torch.compile; they stand where the wrapped part is, which may be anywhere.
_WRAPPERS = ("module", "_orig_mod")
_AVERAGE_WORDS = {"ema", "average", "averaged", "averages", "avg", "swa", "shadow"}
# Where weights are in a checkpoint that has them several times; what comes first is taken.
_ORDER = ("", "state_dict", "model_state_dict", "model", "params", "network", "net", "weights")


@dataclasses.dataclass(frozen=True)
class Unwrapped:
    """A network's weights in a file.

    Attributes:
      sources: the names of tensors in the file, by the names that they stand for. Several are of
        one name if they differ in their wrappers alone.
      taken: for people: what the weights were taken out of; empty if they lie bare.
      not_taken: for people: where else in the file such weights are.
      unexpected: the names of tensors beside them that stand for none of the network's.
    """

    sources: dict[str, list[str]]
    taken: str
    not_taken: list[str]
    unexpected: list[str]


@dataclasses.dataclass
class _Group:
    """Tensors of one dictionary whose names begin alike."""

    container: str
    prefix: Components
    num_members: int = 0
    sources: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def is_bare(self) -> bool:
        return not self.container and not self.prefix

    def may_be_the_network(self) -> bool:
        """Whether most of it is the network's: conv1, conv2 are in parts of other networks too."""
        return bool(self.sources) and (not self.prefix or 2 * len(self.sources) >= self.num_members)

    def place(self) -> str:
        shown = [*filter(None, [self.container]), *filter(None, [".".join(self.prefix)])]
        return NESTED.join(shown) or "the file's top level"

    def is_average(self) -> bool:
        words = re.split(r"[^a-z]+", f"{self.container} {' '.join(self.prefix)}".lower())
        return bool(_AVERAGE_WORDS & set(words))

    def rank(self, use_moving_average: bool) -> tuple[bool, list[int]]:
        """Least for what is taken of several that fit equally well."""
        containers = self.container.split(NESTED)
        order = [_ORDER.index(one) if one in _ORDER else len(_ORDER) for one in containers]
        return self.is_average() != use_moving_average, order


def unwrap(
    path: str,
    names: Iterable[str],
    known: Collection[str],
    meaning: Callable[[Components], str],
    use_moving_average: bool = False,
) -> Unwrapped:
    """Finds which tensors of a file are a network's.

    Of all dictionaries in the file, and all beginnings of names in them, those are taken behind
    which the most of the network's names are. Of several with equally many: moving averages if
    they are asked for and else not, then the first of `_ORDER`.

    Args:
      path: of the file, for messages.
      names: of the tensors, with their dictionaries as `read_weights` gives them.
      known: the network's names.
      meaning: the network's name, or any other, for what is left of a name in the file.
      use_moving_average: whether averages come before what they are the averages of.

    Raises:
      ValueError: if there are several and nothing says which of them is meant.
    """
    inside_known = {part for name in known for part in name.split("/")}
    wrappers = [one for one in _WRAPPERS if one not in inside_known]
    groups: dict[tuple[str, Components], _Group] = {}
    by_container: dict[str, list[str]] = {}
    for name in names:
        container, _, bare = name.rpartition(NESTED)
        by_container.setdefault(container, []).append(name)
        parts = tuple(part for part in re.split("[./]", bare) if part not in wrappers)
        for length in range(max(len(parts) - 1, 1)):
            key = (container, parts[:length])
            group = groups.setdefault(key, _Group(*key))
            group.num_members += 1
            if parts and (target := meaning(parts[length:])) in known:
                group.sources.setdefault(target, []).append(name)
    fitting = [group for group in groups.values() if group.may_be_the_network()]
    if not fitting:
        return Unwrapped({}, "", [], list(names))
    most = max(len(group.sources) for group in fitting)
    equal = sorted(
        (group for group in fitting if len(group.sources) == most),
        key=lambda group: group.rank(use_moving_average),
    )
    first, *others = equal
    if others and others[0].rank(use_moving_average) == first.rank(use_moving_average):
        raise ValueError(
            f"{path} holds the network's weights more than once, under {first.place()} and under "
            f"{others[0].place()}, and does not say which are meant. Save the one that you want "
            "in a file of its own, as a state dict."
        )
    used = {name for group in equal for found in group.sources.values() for name in found}
    return Unwrapped(
        first.sources,
        _taken(first, wrappers),
        [f"{group.place()} ({len(group.sources)} variables)" for group in others],
        [name for name in by_container[first.container] if name not in used],
    )


def _taken(group: _Group, wrappers: Collection[str]) -> str:
    """Says where weights were, and what was left out of their names."""
    left_out: dict[str, None] = {}
    for name in (name for found in group.sources.values() for name in found):
        parts = re.split("[./]", name.rpartition(NESTED)[2])
        dropped, remaining = [], list(group.prefix)
        for part in parts:
            if remaining and part == remaining[0]:
                dropped.append(remaining.pop(0))
            elif part in wrappers:
                dropped.append(part)
        if dropped:
            left_out[".".join(dropped) + "."] = None
    said = ["moving averages"] if group.is_average() else []
    said += [f"under {group.container}"] if group.container else []
    said += [f"names without {' and '.join(left_out)}"] if left_out else []
    return ", ".join(said)
