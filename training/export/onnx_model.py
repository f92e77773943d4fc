"""A network as an ONNX file, with its labels and how to feed it inside."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.export.prepared_images import OUTPUTS, PreparedClassifier

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


def convert(classifier: PreparedClassifier, name: str, description: str, preparation: str) -> bytes:
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

    variables = classifier.network_fn.variables
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.uint8, classifier.input_spec.shape, "images")
        weights = {
            name: tf.compat.v1.placeholder(variable.dtype, variable.shape, name)
            for name, variable in variables.items()
        }
        with keras.StatelessScope([(variables[name], weights[name]) for name in weights]):
            answers = classifier(images)
        outputs = [tf.identity(answers[output], output) for output in OUTPUTS]
    # tf2onnx copies the constants of a graph a dozen times, which took 13 GB for AlexNet: so the
    # weights are inputs while it converts, and become constants afterwards.
    model, _ = tf2onnx.convert.from_graph_def(
        graph.as_graph_def(),
        input_names=[tensor.name for tensor in (images, *weights.values())],
        output_names=[tensor.name for tensor in outputs],
        opset=OPSET,
    )
    values = {weights[name].name: variable.numpy() for name, variable in variables.items()}
    _make_constant(model.graph, values, {one.domain: one.version for one in model.opset_import})
    _rename(model.graph, {tensor.name: tensor.op.name for tensor in (images, *outputs)})
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


def _make_constant(graph: Any, values: dict[str, np.ndarray], opsets: dict[str, int]) -> None:
    """Makes constants of inputs, and of all that is computed of constants alone.

    What converters do to weights, such as to transpose them, is so done once.

    Args:
      graph: an `onnx.GraphProto`, changed in place.
      values: of those inputs, by name.
      opsets: the operations' versions, by their domains.
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    constants = values | {
        constant.name: numpy_helper.to_array(constant) for constant in graph.initializer
    }
    inputs = [given for given in graph.input if given.name not in values]
    nodes = []
    for node in graph.node:
        names = [name for name in node.input if name]
        if names and all(name in constants for name in names):
            evaluator = ReferenceEvaluator(node, opsets=opsets)
            results = evaluator.run(None, {name: constants[name] for name in names})
            constants.update(zip(node.output, results, strict=True))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    for field, content in (
        (graph.node, nodes),
        (graph.input, inputs),
        (
            graph.initializer,
            [numpy_helper.from_array(constants[name], name) for name in constants if name in used],
        ),
    ):
        del field[:]
        field.extend(content)


def _rename(graph: Any, new_names: dict[str, str]) -> None:
    """Renames inputs and outputs of an `onnx.GraphProto` in place: TensorFlow's end in ":0"."""
    for value in (*graph.input, *graph.output):
        value.name = new_names.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
