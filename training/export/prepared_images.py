"""A trained network as converters take it: from prepared images to answers."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from nets.device_forms import traced_for
from nets.nets_factory import NetworkFn
from nets.xla import without_xla
from preprocessing.base import Preprocessing

OUTPUTS = ("logits", "probabilities")
"""The names of what a classifier answers, in order."""


@dataclasses.dataclass(frozen=True)
class PreparedClassifier:
    """A network and the device half of its preprocessing, of operations that converters know.

    Attributes:
      network_fn: the network, with its weights.
      preprocessing: made for evaluation; its device half (mean, scale) is part of the graph.
      class_names: of the network's outputs.
      image_size: height and width given to the network, in pixels.
    """

    network_fn: NetworkFn
    preprocessing: Preprocessing
    class_names: list[str]
    image_size: int

    @property
    def input_spec(self) -> tf.TensorSpec:
        """What it takes: images as the host half of the preprocessing makes them."""
        shape = [None, self.image_size, self.image_size, self.channels]
        return tf.TensorSpec(shape, tf.uint8, name="images")

    @property
    def channels(self) -> int:
        """Of the images: 3, RGB, or 1, grey."""
        return self.network_fn.channels

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers for uint8 [batch, size, size, channels]: `OUTPUTS`, [batch, num_classes]."""
        # The same file wherever it is exported: converters know the forms for a CPU.
        with without_xla(), traced_for("CPU"):
            inputs = self.preprocessing.device({"image": images})
            logits, _ = self.network_fn(inputs, is_training=False)
            return dict(zip(OUTPUTS, (logits, tf.nn.softmax(logits)), strict=True))
