"""A variable of which each device holds a part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class ShardedVariable(tf.__internal__.tracking.Trackable):
    """A variable whose last axis is divided among devices: of a layer's units each has some.

    It has the properties of a Keras variable that this package asks for. `tf.train.Checkpoint`
    keeps it as one that is whole, so that a run on any number of devices can read it.

    Args:
      shards: one on each device, in the order of the units that they have.
      path: of the whole, as Keras names it; by default that of the first.

    Attributes:
      shards, path: as given.
    """

    def __init__(self, shards: Sequence[keras.Variable], path: str | None = None):
        self.shards = list(shards)
        self.path = path or self.shards[0].path

    def copied(self) -> ShardedVariable:
        """Another of the same values in the same places, which is not trained."""
        copies = []
        for shard in self.shards:
            with tf.device(shard.value.device):
                copies.append(keras.Variable(shard, trainable=False, dtype=shard.dtype))
        return ShardedVariable(copies, self.path)

    @property
    def sizes(self) -> list[int]:
        """How many units each device has."""
        return [shard.shape[-1] for shard in self.shards]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole."""
        return (*self.shards[0].shape[:-1], sum(self.sizes))

    @property
    def dtype(self) -> tf.DType:
        """Of its numbers."""
        return tf.as_dtype(self.shards[0].dtype)

    @property
    def trainable(self) -> bool:
        """Whether training may change it."""
        return bool(self.shards[0].trainable)

    @property
    def value(self) -> ShardedVariable:
        """Itself, where a Keras variable has one of TensorFlow's."""
        return self

    def numpy(self) -> np.ndarray:
        """The whole value."""
        return np.concatenate([shard.numpy() for shard in self.shards], axis=-1)

    def assign(self, value: Any) -> None:
        """Gives each device its part of a whole value."""
        with tf.device("CPU:0"):
            parts = tf.split(tf.convert_to_tensor(value, self.dtype), self.sizes, axis=-1)
        for shard, part in zip(self.shards, parts, strict=True):
            shard.assign(part)

    def joined(self) -> tf.Tensor:
        """The whole value, in the memory of the host."""
        with tf.device("CPU:0"):
            return tf.concat([shard.value for shard in self.shards], axis=-1)

    # What a checkpoint asks for, under the name that it gives to the value of any variable.

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        return {"VARIABLE_VALUE": self.joined()}

    def _restore_from_tensors(self, restored_tensors: dict[str, tf.Tensor]) -> None:
        self.assign(restored_tensors["VARIABLE_VALUE"])


def _as_tensor(
    value: ShardedVariable, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> tf.Tensor:
    del as_ref
    return tf.convert_to_tensor(value.joined(), dtype, name=name)


tf.register_tensor_conversion_function(ShardedVariable, _as_tensor)
