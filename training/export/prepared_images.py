"""A trained network as a graph without variables, for converters: prepared images to answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from nets.nets_factory import NetworkFn
from nets.xla import without_xla
from preprocessing.base import Preprocessing


class FrozenClassifier(NamedTuple):
    """A network and the device half of its preprocessing, with the weights as constants.

    Attributes:
      function: takes uint8 [batch, size, size, channels], prepared as the host half does, and gives
        float32 [batch, num_classes] for each of `outputs`, as a list.
      outputs: their names, in order.
      class_names: of the network's outputs.
      image_size: height and width, in pixels.
      channels: 3, RGB, or 1, grey.
    """

    function: Any
    outputs: tuple[str, ...]
    class_names: list[str]
    image_size: int
    channels: int

    @property
    def input_spec(self) -> tf.TensorSpec:
        """What the graph takes."""
        shape = [None, self.image_size, self.image_size, self.channels]
        return tf.TensorSpec(shape, tf.uint8, name="images")

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers for uint8 [batch, size, size, channels], by name."""
        return dict(zip(self.outputs, self.function(images), strict=True))


def freeze(
    network_fn: NetworkFn, preprocessing: Preprocessing, class_names: list[str], image_size: int
) -> FrozenClassifier:
    """Makes the graph that converters take, of operations that they know.

    Args:
      network_fn: the network, with its weights.
      preprocessing: made for evaluation; its device half (mean, scale) goes into the graph.
      class_names: of the network's outputs.
      image_size: height and width given to the network, in pixels.
    """
    shape = [None, image_size, image_size, network_fn.channels]
    spec = tf.TensorSpec(shape, tf.uint8, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def answer(images: tf.Tensor) -> list[tf.Tensor]:
        logits, _ = network_fn(preprocessing.device({"image": images}), is_training=False)
        return [logits, tf.nn.softmax(logits)]

    with without_xla():
        function = answer.get_concrete_function()
    return FrozenClassifier(
        convert_variables_to_constants_v2(function),
        ("logits", "probabilities"),
        list(class_names),
        image_size,
        network_fn.channels,
    )
