import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig

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


@pytest.fixture
def run(replaced):
    config = replaced(max_number_of_steps=20)
    train(config)
    return config.train_dir


def read_predictions(run):
    with open(pathlib.Path(run, "evaluation/predictions.csv")) as file:
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


def test_a_new_process_gives_the_evaluation_drivers_probabilities(run, tmp_path):
    evaluate(EvaluationConfig(checkpoint_path=run, batch_size=8))
    export_dir = export(ExportConfig(checkpoint_path=run))
    rows = read_predictions(run)
    answers = serve(export_dir, [row["example"] for row in rows], tmp_path)
    assert answers["modules"] == []
    expected = [
        [float(row[f"probability:{name}"]) for name in ("blue", "green", "red")] for row in rows
    ]
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    assert [row[0] for row in answers["top_classes"]] == [row["prediction"] for row in rows]
    assert answers["features"] == [len(rows), 16]
    assert answers["class_names"] == ["blue", "green", "red"]


def test_decoded_images_get_the_answers_of_their_files(run, photos):
    model = tf.saved_model.load(export(ExportConfig(checkpoint_path=run, top_k=2)))
    encoded = pathlib.Path(photos, "validation", "red", "0.jpg").read_bytes()
    decoded = tf.image.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    from_bytes = model.signatures["serving_bytes"](image_bytes=tf.constant([encoded]))
    from_pixels = model.signatures["serving_default"](images=decoded[tf.newaxis])
    assert from_bytes.keys() == from_pixels.keys()
    # The outermost columns of a JPEG window differ a little from those of the whole photo.
    np.testing.assert_allclose(from_bytes["logits"], from_pixels["logits"], atol=0.05)
    assert from_pixels["top_classes"].shape == (1, 2)
    np.testing.assert_allclose(
        from_pixels["top_probabilities"], tf.sort(from_pixels["probabilities"])[:, :0:-1][:, :2]
    )


def test_nothing_is_overwritten(run, tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(ValueError, match="is not overwritten"):
        export(ExportConfig(checkpoint_path=run, export_dir=str(tmp_path)))
    assert (tmp_path / "kept").read_text() == "kept"
    with pytest.raises(ValueError, match="--top_k is 0"):
        ExportConfig(checkpoint_path=run, top_k=0)


def test_a_checkpoint_without_its_description_is_explained(run):
    pathlib.Path(run, "model.json").unlink()
    with pytest.raises(ValueError, match=r"There is no model\.json beside"):
        export(ExportConfig(checkpoint_path=run))


@pytest.mark.slow
def test_alexnet_answers_for_fifty_photos_as_its_evaluation_does(tmp_path, real_data_dir):
    """The paper's network, LRN included, on real photos of different sizes in one batch."""
    split = "train[:50]"
    config = TrainingConfig(
        model_name="alexnet",
        dataset_name="tf_flowers",
        dataset_dir=real_data_dir,
        dataset_split_name=split,
        validation_split_name=split,
        train_dir=str(tmp_path / "run"),
        batch_size=25,
        max_number_of_steps=2,
    )
    train(config)
    evaluate(EvaluationConfig(checkpoint_path=config.train_dir, batch_size=16))
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
