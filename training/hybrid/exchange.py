"""What devices send each other, each of them no more than the others need.

These are called outside of replicas (in a `merge_call`), so that one trace sees all devices.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def all_gather(values: Sequence[tf.Tensor], devices: Sequence[str], axis: int) -> list[tf.Tensor]:
    """Sends each value to all devices, each of which joins them.

    Args:
      values: in the order in which they are joined, each where it was made; they may differ in
        their size along `axis`.
      devices: that get them.
      axis: along which they are joined.

    Returns:
      The joined value, on each device.
    """
    gathered = []
    for device in devices:
        with tf.device(device):
            gathered.append(tf.concat(values, axis))
    return gathered


def reduce_scatter(
    values: Sequence[tf.Tensor],
    devices: Sequence[str],
    sizes: Sequence[int | tf.Tensor],
    owners: Sequence[str],
    axis: int,
) -> list[tf.Tensor]:
    """Adds up the values of all devices; each owner gets its part: the gradient of the above.

    Args:
      values: of one shape, one on each device.
      devices: that have them.
      sizes: of the parts along `axis`.
      owners: devices that get the parts, as many as sizes.
      axis: along which the sum is divided.

    Returns:
      The parts, each on its owner.
    """
    parts = []
    for device, value in zip(devices, values, strict=True):
        with tf.device(device):
            parts.append(tf.split(value, sizes, axis, num=len(owners)))
    sums = []
    for owner, of_owner in zip(owners, zip(*parts, strict=True), strict=True):
        with tf.device(owner):
            sums.append(tf.add_n(of_owner))
    return sums
