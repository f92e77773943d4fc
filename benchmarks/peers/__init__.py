"""The libraries that this one is measured beside, where they are installed."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import Any

from contenders import Contender
from measuring import LeftOut

_ALEXNETS = ("alexnet", "alexnet_v2")
_TORCHVISION = ("vgg_16", "resnet_v1_50", "inception_v3", "mobilenet_v2")
_PRECISIONS = ("float32", "bfloat16", "bfloat16_weights")


@dataclasses.dataclass(frozen=True)
class Peer:
    """A library that can train or run one of the networks.

    Attributes:
      package: what has to be installed.
      module: of the functions `training_step` and `forward_pass`.
      modes: by task, the ways to use it.
      usual_modes: those that are measured if none is asked for, where the task has them.
      models: those of the networks that it has.
      precisions: in which it has them.
    """

    package: str
    module: str
    modes: dict[str, tuple[str, ...]]
    usual_modes: tuple[str, ...]
    models: tuple[str, ...] = _ALEXNETS
    precisions: tuple[str, ...] = _PRECISIONS


# The last two are for GPUs, and channels-last too.
_PYTORCH_MODES = (
    *("eager", "channels_last", "compiled", "compiled_channels_last"),
    *("compiled_cuda_graphs", "compiled_max_autotune"),
)
_PYTORCH = {
    "training_step": _PYTORCH_MODES,
    "forward_pass": (*_PYTORCH_MODES, "compiled_frozen"),
}

PEERS = {
    "pytorch": Peer(
        "torch",
        "peers.pytorch",
        _PYTORCH,
        usual_modes=(*_PYTORCH_MODES[:4], "compiled_frozen"),
        precisions=(*_PRECISIONS, "float16"),
    ),
    "torchvision": Peer(
        "torchvision",
        "peers.torchvision_networks",
        _PYTORCH,
        usual_modes=("eager", "channels_last", "compiled_channels_last", "compiled_frozen"),
        models=_TORCHVISION,
        precisions=(*_PRECISIONS, "float16"),
    ),
    "tf_slim": Peer(
        "tf_slim",
        "peers.tf_slim_graph",
        {"training_step": ("graph",), "forward_pass": ("graph",)},
        usual_modes=("graph",),
        models=("alexnet_v2", "vgg_16", "resnet_v1_50", "inception_v3"),
        precisions=("float32",),
    ),
    "keras": Peer(
        "keras",
        "peers.stock_keras",
        {"training_step": ("own_loop", "fit"), "forward_pass": ("own_loop",)},
        usual_modes=("own_loop",),
        models=(*_ALEXNETS, *_TORCHVISION, "mobilenet_v1"),
    ),
}


def installed_peers() -> list[str]:
    """The names of those whose package is there."""
    return [name for name, peer in PEERS.items() if importlib.util.find_spec(peer.package)]


def check_selection(selection: Sequence[str]) -> bool:
    """Whether every entry names a peer, or a peer and a mode as in "pytorch:compiled"."""
    return all(
        name in PEERS and (not mode or any(mode in modes for modes in PEERS[name].modes.values()))
        for name, _, mode in (entry.partition(":") for entry in selection)
    )


def peer_contenders(
    selection: Sequence[str], task: str, arguments: dict[str, Any]
) -> tuple[list[Contender], list[LeftOut]]:
    """The contenders of a case, and those that cannot take part in it.

    Args:
      selection: names of peers, each in its usual modes, or with a mode: "pytorch:compiled".
      task: "training_step" or "forward_pass".
      arguments: of that function; "model" and "precision" among them.
    """
    contenders, left_out = [], []
    for entry in selection:
        name, _, wanted = entry.partition(":")
        peer = PEERS[name]
        usual = [mode for mode in peer.usual_modes if mode in peer.modes[task]]
        for mode in [wanted] if wanted else usual:
            contender = Contender(
                f"{name} {mode}", f"{peer.module}:{task}", {**arguments, "mode": mode}
            )
            if reason := _obstacle(peer, task, mode, arguments):
                left_out.append(LeftOut(contender, reason))
            else:
                contenders.append(contender)
    return contenders, left_out


def _obstacle(peer: Peer, task: str, mode: str, arguments: dict[str, Any]) -> str | None:
    if not importlib.util.find_spec(peer.package):
        return f"{peer.package} is not installed"
    if arguments["model"] not in peer.models:
        return f"it has no {arguments['model']} here"
    if arguments["precision"] not in peer.precisions:
        return f"it has no {arguments['precision']} here"
    if mode not in peer.modes[task]:
        return f"this mode is not for a {task.replace('_', ' ')}"
    return None
