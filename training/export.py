"""Export as a SavedModel that takes images as they come and answers with class names."""

from __future__ import annotations

import os
import shutil

import tensorflow as tf

from nets.nets_factory import NetworkFn
from preprocessing.base import Preprocessing
from slimzoo.configuration import ExportConfig
from slimzoo.program import error_text
from training.checkpoints.trained_model import imagenet_classes_or, load_trained_model

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


def export(config: ExportConfig) -> str:
    """Runs the export driver; returns the folder of the SavedModel.

    Raises:
      ValueError: if the checkpoint does not exist or fit, or the folder is in use.
    """
    model = load_trained_model(
        config.checkpoint_path,
        use_moving_average=config.use_moving_average,
        network_module=config.network_module,
        model_name=config.model_name,
        class_names=imagenet_classes_or(config.dataset_name, config.dataset_dir)
        if config.model_name
        else None,
    )
    folder = os.path.dirname(model.report.checkpoint)
    export_dir = os.path.expanduser(config.export_dir or os.path.join(folder, "saved_model"))
    if os.path.exists(export_dir) and (not os.path.isdir(export_dir) or os.listdir(export_dir)):
        raise ValueError(
            f"{export_dir} exists already and is not overwritten. Remove it, or give another "
            "--export_dir."
        )
    description = model.description
    classifier = ServableClassifier(
        model.network_fn,
        model.preprocessing,
        description.class_names,
        config.export_image_size or description.image_size,
        config.top_k,
    )
    try:
        # Whole or not at all: an interrupted export must not look like a finished one.
        os.makedirs(os.path.dirname(os.path.abspath(export_dir)), exist_ok=True)
        incomplete = f"{export_dir.rstrip(os.sep)}.incomplete"
        shutil.rmtree(incomplete, ignore_errors=True)
        tf.saved_model.save(
            classifier,
            incomplete,
            signatures={
                "serving_default": classifier.serving_default,
                "serving_bytes": classifier.serving_bytes,
            },
        )
        os.replace(incomplete, export_dir)  # possibly over an empty folder
    except (OSError, tf.errors.OpError) as error:
        why = error.strerror if isinstance(error, OSError) else error_text(error)
        raise ValueError(f"--export_dir {export_dir} cannot be written: {why}.") from error
    print(f"{description.model_name} from {model.report.checkpoint}")
    print(f"Exported to {export_dir}, with the signatures serving_bytes and serving_default.")
    return export_dir
