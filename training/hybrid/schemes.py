"""The schemes of "One weird trick", section 4: which images pass the last layers when."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from slimzoo_registry import unknown_name_message

SCHEMES = ("a", "b", "c")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HybridSettings:
    """How the devices take turns at the fully connected layers (section 4 of the paper).

    Attributes:
      hybrid_scheme: "a": all devices send all others the activities of all their images, which
        pass the fully connected layers at once. "b": device after device sends those of all its
        images. "c": all devices send those of a K-th of their images, K times.
      fc_updates_per_step: of the fully connected layers. With several, all but the first are made
        with weights that the images before have changed.
    """

    hybrid_scheme: str = "a"
    fc_updates_per_step: int = 1


class Rows(NamedTuple):
    """Some of the images of one device."""

    device: int
    start: int
    stop: int


def passes(scheme: str, num_devices: int, rows: int) -> list[list[Rows]]:
    """Which images pass the fully connected layers together, one pass after another.

    Args:
      scheme: of `SCHEMES`.
      num_devices: K, which share the batch.
      rows: images of each.

    Raises:
      ValueError: if the scheme is unknown, or the images of a device cannot be divided.
    """
    if scheme not in SCHEMES:
        raise ValueError(unknown_name_message("--hybrid_scheme", scheme, SCHEMES))
    devices = range(num_devices)
    if scheme == "a":
        return [[Rows(device, 0, rows) for device in devices]]
    if scheme == "b":
        return [[Rows(device, 0, rows)] for device in devices]
    if rows % num_devices:
        least = num_devices**2
        below = rows * num_devices // least * least
        fitting = f"{below} or {below + least}" if below else f"{least}"
        raise ValueError(
            f"--hybrid_scheme=c divides the images of each device among {num_devices} passes, and "
            f"has {rows} of each; --batch_size must be a multiple of {least}: {fitting}."
        )
    part = rows // num_devices
    return [[Rows(d, i * part, (i + 1) * part) for d in devices] for i in devices]


def check_hybrid(
    settings: HybridSettings,
    batch_size: int,
    num_devices: int,
    clip_global_norm: float | None = None,
) -> None:
    """Looks at what can be known before anything is built.

    Args:
      settings: how the devices share the work.
      batch_size: images of all devices.
      num_devices: that share them.
      clip_global_norm: of the optimizer.

    Raises:
      ValueError: if the devices cannot share the work so.
    """
    if num_devices < 2:
        raise ValueError(
            "--distribution_strategy=hybrid is for two devices or more, and here is one. Without a "
            "GPU, --num_replicas=2 divides the CPU."
        )
    num_passes = len(passes(settings.hybrid_scheme, num_devices, batch_size // num_devices))
    updates = settings.fc_updates_per_step
    if updates < 1 or num_passes % updates:
        fitting = [str(number) for number in range(1, num_devices + 1) if not num_devices % number]
        takes = f"{num_passes} times in a step" if num_passes > 1 else "once in a step"
        raise ValueError(
            f"--fc_updates_per_step is {updates}; with --hybrid_scheme={settings.hybrid_scheme} on "
            f"{num_devices} devices images pass the fully connected layers {takes}. The schemes b "
            f"and c take {', '.join(fitting)}, and a takes 1."
        )
    if clip_global_norm is not None and updates > 1:
        raise ValueError(
            f"--clip_global_norm={clip_global_norm:g} is for the gradients of a whole step, and "
            f"--fc_updates_per_step={updates} updates the fully connected layers before those of "
            "the convolutions are known. Leave out one of the two."
        )
