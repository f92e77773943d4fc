"""The probabilities that a trained network gives a batch, or several networks together.

Evaluation and classification both ask here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from nets.nets_factory import NetworkFn
from preprocessing.base import Preprocessing
from training.input_pipeline import Example, Views, compiled_device_half


class Member(NamedTuple):
    """One of several networks whose softmax outputs are averaged, and what it is fed with.

    Attributes:
      network_fn: the network.
      preprocessing: made for evaluation.
      image_size: height and width given to the network, in pixels.
    """

    network_fn: NetworkFn
    preprocessing: Preprocessing
    image_size: int


class Ensemble:
    """Networks whose softmax outputs are averaged, with ten crops over the crops as well.

    Args:
      members: one or more, which answer with the same classes.

    Attributes:
      views: the host half of all members, for `input_pipeline.evaluation_batches`.
    """

    def __init__(self, members: Sequence[Member]):
        self._members = list(members)
        self.views = Views([(member.preprocessing, member.image_size) for member in members])
        self._device_halves = [
            compiled_device_half(
                member.preprocessing, tf.as_dtype(member.network_fn.model.compute_dtype)
            )
            for member in members
        ]

    @property
    def num_classes(self) -> int:
        """How many classes the members answer with."""
        return self._members[0].network_fn.num_classes or 1

    def log_probabilities(self, batch: Example) -> tf.Tensor:
        """Logarithms of the averaged softmax outputs, float32 [batch, num_classes].

        Args:
          batch: what `views` made of images, batched.
        """
        outputs = []
        for number, (member, device_half) in enumerate(
            zip(self._members, self._device_halves, strict=True)
        ):
            images = device_half(self.views.of(number, batch))
            crops = 1 if images.shape.rank == 4 else images.shape[1]
            logits, _ = member.network_fn(
                tf.reshape(images, [-1, *images.shape[-3:]]), is_training=False
            )
            outputs.append(tf.reshape(tf.nn.log_softmax(logits), [-1, crops, logits.shape[-1]]))
        log_probabilities = tf.concat(outputs, axis=1)
        count = float(log_probabilities.shape[1])
        # The mean of softmax outputs, in logarithms: precise where they are tiny.
        return tf.reduce_logsumexp(log_probabilities, axis=1) - tf.math.log(count)


def images_in_a_batch(batch_size: int, num_crops: int, num_replicas: int = 1) -> int:
    """How many images make a batch that fills about as much memory with crops as without.

    Args:
      batch_size: images that the network sees at a time, over all replicas.
      num_crops: of each image.
      num_replicas: that share the batch; each gets the same number.
    """
    if num_crops == 1:
        return batch_size
    return max(batch_size // num_crops // num_replicas, 1) * num_replicas
