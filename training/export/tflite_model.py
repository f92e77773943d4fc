"""A network as a TFLite file, with its labels and how to feed it inside."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from training.export.prepared_images import OUTPUTS, PreparedClassifier
from training.export.tflite_metadata import METADATA_NAME, model_metadata

PRECISIONS = ("float32", "float16", "int8")
"""Number types of the weights; with int8 the network computes in it as well, wherever it can."""

LABELS_NAME = "labels.txt"


def convert(
    classifier: PreparedClassifier,
    precision: str = "float32",
    calibration_images: Iterable[np.ndarray] = (),
) -> bytes:
    """Converts a network to operations that every TFLite interpreter has.

    The result has one signature, `serving_default`: uint8 `images` [batch, size, size, channels] to
    float32 `logits` and `probabilities` [batch, num_classes].

    Args:
      classifier: the network.
      precision: of `PRECISIONS`.
      calibration_images: for int8: uint8 [size, size, channels], prepared as for evaluation, from
        which the ranges of the activations are measured.

    Raises:
      ValueError: if the precision is unknown, or int8 has no images.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")
    module = tf.Module()
    module.weights = [variable.value for variable in classifier.network_fn.variables.values()]
    module.answer = tf.function(classifier, [classifier.input_spec], autograph=False)
    # The weights stay variables until the converter's own compiler reads them: as constants of a
    # graph they would be copied a dozen times, which took 6.5 GB for AlexNet.
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.answer.get_concrete_function()], module
    )
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        images = list(calibration_images)
        if not images:
            raise ValueError("int8 needs images to measure the ranges of activations with.")
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    with warnings.catch_warnings():
        # That the type of the input is not given: it stays uint8, which the graph casts itself.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return converter.convert()


def with_metadata(
    content: bytes, classifier: PreparedClassifier, name: str, description: str, preparation: str
) -> bytes:
    """Adds TFLite's metadata, and the labels as a ZIP archive after the model.

    This is the layout of TFLite's own metadata (its schema 1.1.0): `zipfile.ZipFile(path)` reads
    the labels, and so do the libraries for Android and iOS.

    Args:
      content: what `convert` gives.
      classifier: what was given to it.
      name: of the network.
      description: what it is, for the reader of the metadata.
      preparation: how to make its input from a photo, in words.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    metadata = model_metadata(
        name,
        description,
        preparation,
        classifier.image_size,
        classifier.channels,
        OUTPUTS,
        LABELS_NAME,
    )
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    archive = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with zipfile.ZipFile(archive, "a") as labels:
        labels.writestr(LABELS_NAME, label_lines(classifier.class_names))
    return archive.getvalue()


def label_lines(class_names: Iterable[str]) -> str:
    """The names of the classes, one a line, in the order of the outputs."""
    return "".join(f"{' '.join(name.splitlines())}\n" for name in class_names)
