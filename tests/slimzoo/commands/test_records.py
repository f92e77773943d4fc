"""The commands on records as TF-Slim's scripts write them; the source has tests of its own."""

import csv
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from record_writers import photo_records, record, write_flowers, write_labels, write_records
from tiny_network import (
    CLASSES,
    NUM_TRAIN,
    NUM_VALIDATION,
    assert_equal_values,
    encode_photo,
    metrics,
    saved_values,
    saved_weights,
    train_until_interrupted,
)

from image_datasets.dataset_factory import get_dataset
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig, compute
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.prepare_dataset import PreparationConfig, prepare
from slimzoo.commands.train_image_classifier import train
from training.checkpoints.description import ModelDescription


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """The photos of `tiny_network` in records, three files a split. Not to be changed."""
    return write_flowers(tmp_path_factory.mktemp("records"), NUM_TRAIN, NUM_VALIDATION)


@pytest.fixture
def on_records(replaced, flowers):
    """`on_records(name=value)`: trains on the records."""
    return lambda **values: replaced(
        **{"dataset_name": "flowers", "dataset_dir": flowers, **values}
    )


def predictions_in(folder):
    with open(pathlib.Path(folder, "predictions.csv")) as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["index"]))


def test_a_run_on_records_is_validated_evaluated_and_exported(on_records, flowers, capsys):
    config = on_records(validation_split_name=None, max_number_of_steps=3)
    train(config)
    assert f"flowers: the records in {flowers}, as TF-Slim's scripts" in capsys.readouterr().out
    (validation,) = metrics(config.train_dir, "validation")
    assert validation["num_examples"] == NUM_VALIDATION
    description = ModelDescription.load(config.train_dir)
    assert description.class_names == list(CLASSES)
    assert (description.dataset_name, description.dataset_dir) == ("flowers", flowers)
    assert "respect_exif" not in description.preprocessing_options

    result = evaluate(EvaluationConfig(checkpoint_path=config.train_dir, batch_size=8))
    assert result.loss == pytest.approx(validation["loss"], rel=1e-5)
    rows = predictions_in(f"{config.train_dir}/evaluation")
    assert [int(row["index"]) for row in rows] == list(range(NUM_VALIDATION))
    assert [row["label"] for row in rows] == [*CLASSES] * (NUM_VALIDATION // 3)
    last = f"record 6 of {flowers}/flowers_validation_00002-of-00003.tfrecord"
    assert rows[-1]["example"] == last
    page = pathlib.Path(config.train_dir, "evaluation", "report.html").read_text()
    assert page.count("data:image/") >= 3  # pictures come from the records

    folder = export(ExportConfig(checkpoint_path=config.train_dir))
    names = tf.saved_model.load(folder).class_names.numpy()
    assert [name.decode() for name in names] == list(CLASSES)
    card = pathlib.Path(folder, "README.md").read_text()
    assert "| trained on | `flowers`, split `train`, 30 images |" in card


@pytest.mark.slow
def test_interrupted_and_resumed_it_ends_as_a_run_never_stopped(on_records, tmp_path):
    whole = train(on_records(max_number_of_steps=20))
    config = on_records(max_number_of_steps=20, train_dir=str(tmp_path / "stopped"))
    train_until_interrupted(config)
    assert_equal_values(saved_values(whole), saved_values(train(config)))


@pytest.mark.slow
def test_a_corrupt_image_is_named_or_left_out_and_counted(on_records, tmp_path, capsys):
    records = photo_records(10)
    records[13] = record(b"\xff\xd8\xffnot an image", 1)
    write_records(tmp_path / "a_train.tfrecord", records)
    write_labels(tmp_path, CLASSES)
    where = {"dataset_name": "tfrecord", "dataset_dir": str(tmp_path)}
    config = on_records(**where, batch_size=1, shuffle_buffer_size=1, max_number_of_steps=40)
    path = rf"{tmp_path}/a_train\.tfrecord"
    with pytest.raises(ValueError, match=rf"cannot be decoded: record 13 of {path}\. Replace"):
        train(config)
    assert tf.train.latest_checkpoint(config.train_dir).endswith("-13")  # what was done is saved
    train(on_records(**where, train_dir=str(tmp_path / "other"), skip_corrupt_images=True))
    assert "Images were left out 2 times: not decoded" in capsys.readouterr().out


def test_a_record_of_no_class_is_named_at_the_start_and_counted_at_the_end(
    on_records, tmp_path, capsys
):
    records = photo_records(3)
    records[4] = record(encode_photo(0, 0), -1)
    write_records(tmp_path / "a_train.tfrecord", records)
    write_labels(tmp_path, CLASSES)
    train(
        on_records(
            dataset_name="tfrecord",
            dataset_dir=str(tmp_path),
            batch_size=3,
            max_number_of_steps=3,
            log_every_n_steps=1,
        )
    )
    said = capsys.readouterr().out
    assert f"WARNING: record 4 of {tmp_path}/a_train.tfrecord has the label -1, that of" in said
    assert "An image was left out once: of a class that is unknown or below" in said


def test_a_record_whose_contents_were_changed_is_named(on_records, tmp_path, flowers):
    folder = shutil.copytree(flowers, tmp_path / "changed")
    path = folder / "flowers_train_00001-of-00003.tfrecord"
    contents = bytearray(path.read_bytes())
    contents[-1000] ^= 1  # of the last image
    path.write_bytes(contents)
    config = on_records(dataset_dir=str(folder), skip_corrupt_images=True)
    with pytest.raises(ValueError, match=rf"{path} is damaged: record 9 cannot be read\. Replace"):
        train(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "labels.txt").write_text("0:a\n1:b\n"), "has the label 2"),
        (
            lambda folder: os.truncate(folder / "flowers_train_00000-of-00003.tfrecord", 5000),
            r"is cut off or damaged in record \d",
        ),
    ],
)
def test_bad_records_are_refused_before_a_folder_is_made(
    on_records, flowers, tmp_path, change, message
):
    folder = shutil.copytree(flowers, tmp_path / "bad")
    change(folder)
    config = on_records(dataset_dir=str(folder), dataset_name="tfrecord")
    with pytest.raises(ValueError, match=message):
        train(config)
    assert not os.path.exists(config.train_dir)


@pytest.mark.parametrize("where", ["{}", "{}/flowers_%s_*.tfrecord"])
def test_statistics_are_those_of_the_same_images_in_a_folder(flowers, photos, tmp_path, where):
    config = StatisticsConfig(
        dataset_name="tfrecord",
        dataset_dir=where.format(flowers),
        image_size=37,
        output_dir=str(tmp_path / "records"),
    )
    statistics = compute(config)
    of_folder = compute(
        StatisticsConfig(
            dataset_name="folder",
            dataset_dir=photos,
            image_size=37,
            output_dir=str(tmp_path / "folder"),
        )
    )
    assert statistics.num_images == of_folder.num_images == NUM_TRAIN
    np.testing.assert_allclose(statistics.mean_rgb, of_folder.mean_rgb)
    document = json.loads((tmp_path / "records" / "dataset_statistics.json").read_text())
    assert document["dataset_dir"] == where.format(flowers)
    assert not document["respect_exif"]


def test_records_are_prepared_in_their_order(flowers, tmp_path):
    config = PreparationConfig(
        dataset_name="flowers",
        dataset_dir=flowers,
        output_dir=str(tmp_path),
        image_size=36,
        encoding="raw",
    )
    assert prepare(config).num_images == NUM_TRAIN
    prepared = get_dataset("flowers_36_raw", "train", str(tmp_path))
    assert prepared.class_names == CLASSES
    labels = [int(row["label"]) for row in prepared.stored_examples()]
    assert labels == [0, 1, 2] * (NUM_TRAIN // 3)
    prepare(config)  # complete, and of the same records


@pytest.fixture(scope="module")
def with_background(tmp_path_factory):
    """The validation photos with labels from 1 to 3, as the records of ImageNet have them."""
    folder = tmp_path_factory.mktemp("background")
    records = photo_records(NUM_VALIDATION // 3, offset=1000, first_label=1)
    write_records(folder / "validation-00000-of-00001", records)
    write_labels(folder, CLASSES, first=1)
    return str(folder)


@pytest.fixture(scope="module")
def tf_slim_checkpoints(trained, tmp_path_factory):
    """The same network with 3 outputs, and with 4, of which the first is the background."""
    folder = tmp_path_factory.mktemp("tf_slim")
    weights = saved_weights(trained)
    prefixes = []
    for outputs in (3, 4):
        values = dict(weights)
        if outputs == 4:
            kernel, bias = (values[f"tiny/fc3/{name}"] for name in ("weights", "biases"))
            values["tiny/fc3/weights"] = np.pad(kernel, [(0, 0)] * 3 + [(1, 0)])
            values["tiny/fc3/biases"] = np.pad(bias, [(1, 0)], constant_values=-100)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for name, value in values.items():
                tf.compat.v1.get_variable(name, initializer=value)
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver()
            prefixes.append(saver.save(session, str(folder / str(outputs) / "model.ckpt")))
    return prefixes


@pytest.mark.slow
def test_checkpoints_with_and_without_a_background_class_answer_the_same(
    tf_slim_checkpoints, photos, with_background, tmp_path
):
    """On a dataset with such a class and on one without, as 1,001 and 1,000 are for ImageNet."""
    losses = []
    for outputs, prefix in zip((3, 4), tf_slim_checkpoints, strict=True):
        for name, folder in (("folder", photos), ("tfrecord", with_background)):
            config = EvaluationConfig(
                checkpoint_path=prefix,
                model_name=["tiny"],
                dataset_name=name,
                dataset_dir=folder,
                eval_dir=str(tmp_path / f"{name}_{outputs}"),
                report=False,
            )
            result = evaluate(config)
            assert (result.num_examples, result.num_skipped) == (NUM_VALIDATION, 0)
            losses.append(result.loss)
            rows = predictions_in(config.eval_dir)
            assert {row["label"] for row in rows} == set(CLASSES)
            assert ("probability:background" in rows[0]) == (outputs == 4)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_a_run_on_other_labels_is_evaluated_on_records_with_a_background_class(
    trained, with_background, tmp_path
):
    config = EvaluationConfig(
        checkpoint_path=str(trained), eval_dir=str(tmp_path / "folder"), report=False
    )
    others = EvaluationConfig(
        checkpoint_path=str(trained),
        dataset_name="tfrecord",
        dataset_dir=with_background,
        eval_dir=str(tmp_path / "records"),
        report=False,
    )
    assert evaluate(others).loss == pytest.approx(evaluate(config).loss, rel=1e-5)
