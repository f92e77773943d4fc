"""What to say of a checkpoint that is not of the network, and which network it may be of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from nets import scopes
from nets.nets_factory import NetworkFn, get_network_fn, networks
from training.checkpoints.sources import WeightSource
from training.zoo.table import PREFIX, published_checkpoints

_SHOWN = 4  # of each list: the rest would only say again that it is something else


@dataclasses.dataclass(frozen=True)
class Remedies:
    """What can be done about a checkpoint that does not fit, as it is called where one is given.

    Attributes:
      network: gives another network, which is `{name}` and has `{options}`.
      option: how each of those is given, `{name}` and `{value}`.
      classes: for weights of another number of outputs, which is `{outputs}`; `{head}` is the
        scope of the last layer.
      exclude: takes scopes that keep their values; None where nothing does.
      ignore_missing: lets missing variables keep theirs; None where nothing does.
    """

    network: str
    option: str
    classes: str
    exclude: str | None = None
    ignore_missing: str | None = None


IN_PYTHON = Remedies(
    network="get_network_fn({name!r}, ...{options})",
    option=", {name}={value!r}",
    classes="Give get_network_fn num_classes={outputs}, or leave out the last layer with "
    "skip_other_head=True or exclude_scopes=[{head!r}].",
    exclude="exclude_scopes",
    ignore_missing="ignore_missing=True",
)
BY_FLAGS = Remedies(
    network="--model_name={name}{options}",
    option=" --network_options={name}={value} (a flag of convert_weights)",
    classes="Give with --dataset_name the dataset that they were trained on.",
)
BY_FLAGS_WITH_SCOPES = dataclasses.replace(
    BY_FLAGS,
    option=" --network_options={name}={value}",
    exclude="--checkpoint_exclude_scopes",
    ignore_missing="--ignore_missing_vars",
)


def mismatch(
    prefix: str,
    network_fn: NetworkFn,
    source: WeightSource,
    wrong: Mapping[str, str],
    any_fits: bool,
    remedies: Remedies,
) -> str:
    """Says what does not fit, and what to do about it.

    Args:
      prefix: of the checkpoint.
      network_fn: that it does not fit.
      source: of the checkpoint's values.
      wrong: what is wrong with variables, by their names.
      any_fits: whether any variable is as it should be.
      remedies: as they are called where the checkpoint was given.
    """
    name = network_fn.name
    known = {
        source.find_key(variable, average)
        for variable in network_fn.variables
        for average in (False, True)
    }
    unused = source.left_over(set(filter(None, known)))
    lines = [
        *_first([f"{variable} {why}" for variable, why in wrong.items()]),
        *_first([f"{weight} is in it, and {name} has no such" for weight in unused]),
    ]
    advice = _advice(network_fn, source, wrong, unused, any_fits, remedies)
    return "\n".join([f"The checkpoint {prefix} does not fit {name}:", *lines, advice])


def _first(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"  {line}" for line in [*lines[:_SHOWN], *more]]


def _advice(
    network_fn: NetworkFn,
    source: WeightSource,
    wrong: Mapping[str, str],
    unused: Sequence[str],
    any_fits: bool,
    remedies: Remedies,
) -> str:
    heads = {head: source.find_key(f"{head}/biases") for head in network_fn.heads}
    outputs = {head: list(source.shapes[key])[-1] for head, key in heads.items() if key}
    head, number = next(iter(outputs.items()), ("", network_fn.num_classes))
    only_heads = not unused and all(is_of_a_head(name, network_fn) for name in wrong)
    if only_heads and number != network_fn.num_classes:
        return (
            f"The weights have {number} outputs, but {network_fn.num_classes} classes are asked "
            f"for. {remedies.classes.format(outputs=number, head=head)}"
        )
    said = [] if any_fits else ["Nothing in it fits."]
    if held := [scope for scope in source.scopes if source.has_scope(scope)]:
        said.append(f"It holds variables of: {', '.join(held[:6])}.")
    if fitting := fitting_networks(network_fn, source):
        names = " and ".join(map(str, fitting))
        given = " or ".join(one.given(remedies) for one in fitting)
        said.append(f"{names} {'fits' if len(fitting) == 1 else 'fit'}. Give {given}.")
        return " ".join(said)
    said.append("Give the network that it was trained with.")
    if any_fits and remedies.exclude:
        said.append(f"Or leave out scopes with {remedies.exclude}")
        lacks = any(source.find_key(name) is None for name in wrong)
        said[-1] += f", or what is missing with {remedies.ignore_missing}." if lacks else "."
    return " ".join(said)


def is_of_a_head(name: str, network_fn: NetworkFn) -> bool:
    """Whether a variable belongs to a layer that gives one number a class."""
    return any(name.startswith(f"{head}/") for head in network_fn.heads)


@dataclasses.dataclass(frozen=True)
class FittingNetwork:
    """A network by its name and the options that make it fit."""

    name: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return self.name + (f" with {options}" if options else "")

    def given(self, remedies: Remedies) -> str:
        """How it is asked for."""
        options = [remedies.option.format(name=n, value=v) for n, v in self.options.items()]
        return remedies.network.format(name=self.name, options="".join(options))


@networks.explain_unknown
def _of_published_weights(name: str) -> str:
    """What to say of a network that is called like a published checkpoint."""
    if name not in published_checkpoints:
        return ""
    row = published_checkpoints[name]
    fitting = FittingNetwork(row.network, row.network_options)
    return f"{PREFIX}{name} is a published checkpoint of the network {fitting}."


def fitting_networks(network_fn: NetworkFn, source: WeightSource) -> list[FittingNetwork]:
    """The networks, other than `network_fn`, whose variables a checkpoint has.

    Looks among the registered ones and those that have published checkpoints. Names and shapes
    count, but for those of last layers, which depend on the classes.
    """
    candidates = [FittingNetwork(name, {}) for name in networks if name != network_fn.name]
    for row in published_checkpoints.values():
        candidate = FittingNetwork(row.network, row.network_options)
        if row.network_options and candidate not in candidates:
            candidates.append(candidate)
    return [candidate for candidate in candidates if _fits(candidate, source)]


def _fits(candidate: FittingNetwork, source: WeightSource) -> bool:
    network = networks[candidate.name]
    if not source.has_scope(scopes.joined(network.scope, network.first_layer)):
        return False
    # Names and shapes alone, in no time.
    with keras.StatelessScope(initialize_variables=False):
        network_fn = get_network_fn(candidate.name, **candidate.options)
    return all(
        (key := source.find_key(variable, use_moving_average=True))
        and list(source.shapes[key]) == list(value.shape)
        for variable, value in network_fn.variables.items()
        if not is_of_a_head(variable, network_fn)
    )
