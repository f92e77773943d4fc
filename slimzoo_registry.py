"""The registry behind every name a user can type: networks, pipelines, datasets, optimizers."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class UnknownNameError(ValueError, KeyError):
    """A user gave a name that does not exist: a ValueError that mappings know as a KeyError."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message's repr


class Registry(Mapping[str, T]):
    """A read-only mapping from names to entries that is filled by a decorator.

    Args:
      kind: what an entry is, as error messages call it, for example "network".
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._explanations: list[Callable[[str], str]] = []

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator that stores its argument under `name`.

        Raises:
          ValueError: if `name` is taken; two packages must not silently replace each other.
        """

        def decorator(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"A {self.kind} called {name!r} is registered already.")
            self._entries[name] = entry
            return entry

        return decorator

    def explain_unknown(self, explanation: Callable[[str], str]) -> Callable[[str], str]:
        """Lets a function say what a name that is not registered stands for; empty if nothing."""
        self._explanations.append(explanation)
        return explanation

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Forgets at the end what was registered inside."""
        entries = dict(self._entries)
        try:
            yield
        finally:
            self._entries = entries

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            said = " ".join(filter(None, (explain(name) for explain in self._explanations)))
            raise UnknownNameError(
                f"Unknown {self.kind} {name!r}. {said}"
                if said
                else unknown_name_message(self.kind, name, self._entries)
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


def unknown_name_message(
    kind: str, name: str, known: Iterable[str], limit: int | None = None
) -> str:
    """Says that `name` does not exist, what it was probably meant to be, and what does exist.

    Args:
      kind: of the thing that has the name.
      name: as it was given.
      known: the names that there are.
      limit: how many of them are listed, if not all.
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f", and {len(known) - limit} more" if limit and len(known) > limit else ""
    return f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known[:limit])}{more}."


def import_modules(names: Iterable[str]) -> None:
    """Imports modules of a user's own, which register what they define.

    Raises:
      ValueError: if one cannot be imported, whatever is wrong with it.
    """
    for name in names:
        if os.getcwd() not in sys.path:
            # An installed command does not look where it was started. Last, to hide no package.
            sys.path.append(os.getcwd())
        try:
            importlib.import_module(name)
        except Exception as error:  # a module of the user's own can raise anything
            raise ValueError(
                f"--import_modules: {name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
