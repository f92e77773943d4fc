"""Every registered network as TFLite and ONNX, run by their own runtimes."""

import io
import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from network_names import ALEXNETS
from tiny_network import get_narrow_network_fn

from image_datasets.dataset_factory import get_dataset
from nets.nets_factory import get_network_fn, networks
from preprocessing.preprocessing_factory import get_preprocessing
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.checkpoints.trained_model import load_trained_model
from training.export import onnx_model, tflite_model
from training.export.prepared_images import PreparedClassifier
from training.input_pipeline import evaluation_batches

NAMES = ["blue", "green", "red one"]
# Two towers with response normalization, fully connected layers, locally connected layers, BGR.
FAST = ("alexnet", "alexnet_v2", "cifarnet_11pct", "bvlc_alexnet")
CASES = [
    *(
        pytest.param(
            name, get_narrow_network_fn, marks=[] if name in FAST else pytest.mark.slow, id=name
        )
        for name in ALEXNETS
    ),
    *(
        pytest.param(name, get_network_fn, marks=pytest.mark.slow, id=f"{name}-whole")
        for name in [*ALEXNETS, "mobilenet_v2_035", "lenet"]
    ),
]


@pytest.fixture
def prepared():
    """`prepared(name, get_fn)`: a network whose answers differ, images for it, and its answers."""

    def make(name, get_fn=get_narrow_network_fn):
        network = networks[name]
        size = network.default_image_size
        network_fn = get_fn(name, num_classes=3)
        preprocessing = get_preprocessing(network.preprocessing_name)
        shape = (3, size, size, network.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        images[1] //= 4
        inputs = preprocessing.device({"image": tf.constant(images)})
        head = network_fn.variables[f"{network_fn.heads[-1]}/weights"]
        logits, _ = network_fn(inputs, is_training=False)
        head.assign(head / np.std(logits))  # probabilities that tell answers apart
        logits, _ = network_fn(inputs, is_training=False)
        answers = {"logits": logits.numpy(), "probabilities": tf.nn.softmax(logits).numpy()}
        return PreparedClassifier(network_fn, preprocessing, NAMES, size), images, answers

    return make


def run_tflite(content, images):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="pip install .[tflite]")
    return interpreter.Interpreter(model_content=content).get_signature_runner()(images=images)


def tflite(classifier, precision="float32", images=()):
    content = tflite_model.convert(classifier, precision, images)
    return tflite_model.with_metadata(content, classifier, "net", "what it is", "how to feed it")


@pytest.mark.parametrize(("name", "get_fn"), CASES)
def test_tflite_answers_as_the_network_does(name, get_fn, prepared):
    classifier, images, expected = prepared(name, get_fn)
    answers = run_tflite(tflite(classifier), images)
    assert answers.keys() == expected.keys()
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-4)
    np.testing.assert_allclose(answers["logits"], expected["logits"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "get_fn"), CASES)
def test_onnx_answers_as_the_network_does(name, get_fn, prepared):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install .[onnx]")
    pytest.importorskip("tf2onnx", reason="pip install .[onnx]")
    classifier, images, expected = prepared(name, get_fn)
    content = onnx_model.convert(classifier, "net", "what it is", "how to feed it")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = ["probabilities", "logits"]
    answers = dict(zip(outputs, session.run(outputs, {"images": images}), strict=True))
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-4)
    np.testing.assert_allclose(answers["logits"], expected["logits"], rtol=1e-4, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == NAMES
    assert metadata["preparation"] == "how to feed it"


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 5e-3), ("int8", 0.05)])
def test_smaller_weights_answer_nearly_the_same(precision, tolerance, prepared):
    classifier, images, expected = prepared("cifarnet_18pct")
    whole = tflite(classifier)
    smaller = tflite(classifier, precision, images)
    answers = run_tflite(smaller, images)
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=tolerance)
    assert np.any(answers["probabilities"] != run_tflite(whole, images)["probabilities"])
    assert len(smaller) < len(whole)


@pytest.mark.slow
def test_int8_knows_flowers_as_well_to_within_one_percent(real_data_dir, tmp_path, capfd):
    config = TrainingConfig(
        model_name="cifarnet_18pct",
        dataset_name="tf_flowers",
        dataset_dir=real_data_dir,
        dataset_split_name="train[:80%]",
        validation_split_name="none",
        train_dir=str(tmp_path),
        batch_size=64,
        max_number_of_steps=100,
    )
    train(config)
    capfd.readouterr()
    export(ExportConfig(checkpoint_path=str(tmp_path), format="tflite", precision="int8"))
    said = capfd.readouterr()
    assert "Calibrating with 196 images of tf_flowers, split train[:80%]." in said.out
    assert "inference_type" not in said.err
    model = load_trained_model(str(tmp_path))
    content = (tmp_path / "tflite_int8" / "model.tflite").read_bytes()
    dataset = get_dataset("tf_flowers", "train[80%:]", real_data_dir)
    right = {"float32": 0, "int8": 0}
    for batch in evaluation_batches(dataset, model.preprocessing, batch_size=64, image_size=32):
        answers = {
            "float32": model.network_fn(model.preprocessing.device(batch), is_training=False)[0],
            "int8": run_tflite(content, batch["image"].numpy())["logits"],
        }
        for name, logits in answers.items():
            is_right = np.argmax(logits, axis=1) == batch["label"].numpy()
            right[name] += int(np.sum(is_right & (batch["weight"].numpy() > 0)))
    accuracy = {name: count / dataset.num_examples for name, count in right.items()}
    assert accuracy["float32"] > 0.35  # a quarter are of the largest class
    assert accuracy["int8"] == pytest.approx(accuracy["float32"], abs=0.01)


def test_no_operation_is_of_tensorflow_alone(prepared):
    """Which an interpreter for a phone has not."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="pip install .[tflite]")
    classifier, _, _ = prepared("alexnet")
    loaded = interpreter.Interpreter(model_content=tflite(classifier))
    names = {operation["op_name"] for operation in loaded._get_ops_details()}
    assert "CONV_2D" in names
    assert not [name for name in names if name.startswith(("Flex", "CUSTOM"))]


def test_onnx_weights_are_ready_to_use(prepared):
    """As constants in the order that ONNX wants: nothing is left to do with them at each start."""
    onnx = pytest.importorskip("onnx", reason="pip install .[onnx]")
    pytest.importorskip("tf2onnx", reason="pip install .[onnx]")
    classifier, _, _ = prepared("alexnet")  # whose groups are split
    graph = onnx.load_from_string(onnx_model.convert(classifier, "net", "it", "how")).graph
    assert [value.name for value in graph.input] == ["images"]
    constants = {constant.name for constant in graph.initializer}
    for node in graph.node:
        assert not constants.issuperset(node.input), node.op_type
        if node.op_type == "Conv":
            assert node.input[1] in constants


def test_labels_and_description_are_read_from_the_tflite_file_alone(prepared):
    from tensorflow.lite.tools import flatbuffer_utils

    classifier, _, _ = prepared("cifarnet_18pct")
    content = tflite(classifier)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode() == "blue\ngreen\nred one\n"
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    metadata = bytes(model.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    for text in (b"how to feed it", b"what it is", b"labels.txt"):
        assert text in metadata


def test_int8_without_images_is_refused(prepared):
    classifier, _, _ = prepared("cifarnet_18pct")
    with pytest.raises(ValueError, match="int8 needs images"):
        tflite_model.convert(classifier, "int8")
    with pytest.raises(ValueError, match="must be one of float32, float16, int8"):
        tflite_model.convert(classifier, "int4")
