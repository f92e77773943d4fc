"""The card of each format: its code runs as written, and gives what the SavedModel answers."""

import base64
import contextlib
import dataclasses
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
from tiny_network import CLASSES

from preprocessing.preparation import Preparation
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.export.export_record import make_record
from training.export.model_card import CardFacts, card

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cifarnet(photos, tmp_path_factory):
    """A run of a network that a new process knows."""
    folder = tmp_path_factory.mktemp("card") / "run"
    train(
        TrainingConfig(
            model_name="cifarnet_18pct",
            dataset_name="folder",
            dataset_dir=photos,
            train_dir=str(folder),
            batch_size=10,
            max_number_of_steps=3,
            learning_rate=0.01,
        )
    )
    return folder


def exported(cifarnet, tmp_path, format):
    return pathlib.Path(
        export(
            ExportConfig(
                checkpoint_path=str(cifarnet), format=format, export_dir=str(tmp_path / format)
            )
        )
    )


def python_of(folder):
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    return code


def answer_of_saved_model(cifarnet, tmp_path, photo):
    loaded = tf.saved_model.load(str(exported(cifarnet, tmp_path, "saved_model")))
    answers = loaded.signatures["serving_bytes"](image_bytes=tf.constant([photo]))
    return answers["top_classes"].numpy()[0, 0].decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "needs"),
    [("tflite", "ai_edge_litert"), ("onnx", "onnxruntime"), ("saved_model", "tensorflow")],
)
@pytest.mark.parametrize("name", CLASSES)
def test_its_code_names_the_class_that_the_saved_model_names(
    format, needs, name, cifarnet, photos, tmp_path, monkeypatch
):
    pytest.importorskip(needs, reason="the extras tflite and onnx bring it")
    pytest.importorskip("PIL")
    if format == "onnx":
        pytest.importorskip("tf2onnx", reason="pip install .[onnx]")
    photo = pathlib.Path(photos, "validation", name, "1.jpg").read_bytes()
    folder = exported(cifarnet, tmp_path, format)
    (folder / "a.jpg").write_bytes(photo)
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(python_of(folder), {})
    expected = answer_of_saved_model(cifarnet, tmp_path / "other", photo)
    found = re.findall("|".join(CLASSES), printed.getvalue())
    assert found[0] == expected


@pytest.mark.slow
def test_its_code_loads_the_keras_file_in_a_new_process(cifarnet, photos, tmp_path):
    folder = exported(cifarnet, tmp_path, "keras")
    photo = pathlib.Path(photos, "validation", "red", "1.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(photo)
    code = python_of(folder)
    assert "import nets" in code
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    expected = answer_of_saved_model(cifarnet, tmp_path / "other", photo)
    assert finished.stdout.strip() == expected
    model = keras.saving.load_model(folder / "model.keras")
    assert model.count_params() > 80_000


def test_the_request_in_it_is_what_the_signature_takes(cifarnet, photos, tmp_path):
    """As TensorFlow Serving documents JSON: `b64` is decoded, the one input has the instances."""
    folder = exported(cifarnet, tmp_path, "saved_model")
    card = (folder / "README.md").read_text()
    request = re.search(r"photo=.*\necho .*\}'", card)[0]
    path = pathlib.Path(photos, "validation", "red", "1.jpg")
    shell = request.replace("a.jpg", str(path))
    written = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    parsed = json.loads(written.stdout)
    images = [base64.b64decode(one["b64"]) for one in parsed["instances"]]
    assert images == [path.read_bytes()]
    signature = tf.saved_model.load(str(folder)).signatures[parsed["signature_name"]]
    _, inputs = signature.structured_input_signature
    (name,) = inputs
    assert name.endswith("_bytes")
    assert signature(**{name: tf.constant(images)})["valid"].numpy().all()


@pytest.mark.slow
def test_the_signatures_are_shown_by_tensorflows_own_command(cifarnet, tmp_path):
    folder = exported(cifarnet, tmp_path, "saved_model")
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "show", "--dir"]
    finished = subprocess.run(
        [*tool, str(folder), "--tag_set", "serve", "--signature_def", "serving_bytes"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "inputs['image_bytes'] tensor_info" in finished.stdout
    assert "outputs['top_classes'] tensor_info" in finished.stdout


def test_it_says_what_it_knows(cifarnet, photos, tmp_path):
    card = (exported(cifarnet, tmp_path, "saved_model") / "README.md").read_text()
    trained_on = f"| trained on | `{pathlib.Path(photos).name}`, split `train`, 30 images |"
    for text in (
        "step 3",
        "\n`blue`, `green`, `red`\n\n",
        "Not evaluated",
        "Resize to 32x32",
        "serving_bytes",
        trained_on,
        '20 minutes".\n',
    ):
        assert text in card
    assert "for 10 classes" not in card
    assert "{{" not in card.replace("{{.", "")
    assert "{%" not in card


def test_it_says_how_sure_its_accuracy_is_and_of_which_classes(cifarnet, photos, tmp_path):
    folder = tmp_path / "photos" / "test"
    shutil.copytree(f"{photos}/validation", folder)
    shutil.rmtree(folder / "red")
    run = shutil.copytree(cifarnet / "best", tmp_path / "best")
    shutil.copy(cifarnet / "model.json", run)
    result = evaluate(EvaluationConfig(checkpoint_path=str(run), dataset_dir=str(folder.parent)))
    card = (exported(run, tmp_path, "keras") / "README.md").read_text()
    number = r"\d+\.\d\d%"
    assert re.search(
        rf"Top-1 {result.top_1:.2%} \(95% interval {number} to {number}\) on 14 images of\n"
        r"`photos`, split `test`, 2 of its 3 classes, 1 crop\.\n",
        card,
    )


NAMES = ["Pinot noir, red", "a`b``c", "n04208210", "two\nlines", "*bold* [link](x) <b> | $x$", "`"]


FACTS = CardFacts(
    parameters=1, image_size=32, channels=3, summary="X.", dataset_name="cats|dogs",
    dataset_split_name="train[:80%]", num_training_images=1234, class_names=NAMES,
    preprocessing_name="x", preprocessing_options={}, preparation=Preparation("", None),
    accuracy=None, max_image_pixels=0, import_modules=[],
)  # fmt: skip


def record_of(kind):
    return make_record(
        "a|b/model.ckpt-1", format=kind, precision="float32", model_name="x", version="1", files=[]
    )


@pytest.mark.parametrize(("channels", "color"), [(1, "grey"), (3, "RGB")])
def test_a_card_says_whether_images_are_grey(channels, color):
    text = card(record_of("tflite"), dataclasses.replace(FACTS, channels=channels))
    assert f"The input is uint8 `[batch, 32, 32, {channels}]`, {color}, 0 to 255." in text
    assert ("| input | 32x32 pixels, grey |" in text) == (channels == 1)


def test_names_are_told_apart_and_are_no_markup(tmp_path):
    text = card(record_of("saved_model"), FACTS)
    assert "| trained on | `cats\\|dogs`, split `train[:80%]`, 1,234 images |\n" in text
    assert r"| `a\|b/model.ckpt-1`" in text
    assert (
        "\n`Pinot noir, red`, ```a`b``c```, `n04208210` shovel, `two lines`, "
        "`*bold* [link](x) <b> | $x$`, `` ` ``\n\n"
    ) in text
