"""The command; what it measures is the test of `training/evaluation.py`."""

import csv
import dataclasses
import json
import os
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import NUM_VALIDATION, metrics

from nets.nets_factory import get_network_fn
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate, split_paths
from slimzoo.commands.prepare_dataset import PreparationConfig, prepare
from training.storage.locks import locked


@pytest.fixture
def evaluation(trained, tmp_path):
    """Evaluates the trained run on what it was validated on."""
    return EvaluationConfig(checkpoint_path=str(trained), eval_dir=str(tmp_path / "evaluation"))


def test_it_repeats_what_validation_saw_and_writes_it_beside_the_checkpoint(run, capsys):
    validated = metrics(run.train_dir, "validation")[-1]
    config = EvaluationConfig(checkpoint_path=run.train_dir, batch_size=5)
    result = evaluate(config)
    assert result.top_1 == validated["top_1"]
    assert result.loss == pytest.approx(validated["loss"], rel=1e-5)
    folder = pathlib.Path(run.train_dir, "evaluation")
    written = json.loads((folder / "evaluation.json").read_text())
    assert written["top_1"] == result.top_1
    assert written["num_examples"] == NUM_VALIDATION
    assert len((folder / "predictions.csv").read_text().splitlines()) == 1 + NUM_VALIDATION
    printed = capsys.readouterr().out
    assert "top-1" in printed
    assert "earlier" not in printed
    evaluate(dataclasses.replace(config, max_num_batches=1))
    assert "in place of an earlier evaluation's" in capsys.readouterr().out


def test_a_narrow_number_type_gives_nearly_the_same(evaluation):
    loss = evaluate(evaluation).loss
    half_loss = evaluate(dataclasses.replace(evaluation, mixed_precision="bfloat16")).loss
    assert half_loss != loss
    assert half_loss == pytest.approx(loss, rel=1e-2)


@pytest.mark.slow
def test_batches_count_images_also_where_each_has_ten_crops(evaluation, capsys):
    crops = dataclasses.replace(evaluation, eval_crops=10)
    assert evaluate(dataclasses.replace(crops, batch_size=25)).num_examples == NUM_VALIDATION
    assert ", 10 crops: top-1" in capsys.readouterr().out
    some = dataclasses.replace(crops, batch_size=10, max_num_batches=1)
    assert evaluate(some).num_examples == 10  # not a tenth of it


def test_images_of_another_size_can_be_asked_for(evaluation):
    config = dataclasses.replace(evaluation, eval_image_size=36, max_num_batches=1, batch_size=7)
    assert evaluate(config).num_examples == 7


def test_other_classes_are_refused_and_not_scored(evaluation, photos, tmp_path):
    other = shutil.copytree(photos, tmp_path / "other")
    for split in ("train", "validation"):
        (other / split / "red").rename(other / split / "yellow")
    with pytest.raises(ValueError, match="The network answers with 3 classes"):
        evaluate(dataclasses.replace(evaluation, dataset_dir=str(other)))


FILES = ["evaluation.json", "predictions.csv"]
TABLES = ["confusion.csv", "per_class.csv"]


def read_predictions(folder):
    with open(pathlib.Path(folder, "predictions.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("classes", [["green"], ["green", "red"]])
def test_some_of_the_classes_are_evaluated_as_among_all(
    evaluation, photos, tmp_path, capsys, classes, prepared
):
    """A class is another label in fewer classes, in a folder as in a dataset of TFDS."""
    evaluate(evaluation)
    expected = {
        "/".join(row["example"].split("/")[-2:]): row
        for row in read_predictions(evaluation.eval_dir)
        if row["label"] in classes
    }
    some = tmp_path / "some"
    for name in classes:
        shutil.copytree(f"{photos}/validation/{name}", some / "test" / name)
    config = dataclasses.replace(evaluation, dataset_dir=str(some), eval_dir=str(tmp_path / "of"))
    capsys.readouterr()
    if prepared:
        preparation = PreparationConfig(
            dataset_name="folder",
            dataset_dir=str(some),
            output_dir=str(tmp_path),
            image_size=64,
        )
        prepare(preparation)
        config = dataclasses.replace(config, dataset_name="some_64", dataset_dir=str(tmp_path))
    result = evaluate(config)
    assert f", split test, {len(classes)} of the 3 classes: top-1" in capsys.readouterr().out
    assert result.num_examples == len(expected) == 7 * len(classes)
    rows = read_predictions(config.eval_dir)
    assert sorted(row["label"] for row in rows) == sorted(row["label"] for row in expected.values())
    written = json.loads(pathlib.Path(config.eval_dir, "evaluation.json").read_text())
    assert written["num_classes_with_images"] == len(classes)
    if not prepared:  # which changes the pixels
        for row in rows:
            name = "/".join(row["example"].split("/")[-2:])
            for key in ("label", "prediction"):
                assert row[key] == expected[name][key]
            assert float(row["loss"]) == pytest.approx(float(expected[name]["loss"]), rel=1e-5)


@pytest.mark.slow
def test_other_photos_are_evaluated_by_the_split_that_they_have(
    evaluation, photos, tmp_path, capsys
):
    """The run was validated on `validation`."""
    for layout, number in (("Valid", 7), ("Testing", 7), ("", 2)):
        folder = tmp_path / f"as {layout}"
        shutil.copytree(f"{photos}/validation/red", folder / layout / "red")
        config = dataclasses.replace(evaluation, dataset_dir=str(folder))
        assert evaluate(config).num_examples == number
    said = "Evaluated are 2 of 7 images, those of validation; --dataset_split_name=all takes every"
    assert said in capsys.readouterr().out
    config = dataclasses.replace(config, dataset_split_name="all")
    assert evaluate(config).num_examples == 7
    assert "Evaluated are" not in capsys.readouterr().out


def test_a_run_validated_on_a_folder_called_val_is_evaluated_on_it(trained, photos, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "validation").rename(folder / "val")
    for path in (run / "model.json", run / "best" / "model.json"):
        if path.exists():
            described = json.loads(path.read_text())
            described.update(validation_split_name="val", dataset_dir=str(folder))
            path.write_text(json.dumps(described))
    assert evaluate(EvaluationConfig(checkpoint_path=str(run))).num_examples == NUM_VALIDATION


def test_networks_of_different_classes_do_not_go_together(evaluation, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    described = json.loads((other / "model.json").read_text())
    described["class_names"] = ["red", "green", "blue"]
    (other / "model.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="trained on different classes"):
        evaluate(dataclasses.replace(evaluation, checkpoint_path=f"{trained},{other}"))


@pytest.mark.slow
def test_images_that_are_left_out_are_counted(
    evaluation, photos, tmp_path, capsys, deleted_after_the_scan
):
    damaged = shutil.copytree(photos, tmp_path / "damaged")
    (damaged / "validation" / "red" / "2.jpg").write_bytes(b"not an image")
    config = dataclasses.replace(evaluation, dataset_dir=str(damaged), skip_corrupt_images=True)
    assert evaluate(config).num_skipped == 1
    printed = capsys.readouterr().out
    assert "1 image was left out: not decoded, or" in printed
    assert f"{damaged / 'validation' / 'red' / '2.jpg'}.\n" in printed
    deleted_after_the_scan(damaged / "validation" / "red" / "3.jpg")
    result = evaluate(config)
    assert (result.num_skipped, result.num_unread) == (2, 1)
    assert {os.path.basename(name) for name in result.skipped} == {"2.jpg", "3.jpg"}
    printed = capsys.readouterr().out
    assert "2 images were left out: 1 not read, the others not decoded" in printed
    shutil.copy(f"{photos}/validation/red/3.jpg", damaged / "validation" / "red" / "3.jpg")
    with pytest.raises(ValueError, match=r"red.3\.jpg: No such file|red.2\.jpg\. Replace"):
        evaluate(dataclasses.replace(config, skip_corrupt_images=False))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"checkpoint_path": "/nowhere/at/all"}, "does not exist"),
        ({"eval_crops": 5}, "must be 1 or 10"),
        ({"batch_size": 0}, "--batch_size is 0; it must be a number greater than 0"),
        ({"eval_image_size": -1}, "--eval_image_size is -1"),
        ({"dataset_split_name": "tset"}, "Unknown split of .*'tset'"),
        ({"batch_size": 5, "num_replicas": 2}, r"--batch_size is 5, which 2 replicas .* 4 or 6"),
        ({"model_name": ["alexnet"]}, "holds a run of tiny"),
        ({"model_name": ["tiny", "tiny"]}, "--model_name has 2 names, and --checkpoint_path 1"),
    ],
)
def test_what_cannot_be_evaluated_is_said(evaluation, values, message):
    with pytest.raises(ValueError, match=message):
        evaluate(dataclasses.replace(evaluation, **values))


def test_a_folder_that_cannot_be_written_is_named(evaluation, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--eval_dir .*file/x cannot be written"):
        evaluate(dataclasses.replace(evaluation, eval_dir=str(tmp_path / "file" / "x")))


# ------------------------------------------------- several networks, bare weights


@pytest.fixture
def bare(tmp_path):
    """Weights of three networks in files of Keras, the first two of one architecture."""
    paths = []
    for number, name in enumerate(("tiny", "tiny", "cifarnet_18pct")):
        keras.utils.set_random_seed(number)
        network_fn = get_network_fn(name, 3)
        for variable in network_fn.variables.values():
            variable.assign(variable + 0.05 * tf.random.normal(variable.shape))
        paths.append(str(tmp_path / f"{number}.weights.h5"))
        network_fn.model.save_weights(paths[-1])
    return paths


def read_probabilities(folder):
    lines = (pathlib.Path(folder) / "predictions.csv").read_text().splitlines()
    return np.array([[float(value) for value in line.split(",")[-3:]] for line in lines[1:]])


@pytest.mark.slow
def test_several_networks_answer_with_the_mean_of_their_softmax_outputs(
    bare, photos, tmp_path, capsys
):
    names = ["tiny", "tiny", "cifarnet_18pct"]
    arguments = {"dataset_name": "folder", "dataset_dir": photos, "batch_size": 20}
    probabilities = []
    for number, (path, name) in enumerate(zip(bare, names, strict=True)):
        folder = str(tmp_path / str(number))
        evaluate(
            EvaluationConfig(checkpoint_path=path, model_name=[name], eval_dir=folder, **arguments)
        )
        probabilities.append(read_probabilities(folder))
    folder = tmp_path / "all"
    result = evaluate(
        EvaluationConfig(
            checkpoint_path=",".join(bare), model_name=names, eval_dir=str(folder), **arguments
        )
    )
    assert result.num_examples == NUM_VALIDATION
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.01
    np.testing.assert_allclose(
        read_probabilities(folder), np.mean(probabilities, axis=0), atol=1e-6
    )
    summary = json.loads((folder / "evaluation.json").read_text())
    assert summary["model_name"] == "tiny,cifarnet_18pct"
    assert summary["checkpoint"] == ",".join(bare)
    assert "3 networks averaged" in capsys.readouterr().out


@pytest.mark.parametrize("is_relative", [True, False])
def test_what_several_networks_answer_goes_into_no_single_ones_folder(
    run, photos, tmp_path, monkeypatch, capsys, is_relative
):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(run.train_dir, tmp_path / "other")
    base = "" if is_relative else f"{tmp_path}/"
    paths = f"{base}{os.path.basename(run.train_dir)}/best,{base}other"
    config = EvaluationConfig(checkpoint_path=paths, max_num_batches=1, batch_size=7)
    evaluate(config)
    folder = tmp_path / "evaluation_of_2_networks"
    written = ["evaluation.json", "predictions.csv"]
    assert sorted(os.listdir(folder)) == sorted(
        [*written, "report.html", "per_class.csv", "confusion.csv"]
    )
    assert (
        f"Written to {'./' * is_relative}{base}evaluation_of_2_networks:" in capsys.readouterr().out
    )
    evaluate(dataclasses.replace(config, checkpoint_path="other/model.ckpt-3,other/best"))
    assert (other / "evaluation_of_2_networks" / "evaluation.json").exists()


def test_bare_weights_are_evaluated_as_the_network_that_is_named(evaluation, bare, photos):
    config = dataclasses.replace(
        evaluation,
        checkpoint_path=bare[0],
        model_name=["tiny"],
        dataset_name="folder",
        dataset_dir=photos,
    )
    assert evaluate(config).num_examples == NUM_VALIDATION
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        evaluate(dataclasses.replace(config, model_name=[]))
    with pytest.raises(ValueError, match="does not say what it was trained on"):
        evaluate(dataclasses.replace(config, dataset_name=None))


@pytest.mark.slow
def test_bare_weights_are_fed_by_the_pipeline_that_is_named_and_a_run_by_its_own(
    evaluation, bare, photos
):
    config = dataclasses.replace(
        evaluation,
        checkpoint_path=bare[0],
        model_name=["tiny"],
        dataset_name="folder",
        dataset_dir=photos,
        eval_image_size=32,
    )
    own = evaluate(config).loss
    named, as_the_network = (
        evaluate(dataclasses.replace(config, preprocessing_name=name)).loss
        for name in ("inception", "inception_v3")
    )
    assert named == as_the_network != own
    with pytest.raises(ValueError, match=r"Unknown preprocessing 'incepton'. Did you mean 'inc"):
        evaluate(dataclasses.replace(config, preprocessing_name="incepton"))
    described = dataclasses.replace(evaluation, preprocessing_name="inception_v3")
    message = "--preprocessing_name is inception, but .* was trained with cuda_convnet: leave"
    with pytest.raises(ValueError, match=message):
        evaluate(described)


def test_a_comma_in_the_path_of_a_checkpoint_is_no_separator(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "lr,0.1")
    prefix = f"{folder}/model.ckpt-6"
    assert split_paths(prefix) == [prefix]
    assert split_paths(str(folder)) == [prefix]
    other = f"{trained}/model.ckpt-3"
    assert split_paths(f"{other}, {other},") == [other, other]


def test_a_second_evaluation_in_the_same_folder_is_refused_before_its_work(evaluation, tmp_path):
    config = dataclasses.replace(evaluation, eval_dir=str(tmp_path / "evaluation"))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "predictions.csv.0123abcd.incomplete").touch()  # of a killed one
    with (
        locked(config.eval_dir),
        pytest.raises(ValueError, match=r"Another process is writing .*evaluation\. Wait until"),
    ):
        evaluate(config)
    evaluate(config)
    assert sorted(os.listdir(config.eval_dir)) == sorted([*FILES, "report.html", *TABLES])


# ------------------------------------------------------------------------ the report


def read_table(folder, name):
    with open(pathlib.Path(folder, name), newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_report_says_what_the_other_files_say(run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bin/eval_image_classifier"])  # as installed
    config = EvaluationConfig(checkpoint_path=run.train_dir, batch_size=5)
    result = evaluate(config)
    folder = pathlib.Path(run.train_dir, "evaluation")
    assert f"See what is wrong, in a browser: {folder}/report.html" in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"<h1>{result.top_1:.1%} right</h1>" in page
    assert f"<dd>{result.loss:.4f}</dd>" in page
    assert f"eval_image_classifier --batch_size=5 --checkpoint_path={run.train_dir}" in page
    assert "--model_name=tiny" in page  # the flags of its training
    assert '"training loss"' in page
    assert page.count('<img src="data:image/') == NUM_VALIDATION  # they are few
    predictions = read_predictions(folder)
    header, *rows = read_table(folder, "confusion.csv")
    for true, *counts in rows:
        for given, count in zip(header[1:], counts, strict=True):
            pairs = [(row["label"], row["prediction"]) for row in predictions]
            assert int(count) == pairs.count((true, given))
    header, *rows = read_table(folder, "per_class.csv")
    right = sum(int(row[header.index("right")]) for row in rows)
    assert right == round(result.top_1 * NUM_VALIDATION)


def test_without_a_report_none_is_written_and_an_earlier_one_is_named(evaluation, capsys):
    evaluate(dataclasses.replace(evaluation, report=False))
    assert sorted(os.listdir(evaluation.eval_dir)) == FILES
    assert "report.html" not in capsys.readouterr().out
    evaluate(evaluation)
    capsys.readouterr()
    evaluate(dataclasses.replace(evaluation, report=False))
    printed = capsys.readouterr().out
    for name in ("report.html", "per_class.csv", "confusion.csv"):
        assert f"{evaluation.eval_dir}/{name} is of an earlier" in printed


def test_an_evaluation_without_answers_leaves_an_earlier_report_alone(evaluation, photos, tmp_path):
    evaluate(evaluation)
    folder = pathlib.Path(evaluation.eval_dir)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    damaged = shutil.copytree(photos, tmp_path / "damaged")
    for path in (damaged / "validation").rglob("*.jpg"):
        path.write_bytes(b"not an image")
    config = dataclasses.replace(evaluation, dataset_dir=str(damaged), skip_corrupt_images=True)
    with pytest.raises(ValueError, match="No image of folder, split validation, could be counted"):
        evaluate(config)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_reader_must_know_is_on_the_page(run, photos, tmp_path):
    """Ten crops, images that were left out, classes that are absent, curves that are not there."""
    some = tmp_path / "some"
    for name in ("green", "red"):
        shutil.copytree(f"{photos}/validation/{name}", some / "test" / name)
    (some / "test" / "red" / "2.jpg").write_bytes(b"not an image")
    train_dir = pathlib.Path(run.train_dir)
    (train_dir / "metrics.jsonl").write_bytes(b"\x00" * 100)
    (train_dir / "flags.txt").unlink()
    evaluate(
        EvaluationConfig(
            checkpoint_path=str(train_dir),
            dataset_dir=str(some),
            eval_crops=10,
            batch_size=5,
            max_num_batches=2,
            skip_corrupt_images=True,
        )
    )
    page = (train_dir / "evaluation" / "report.html").read_text(encoding="utf-8")
    for said in (
        "Of each image 10 crops are averaged.",
        "Only 10 of the 14 images were evaluated, by --max_num_batches.",
        "The flags of its training are not there: there is no flags.txt",
        "So its training curves are not there.",
        "1 class without an image is left out.",
    ):
        assert said in page


def test_an_ensemble_has_one_report(bare, photos, tmp_path):
    config = EvaluationConfig(
        checkpoint_path=",".join(bare[:2]),
        model_name=["tiny"],
        dataset_name="folder",
        dataset_dir=photos,
        eval_dir=str(tmp_path / "all"),
    )
    evaluate(config)
    page = (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    assert "The softmax outputs of 2 networks are averaged." in page
    for path in bare[:2]:
        assert f"<h3><code>{path}</code></h3>" in page


def test_interrupted_in_the_making_of_its_report_an_evaluation_leaves_the_earlier_one(
    run, monkeypatch
):
    config = EvaluationConfig(checkpoint_path=run.train_dir)
    evaluate(config)
    folder = pathlib.Path(run.train_dir, "evaluation")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 5

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("slimzoo.commands.eval_image_classifier.write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(dataclasses.replace(config, eval_crops=10))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
