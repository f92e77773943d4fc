"""A network as an ONNX file, with its labels and how to feed it inside."""

from __future__ import annotations

import json

import tensorflow as tf

from training.export.prepared_images import FrozenClassifier

OPSET = 17
"""Of 2022: every onnxruntime since 1.12 runs it."""


def check_installed() -> None:
    """Raises ValueError, naming what to install, if the converter is not there."""
    try:
        import onnx  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--format=onnx needs {error.name or 'tf2onnx'}, which is not installed: "
            "pip install 'slimzoo[onnx]', or from a checkout pip install -e '.[onnx]'."
        ) from error


def convert(classifier: FrozenClassifier, name: str, description: str, preparation: str) -> bytes:
    """Converts a network; `metadata_props` hold labels (a JSON list), description, preparation.

    The input is `images`, uint8 [batch, size, size, channels]; outputs are `logits` and
    `probabilities`, float32 [batch, num_classes].

    Args:
      classifier: the network.
      name: of the network.
      description: what it is.
      preparation: how to make its input from a photo, in words.

    Raises:
      ValueError: if tf2onnx is not installed.
    """
    check_installed()
    import onnx
    import tf2onnx

    @tf.function(input_signature=[classifier.input_spec], autograph=False)
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return classifier(images)

    model, _ = tf2onnx.convert.from_function(
        answer, input_signature=[classifier.input_spec], opset=OPSET
    )
    model.graph.name = name
    model.doc_string = description
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(
        model,
        {
            "description": description,
            "preparation": preparation,
            "labels": json.dumps(classifier.class_names),
        },
    )
    return model.SerializeToString()
