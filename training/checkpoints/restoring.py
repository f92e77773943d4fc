"""Sets a network's variables from a checkpoint or a file of weights, by their TF-Slim names."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from nets.nets_factory import NetworkFn
from training.checkpoints import files
from training.checkpoints.finding import find_checkpoint
from training.checkpoints.mismatch import IN_PYTHON, Remedies, is_of_a_head, mismatch
from training.checkpoints.scopes import select_scopes
from training.checkpoints.sources import (
    DamagedCheckpointError,
    WeightSource,
    damage_explained,
    is_average,
    open_source,
)


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """Which variables were set from a checkpoint: names, or names and the reason why not.

    Attributes:
      checkpoint: or file of weights.
      restored: names of variables.
      skipped: why the others were not.
      unexpected: what a file of weights holds and the network has not.
      taken: out of what the weights were taken, such as "moving averages"; empty if they lie bare.
      not_taken: where else in it the network's weights are.
    """

    checkpoint: str
    restored: list[str]
    skipped: dict[str, str]
    unexpected: list[str] = dataclasses.field(default_factory=list)
    taken: str = ""
    not_taken: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        taken = f" ({self.taken})" if self.taken else ""
        lines = [f"Restored {len(self.restored)} variables from {self.checkpoint}{taken}."]
        lines += [f"  also in it, and not taken: {place}" for place in self.not_taken]
        lines += [f"  left as initialized: {name} ({why})" for name, why in self.skipped.items()]
        lines += [f"  not used: {name}" for name in self.unexpected]
        return "\n".join(lines)


def restore_network(
    network_fn: NetworkFn,
    checkpoint_path: str,
    *,
    exclude_scopes: Sequence[str] = (),
    ignore_missing: bool = False,
    skip_other_head: bool = False,
    use_moving_average: bool = True,
    bgr_to_rgb: bool = False,
    remedies: Remedies = IN_PYTHON,
) -> RestoreReport:
    """Sets a network's variables from a checkpoint, by their TF-Slim names.

    Takes checkpoints of this package, those of TF-Slim, which have the same names, and the files
    of other frameworks that `weight_formats` reads. Either all variables that are to be restored
    are, or none is.

    Args:
      network_fn: the network.
      checkpoint_path: as `find_checkpoint` takes it.
      exclude_scopes: names or scopes (`alexnet_v2/fc8`) that keep their values.
      ignore_missing: whether variables that the checkpoint lacks keep their values, as long as it
        has any.
      skip_other_head: whether a last layer for another number of classes keeps its values.
      use_moving_average: whether to take moving averages where the checkpoint has them, with which
        accuracies are published.
      bgr_to_rgb: whether to reverse the input channels of the first layer of a weight file.
      remedies: what the message about a checkpoint that does not fit tells to give.

    Returns:
      What was restored and what was not.

    Raises:
      ValueError: if there is no checkpoint, it cannot be read, lacks variables, or has them in
        other shapes; or if a scope excludes nothing.
    """
    prefix = find_checkpoint(checkpoint_path)
    excluded = select_scopes(
        remedies.exclude or "exclude_scopes", network_fn.variables, exclude_scopes
    )
    try:
        with open_source(prefix, network_fn, bgr_to_rgb, use_moving_average) as source:
            return _restore_from(
                source,
                prefix,
                network_fn,
                excluded=excluded,
                ignore_missing=ignore_missing,
                skip_other_head=skip_other_head,
                use_moving_average=use_moving_average,
                remedies=remedies,
            )
    except DamagedCheckpointError as error:
        raise ValueError(f"{error} {_remedy(prefix)}") from error


def _remedy(prefix: str) -> str:
    """What to do about a damaged checkpoint."""
    folder, name = os.path.split(prefix)
    if os.path.exists(f"{prefix}.index") and (missing := files.missing_parts(prefix)):
        return f"There is no {missing[0]}, which belongs beside {name}.index."
    if len(files.checkpoints_in(folder or ".")) > 1:
        return "Give an earlier one."
    return "Copy or download its files again: they were cut off or changed."


def _restore_from(
    source: WeightSource,
    prefix: str,
    network_fn: NetworkFn,
    *,
    excluded: Collection[str],
    ignore_missing: bool,
    skip_other_head: bool,
    use_moving_average: bool,
    remedies: Remedies,
) -> RestoreReport:
    variables, shapes = network_fn.variables, source.shapes
    keys, skipped, missing, wrong = {}, {}, {}, {}
    for name, variable in variables.items():
        key = source.find_key(name, use_moving_average)
        if name in excluded:
            skipped[name] = "excluded"
        elif key is None:
            missing[name] = "is not in it"
            skipped[name] = "not in the checkpoint"
        elif list(shapes[key]) != list(variable.shape):
            why = f"{shapes[key]} there, {list(variable.shape)} here"
            is_other_head = (
                skip_other_head
                and is_of_a_head(name, network_fn)
                and shapes[key][:-1] == list(variable.shape[:-1])
            )
            if not is_other_head:
                wrong[name] = f"has another shape: {why}"
            skipped[name] = f"for another number of classes: {why}"
        else:
            keys[name] = key
    if not (ignore_missing and keys):  # one that has nothing of the network is another's
        wrong |= missing
    if wrong:
        raise ValueError(mismatch(prefix, network_fn, source, wrong, bool(keys), remedies))
    with damage_explained(prefix):
        values = {name: source.read(key) for name, key in keys.items()}
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise DamagedCheckpointError(
            f"The checkpoint {prefix} holds NaNs or infinities in {broken[0]}."
        )
    for name, value in values.items():
        variables[name].assign(value)
    return RestoreReport(
        prefix,
        list(values),
        skipped,
        source.unexpected,
        ", ".join(filter(None, [_averages(keys.values()), source.taken])),
        _not_taken(source, keys),
    )


def _averages(keys: Collection[str]) -> str:
    """Says how many of the keys of a checkpoint are of moving averages; empty if none is."""
    number = sum(map(is_average, keys))
    if not number:
        return ""
    return "moving averages" if number == len(keys) else f"{number} of them moving averages"


def _not_taken(source: WeightSource, keys: Mapping[str, str]) -> list[str]:
    """Where else than under `keys` a file has the values of the variables."""
    averages = [source.find_key(name, use_moving_average=True) for name in keys]
    number = sum(key not in keys.values() for key in averages)
    return [*source.not_taken, *([f"moving averages ({number} variables)"] if number else [])]
