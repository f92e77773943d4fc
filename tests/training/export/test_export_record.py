import json
import os
import pathlib
import shutil

import pytest

from training.checkpoints.finding import find_checkpoint
from training.export.export_record import (
    MeasuredAccuracy,
    accuracy_of,
    check_replaceable,
    make_record,
    outdated,
    read_record,
    step_and_digest,
)


@pytest.fixture
def best(trained, tmp_path):
    """A folder with a checkpoint of a run."""
    shutil.copytree(pathlib.Path(trained, "best"), tmp_path / "best")
    return tmp_path / "best"


def export(checkpoint, folder, files=("model.tflite",)):
    folder.mkdir()
    for name in files:
        (folder / name).touch()
    record = make_record(
        str(checkpoint),
        format="tflite",
        precision="int8",
        model_name="tiny",
        version="1",
        files=["model.tflite"],
    )
    record.save(str(folder))
    return record


def test_an_export_is_outdated_once_the_checkpoint_has_moved_on(best):
    checkpoint = find_checkpoint(str(best))
    record = export(checkpoint, best / "tflite")
    (best / "evaluation").mkdir()
    settings = {"use_moving_average": True, "image_size": 32}
    _, digest = step_and_digest(checkpoint)
    accuracy = MeasuredAccuracy(0.5, 40, 3, "folder", "test", 1, "float32", 2, "/photos")
    evaluation = {
        "checkpoint": checkpoint,
        "checkpoint_sha256": digest,
        "loss": 0.7,
        **vars(accuracy),
        **settings,
    }
    (best / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    assert read_record(str(best / "tflite")) == record
    assert accuracy_of(checkpoint, **settings) == accuracy
    assert accuracy_of(checkpoint, use_moving_average=False, image_size=32) is None
    assert accuracy_of(checkpoint, use_moving_average=True, image_size=64) is None
    assert outdated(checkpoint).lines(checkpoint) == []
    for path in best.glob("model.ckpt-*"):
        path.rename(best / path.name.replace(f"-{record.step}.", "-99."))
    later = find_checkpoint(str(best))
    assert later.endswith("-99")
    with open(f"{later}.index", "ab") as index:  # other weights
        index.write(b"0")
    export_line, evaluation_line = outdated(later).lines(later)
    assert f"tflite is of step {record.step}, and model.ckpt-99 is there now" in export_line
    assert f"is of model.ckpt-{record.step}, and" in evaluation_line
    assert accuracy_of(later, **settings) is None


def test_a_checkpoint_of_the_same_step_with_other_weights_is_another(best):
    checkpoint = find_checkpoint(str(best))
    export(checkpoint, best / "onnx")
    index = pathlib.Path(f"{checkpoint}.index")
    _, digest = step_and_digest(checkpoint)
    (best / "evaluation").mkdir(exist_ok=True)
    evaluation = {"checkpoint": checkpoint, "checkpoint_sha256": digest, "top_1": 0.5}
    (best / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    assert outdated(checkpoint).evaluation is None
    index.write_bytes(index.read_bytes() + b"0")
    assert outdated(checkpoint).evaluation == os.path.basename(checkpoint)
    assert list(outdated(checkpoint).exports) == [str(best / "onnx")]


def test_only_an_export_and_nothing_but_it_is_replaced(best, tmp_path):
    checkpoint = find_checkpoint(str(best))
    with pytest.raises(ValueError, match=r"holds no export\.json"):
        check_replaceable(str(best))
    export(checkpoint, tmp_path / "alone")
    check_replaceable(str(tmp_path / "alone"))
    export(checkpoint, tmp_path / "more", files=("model.tflite", "thesis.doc"))
    with pytest.raises(ValueError, match=r"not of the export: thesis\.doc"):
        check_replaceable(str(tmp_path / "more"))
