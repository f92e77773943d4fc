"""The command, and what a process that knows nothing of this project makes of its output."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from slimzoo.commands import export_saved_model as export_command
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.export import tflite_model

# A new process that knows TensorFlow and nothing of this project.
SERVE = """
import json, pathlib, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
paths = json.loads(sys.argv[2])
images = tf.constant([pathlib.Path(path).read_bytes() for path in paths])
answers = model.signatures["serving_bytes"](image_bytes=images)
print(json.dumps({
    "modules": [name for name in ("nets", "training", "preprocessing") if name in sys.modules],
    "probabilities": answers["probabilities"].numpy().tolist(),
    "top_classes": [[name.decode() for name in row] for row in answers["top_classes"].numpy()],
    "features": list(answers["features"].shape),
    "class_names": [name.decode() for name in model.class_names.numpy()],
}))
"""


def read_predictions(folder):
    with open(pathlib.Path(folder, "evaluation/predictions.csv")) as file:
        return list(csv.DictReader(file))


def serve(export_dir, paths, elsewhere):
    """The answers of a new process, started where nothing of this project can be imported."""
    finished = subprocess.run(
        [sys.executable, "-c", SERVE, export_dir, json.dumps(paths)],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout)


@pytest.mark.slow
def test_a_new_process_gives_the_evaluation_drivers_probabilities(run, tmp_path, capsys):
    evaluate(EvaluationConfig(checkpoint_path=run.train_dir, batch_size=8))
    export_dir = export(ExportConfig(checkpoint_path=run.train_dir))
    assert f"Exported to {run.train_dir}/saved_model" in capsys.readouterr().out
    rows = read_predictions(run.train_dir)
    answers = serve(export_dir, [row["example"] for row in rows], tmp_path)
    assert answers["modules"] == []
    expected = [
        [float(row[f"probability:{name}"]) for name in ("blue", "green", "red")] for row in rows
    ]
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    assert [row[0] for row in answers["top_classes"]] == [row["prediction"] for row in rows]
    assert answers["features"] == [len(rows), 16]
    assert answers["class_names"] == ["blue", "green", "red"]


def test_nothing_is_overwritten(trained, tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(ValueError, match="is not overwritten"):
        export(ExportConfig(checkpoint_path=str(trained), export_dir=str(tmp_path)))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "kept")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_k": 0}, "--top_k is 0"),
        ({"export_image_size": -3}, "--image_size or --export_image_size is -3"),
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"checkpoint_path": "/nowhere"}, "/nowhere does not exist"),
        ({"model_name": "alexnet_v2"}, "holds a run of tiny"),
        ({"format": "coreml"}, "--format"),
        ({"precision": "int8"}, "--precision=int8 is for --format=tflite"),
        ({"num_calibration_images": 0}, "--num_calibration_images is 0"),
    ],
)
def test_what_cannot_be_exported_is_said(trained, tmp_path, values, message):
    arguments = {"checkpoint_path": str(trained), "export_dir": str(tmp_path / "x"), **values}
    with pytest.raises(ValueError, match=message):
        export(ExportConfig(**arguments))
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_without_its_description_is_explained(run):
    pathlib.Path(run.train_dir, "model.json").unlink()
    with pytest.raises(ValueError, match=r"There is no model\.json beside"):
        export(ExportConfig(checkpoint_path=run.train_dir))


def test_bare_weights_can_be_exported(cifarnet_file, tmp_path):
    folder = str(tmp_path / "saved_model")
    config = ExportConfig(
        checkpoint_path=cifarnet_file,
        model_name="cifarnet_18pct",
        dataset_name="shapes",
        export_dir=folder,
        top_k=2,
    )
    export(config)
    loaded = tf.saved_model.load(folder)
    assert loaded.class_names.numpy()[1] == b"circle"
    images = tf.zeros([1, 50, 60, 3], tf.uint8)
    answers = loaded.signatures["serving_default"](images=images)
    assert answers["top_classes"].shape == (1, 2)
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        export(dataclasses.replace(config, model_name=None, export_dir=str(tmp_path / "other")))


def test_an_earlier_export_is_replaced_only_when_asked(run, tmp_path, capsys):
    config = ExportConfig(checkpoint_path=run.train_dir, export_dir=str(tmp_path / "x"))
    export(config)
    before = (tmp_path / "x" / "export.json").read_text()
    with pytest.raises(ValueError, match="--overwrite replaces an earlier export"):
        export(config)
    assert (tmp_path / "x" / "export.json").read_text() == before
    export(dataclasses.replace(config, overwrite=True, format="keras"))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "x"}
    names = {path.name for path in (tmp_path / "x").iterdir()}
    assert names == {"README.md", "export.json", "labels.txt", "model.keras"}
    assert "needs `import nets` first" in capsys.readouterr().out


def test_a_failed_export_leaves_the_earlier_one(run, tmp_path, monkeypatch):
    config = ExportConfig(
        checkpoint_path=run.train_dir, export_dir=str(tmp_path / "x"), format="keras"
    )
    export(config)
    monkeypatch.setattr(export_command, "card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(dataclasses.replace(config, overwrite=True))
    assert {path.name for path in tmp_path.iterdir()} == {"run", "x"}
    assert (tmp_path / "x" / "model.keras").exists()


def test_what_else_is_in_the_folder_is_never_replaced(run, tmp_path):
    (tmp_path / "kept").write_text("kept")
    config = ExportConfig(checkpoint_path=run.train_dir, export_dir=str(tmp_path), overwrite=True)
    with pytest.raises(ValueError, match=r"holds no export\.json"):
        export(config)
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_put_into_an_export_is_never_removed(run, tmp_path):
    config = ExportConfig(
        checkpoint_path=run.train_dir, export_dir=str(tmp_path / "export"), overwrite=True
    )
    export(config)
    export(config)
    kept = tmp_path / "export" / "assets" / "mine.txt"
    kept.write_text("mine")
    with pytest.raises(ValueError, match=r"holds what is not of the export: assets/mine\.txt"):
        export(config)
    assert kept.read_text() == "mine"


def test_a_format_whose_library_is_missing_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setitem(sys.modules, "onnx", sys)
    with pytest.raises(ValueError, match=r"pip install 'slimzoo\[onnx\]'"):
        export(ExportConfig(checkpoint_path=run.train_dir, format="onnx"))
    assert not pathlib.Path(run.train_dir, "onnx").exists()


def test_int8_is_calibrated_with_images_of_all_classes(run, monkeypatch, capsys):
    calibrated = []

    original = tflite_model.convert
    monkeypatch.setattr(
        tflite_model,
        "convert",
        lambda classifier, precision, images: (
            calibrated.extend(images),
            original(classifier, precision, calibrated),
        )[1],
    )
    folder = export(
        ExportConfig(
            checkpoint_path=run.train_dir,
            format="tflite",
            precision="int8",
            num_calibration_images=6,
        )
    )
    assert "Calibrating with 6 images" in capsys.readouterr().out
    # The channel of its class is brightest in each photo.
    brightest = [int(image.mean(axis=(0, 1)).argmax()) for image in calibrated]
    assert sorted(brightest) == [0, 0, 1, 1, 2, 2]
    assert json.loads(pathlib.Path(folder, "export.json").read_text())["precision"] == "int8"


def test_the_run_says_that_an_export_beside_its_best_is_outdated(run, capsys):
    best = pathlib.Path(run.train_dir, "best")

    def printed_with_outdated(name):
        path = best / name / "export.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "step": 1}))
        capsys.readouterr()
        train(run)  # there is nothing left to do
        printed = capsys.readouterr().out
        (command,) = [line for line in printed.splitlines() if "export_saved_model" in line]
        return printed, command

    for precision in ("float32", "float16"):
        export(ExportConfig(checkpoint_path=str(best), format="tflite", precision=precision))
    printed, command = printed_with_outdated("tflite_float16")
    assert "tflite_float16 is of step 1, and model.ckpt-" in printed
    assert "export again, with --format=tflite --precision=float16 --overwrite.\n" in printed
    assert "tflite is of" not in printed
    assert not command.endswith(" --overwrite")  # there is no SavedModel
    export(ExportConfig(checkpoint_path=str(best)))
    printed, command = printed_with_outdated("saved_model")
    assert "saved_model is of step 1, and model.ckpt-" in printed
    assert command.endswith(" --overwrite")


@pytest.mark.slow
def test_alexnet_answers_for_fifty_photos_as_its_evaluation_does(tmp_path, real_data_dir):
    """The paper's network, LRN included, on real photos of different sizes in one batch."""
    split = "train[:50]"
    config = TrainingConfig(
        model_name="alexnet",
        dataset_name="tf_flowers",
        dataset_dir=real_data_dir,
        dataset_split_name=split,
        validation_split_name="none",
        train_dir=str(tmp_path / "run"),
        batch_size=25,
        max_number_of_steps=2,
    )
    train(config)
    evaluate(
        EvaluationConfig(checkpoint_path=config.train_dir, batch_size=16, dataset_split_name=split)
    )
    export_dir = export(ExportConfig(checkpoint_path=config.train_dir))
    paths = []
    for example in get_dataset("tf_flowers", split, real_data_dir).examples():
        paths.append(str(tmp_path / f"{int(example['index'])}.jpg"))
        pathlib.Path(paths[-1]).write_bytes(example["image"].numpy())
    answers = serve(export_dir, paths, tmp_path)
    rows = read_predictions(config.train_dir)
    names = [name for name in rows[0] if name.startswith("probability:")]
    expected = [[float(row[name]) for name in names] for row in rows]
    assert len(rows) == 50
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
