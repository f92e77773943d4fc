"""How batch normalisation is trained: over which images, how fast its statistics follow, or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import keras

from nets.nets_factory import NetworkFn


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormalizationSettings:
    """Of all layers of batch normalisation, the user's own included.

    Attributes:
      sync_batch_norm: whether the batches of all replicas are normalised as one.
      batch_norm_decay: share of a moving statistic that is kept at each step; None is what the
        network has.
      freeze_batch_norm: whether layers that are not trained go by their moving statistics, and
        leave them. If not, they go by the batch and move their statistics, as in TF-Slim.
    """

    sync_batch_norm: bool = False
    batch_norm_decay: float | None = None
    freeze_batch_norm: bool = True


def set_normalization(
    network_fn: NetworkFn, settings: NormalizationSettings, trained: Iterable[keras.Variable]
) -> None:
    """Lets a network's batch normalisation do what the settings say.

    Args:
      network_fn: that is going to be trained.
      settings: that have an effect on it, or are the defaults.
      trained: its variables that are trained.

    Raises:
      ValueError: if the settings ask for something and there is no batch normalisation.
    """
    normalizations = [
        layer for layer in network_fn.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    # Without normalisation, to freeze it or not is the same.
    asked = [
        f"--{field.name}"
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != field.default and field.name != "freeze_batch_norm"
    ]
    if asked and not normalizations:
        raise ValueError(
            f"{network_fn.name} has no batch normalization, which {' and '.join(asked)} would be "
            "about. Leave that out, or take another network."
        )
    ids = set(map(id, trained))
    for layer in normalizations:
        layer.synchronized |= settings.sync_batch_norm
        if settings.batch_norm_decay is not None:
            layer.momentum = settings.batch_norm_decay
        # What is not trained then gives the features that it gave where it was, whatever the batch
        # is; to go by the batch needs thousands of steps until the statistics are of these images.
        if settings.freeze_batch_norm and not any(id(one) in ids for one in layer.weights):
            layer.trainable = False
