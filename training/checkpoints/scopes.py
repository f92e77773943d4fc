"""Which variables a user means by TF-Slim's scopes."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from slimzoo_registry import unknown_name_message


def select_scopes(given_as: str, variables: Mapping[str, Any], scopes: Iterable[str]) -> list[str]:
    """Returns the names of the variables in `scopes`, such as `alexnet_v2/fc8`.

    Args:
      given_as: what error messages call the list of scopes: `--trainable_scopes`.
      variables: by their TF-Slim names.
      scopes: names of variables, or what their names begin with up to a slash. What is none of
        these may be any other beginning, as in TF-Slim: `InceptionV3/Mixed_7` is three scopes. In
        one with a `*`, which stands for any text, the whole name counts: `*weights`.

    Raises:
      ValueError: if a scope holds no variable.
    """
    selected: list[str] = []
    for scope in scopes:
        if "*" in scope:
            inside = fnmatch.filter(variables, scope)
        else:
            inside = [name for name in variables if f"{name}/".startswith(scope.rstrip("/") + "/")]
            inside = inside or [name for name in variables if scope and name.startswith(scope)]
        if not inside:
            known = dict.fromkeys(name.rpartition("/")[0] for name in variables)
            raise ValueError(f"{given_as}: {unknown_name_message('scope', scope, known, 6)}")
        selected += inside
    return selected
