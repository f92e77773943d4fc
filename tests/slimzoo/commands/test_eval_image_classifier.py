import dataclasses
import json
import pathlib
import shutil

import pytest

from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train

NUM_VALIDATION = 21


def test_the_driver_repeats_what_validation_saw(config, photos, tmp_path, capsys):
    train(config)
    lines = pathlib.Path(config.train_dir, "metrics.jsonl").read_text().splitlines()
    validated = [line for line in map(json.loads, lines) if line["kind"] == "validation"][-1]
    result = evaluate(EvaluationConfig(checkpoint_path=config.train_dir, batch_size=5))
    assert result.top_1 == validated["top_1"]
    assert result.loss == pytest.approx(validated["loss"], rel=1e-5)
    written = json.loads(pathlib.Path(config.train_dir, "evaluation/evaluation.json").read_text())
    assert written["top_1"] == result.top_1
    assert written["num_examples"] == NUM_VALIDATION
    assert "top-1" in capsys.readouterr().out

    half = EvaluationConfig(checkpoint_path=config.train_dir, mixed_precision="bfloat16")
    half_loss = evaluate(half).loss
    assert half_loss != result.loss
    assert half_loss == pytest.approx(result.loss, rel=1e-2)

    crops = EvaluationConfig(checkpoint_path=config.train_dir, eval_crops=10, batch_size=25)
    capsys.readouterr()
    assert evaluate(crops).num_examples == NUM_VALIDATION
    assert "in place of an earlier evaluation's" in capsys.readouterr().out
    some = dataclasses.replace(crops, batch_size=10, max_num_batches=1)
    assert evaluate(some).num_examples == 10  # not a tenth of it
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--eval_dir .*file/x cannot be written"):
        evaluate(dataclasses.replace(crops, eval_dir=str(tmp_path / "file" / "x")))
    with pytest.raises(ValueError, match=r"--batch_size is 5, which 2 replicas .* 4 or 6"):
        evaluate(dataclasses.replace(crops, eval_crops=1, batch_size=5, num_replicas=2))

    # Another folder with other classes is refused, not scored.
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / "validation" / "red").rename(other / "validation" / "yellow")
    (other / "train" / "red").rename(other / "train" / "yellow")
    with pytest.raises(ValueError, match="The network answers with 3 classes"):
        evaluate(EvaluationConfig(checkpoint_path=config.train_dir, dataset_dir=str(other)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"checkpoint_path": "/nowhere/at/all"}, "does not exist"),
        ({"eval_crops": 5}, "must be 1 or 10"),
        ({"batch_size": 0}, "--batch_size is 0; it must be a number greater than 0"),
        ({"eval_image_size": -1}, "--eval_image_size is -1"),
    ],
)
def test_what_cannot_be_evaluated_is_said(values, message):
    with pytest.raises(ValueError, match=message):
        evaluate(EvaluationConfig(**{"checkpoint_path": "/nowhere", **values}))
