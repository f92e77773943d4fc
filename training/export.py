"""Export as a SavedModel that takes images as they come and answers with class names."""

from __future__ import annotations

import os
import shutil

import tensorflow as tf

from nets.nets_factory import NetworkFn
from preprocessing.base import Preprocessing

Answers = dict[str, tf.Tensor]


class ServableClassifier(tf.Module):
    """A trained network with its preprocessing, from images to class names.

    Both signatures answer with: "logits" and "probabilities", float32 [batch, num_classes];
    "features", float32 [batch, n], the end point before the last, averaged over positions;
    "top_classes", string [batch, k], "top_indices", int32, and "top_probabilities", float32, of
    the k likeliest classes, best first. `class_names`, string [num_classes], holds all names in the
    order of logits, also on what `tf.saved_model.load` gives.

    Args:
      network_fn: the network, with its weights.
      preprocessing: made for evaluation.
      class_names: of the network's outputs.
      image_size: height and width given to the network, in pixels.
      top_k: how many classes the answers name; at most all.
    """

    def __init__(
        self,
        network_fn: NetworkFn,
        preprocessing: Preprocessing,
        class_names: list[str],
        image_size: int,
        top_k: int = 5,
    ):
        super().__init__()
        self.model = network_fn.model  # tracks the variables
        self.class_names = tf.Variable(class_names, trainable=False)  # which is saved by its name
        self._network_fn = network_fn
        self._preprocessing = preprocessing
        self._image_size = image_size
        self._top_k = min(top_k, len(class_names))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def serving_bytes(self, image_bytes: tf.Tensor) -> Answers:
        """Answers for encoded images (JPEG, PNG, GIF, BMP) of any sizes: string [batch]."""
        return self._answer(image_bytes)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")],
        autograph=False,
    )
    def serving_default(self, images: tf.Tensor) -> Answers:
        """Answers for decoded images: uint8 RGB [batch, height, width, 3], of any size."""
        return self._answer(images)

    def _answer(self, images: tf.Tensor) -> Answers:
        size = self._image_size
        spec = {"image": tf.TensorSpec([size, size, 3], tf.uint8)}
        batch = tf.map_fn(
            lambda image: {"image": self._preprocessing.host(image, size, size)["image"]},
            images,
            fn_output_signature=spec,
        )
        logits, end_points = self._network_fn(self._preprocessing.device(batch), is_training=False)
        *_, features = list(end_points.values())[:-1] or [logits]  # it may have no other
        if features.shape.rank == 4:
            features = tf.reduce_mean(features, axis=[1, 2])
        probabilities = tf.nn.softmax(logits)
        top = tf.math.top_k(probabilities, self._top_k)
        return {
            "logits": logits,
            "probabilities": probabilities,
            "features": tf.cast(features, tf.float32),
            "top_classes": tf.gather(self.class_names, top.indices),
            "top_indices": top.indices,
            "top_probabilities": top.values,
        }


def write_saved_model(classifier: ServableClassifier, folder: str) -> None:
    """Writes a SavedModel with both signatures into a folder, whole or not at all.

    Args:
      classifier: the network with its preprocessing.
      folder: does not exist, or is empty.

    Raises:
      OSError: if it cannot be written, or TensorFlow's error for that.
    """
    # An interrupted export must not look like a finished one.
    os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
    incomplete = f"{folder.rstrip(os.sep)}.incomplete"
    shutil.rmtree(incomplete, ignore_errors=True)
    tf.saved_model.save(
        classifier,
        incomplete,
        signatures={
            "serving_default": classifier.serving_default,
            "serving_bytes": classifier.serving_bytes,
        },
    )
    os.replace(incomplete, folder)  # possibly over an empty folder
