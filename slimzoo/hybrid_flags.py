"""The flags of training over devices that share layers, which are part of `TrainingConfig`."""

from __future__ import annotations

import dataclasses

from slimzoo.flags import Theme, flag
from training.devices import TRAINING_STRATEGIES
from training.hybrid.schemes import SCHEMES, HybridSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridFlags:
    """What only training can be told of devices; `check_hybrid` looks at how it fits together."""

    distribution_strategy: str = flag(
        "mirrored",
        "`mirrored`: all devices of this host; `multi_worker_mirrored`: several hosts, "
        "described by worker_hosts and task_index, or by the environment variable TF_CONFIG; "
        "`hybrid`: all devices of this host, with fully connected layers divided among them "
        "(AlexNets, VGGs, overfeat, lenet, cifarnet).",
        TRAINING_STRATEGIES,
        theme=Theme.DEVICES,
    )
    hybrid_scheme: str = flag(
        HybridSettings.hybrid_scheme,
        "Of `hybrid`, which images pass the fully connected layers together. `a`: all of a batch; "
        "`b`: those of one device, then those of the next; `c`: a share of every device's, as many "
        "times as there are devices.",
        SCHEMES,
        theme=Theme.DEVICES,
    )
    fc_updates_per_step: int = flag(
        HybridSettings.fc_updates_per_step,
        "Of `hybrid` with the schemes b and c, updates of the fully connected layers in a step. "
        "With K devices, K is one after each part of the batch, and the convolutions are updated "
        "once at K times the learning rate. 1 is one update for all.",
        theme=Theme.DEVICES,
    )
