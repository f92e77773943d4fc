"""The command; what it writes is the test of `training/dataset_preparation`."""

import dataclasses
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from tiny_network import NUM_TRAIN, NUM_VALIDATION

from image_datasets.dataset_factory import get_dataset
from slimzoo.commands import prepare_dataset
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.prepare_dataset import PreparationConfig, prepare
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from slimzoo.run_folder import choose_run_pipeline
from training.dataset_preparation.directory import PreparedDirectory


def preparation(photos, output_dir, **values):
    """Prepares the photos as `photos_test`."""
    return PreparationConfig(
        **{
            "dataset_name": "folder",
            "dataset_dir": photos,
            "output_dir": str(output_dir),
            "prepared_name": "photos_test",
            "image_size": 36,
            "encoding": "raw",
            "examples_per_shard": 8,
            **values,
        }
    )


@pytest.fixture
def preparation_config(photos, tmp_path):
    return preparation(photos, tmp_path / "prepared")


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """Prepared by the command, once for this file; not to be changed."""
    config = preparation(photos, tmp_path_factory.mktemp("finished"))
    assert prepare(config).num_images == NUM_TRAIN
    return config


@pytest.fixture
def prepared(finished, preparation_config):
    """The same in a folder of this test's own, by the configuration that it gives."""
    shutil.copytree(finished.output_dir, preparation_config.output_dir)
    return preparation_config


def test_complete_it_is_left_as_it_is_and_says_how_to_train_on_it(prepared, monkeypatch, capsys):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(prepare_dataset, "write_dataset", None)
    prepare(prepared)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    output = capsys.readouterr().out
    assert "photos_test is complete already" in output
    assert "Its 12 files (0.2 MB) have the checksums with which they were written." in output
    assert "train 30, validation 21 images of 36x36 (raw) in 7 files" in output
    command = output.splitlines()[-1]
    assert command.endswith(f"--dataset_name=photos_test --dataset_dir={prepared.output_dir}")


SHARD = "photos_test-train.tfrecord-00001-of-00004"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


@pytest.mark.parametrize("harm", [cut, flip])
def test_a_damaged_shard_is_named_and_once_removed_written_again(prepared, harm, capsys):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    harm(folder / SHARD)
    with pytest.raises(ValueError, match=f"{SHARD} is damaged: .*Remove that file, and the same"):
        prepare(prepared)
    assert "complete" not in capsys.readouterr().out
    (folder / SHARD).unlink()
    with pytest.raises(ValueError, match=f"{SHARD} is missing. The prepare_dataset command that"):
        get_dataset("photos_test", "train", prepared.output_dir)
    prepare(prepared)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    output = capsys.readouterr().out
    assert f"Written again, as they were not there any more: {SHARD}\nIts 12 files" in output


@pytest.mark.parametrize("harm", [cut, flip])
def test_training_and_evaluation_on_a_damaged_shard_name_it(prepared, replaced, trained, harm):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    harm(folder / SHARD)
    named = f"'photos_test' is damaged: {folder / SHARD} .*Remove that file. The prepare_dataset"
    config = replaced(dataset_name="photos_test", dataset_dir=prepared.output_dir)
    with pytest.raises(ValueError, match=named):
        train(config)
    if harm is cut:  # seen at the start, before anything is written
        assert not pathlib.Path(config.train_dir).exists()
    evaluation = EvaluationConfig(
        checkpoint_path=str(trained),
        dataset_name="photos_test",
        dataset_dir=prepared.output_dir,
        dataset_split_name="train",
        eval_dir=f"{config.train_dir}/evaluation",
    )
    with pytest.raises(ValueError, match=named):
        evaluate(evaluation)
    # The other split is whole.
    result = evaluate(dataclasses.replace(evaluation, dataset_split_name="validation"))
    assert result.num_examples == NUM_VALIDATION


@pytest.mark.parametrize("harm", [None, cut])
def test_data_of_earlier_versions_have_no_checksums_and_are_known_by_their_sum(
    prepared, harm, capsys
):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    (folder / "checksums.tsv").unlink()
    if harm is None:
        prepare(prepared)
        assert "It has no checksums, as an earlier version prepared it." in capsys.readouterr().out
        return
    harm(folder / SHARD)
    named = f"is damaged: {folder / SHARD} has 4 records.*Remove {folder}, and run the prepare"
    for use in (
        lambda: prepare(prepared),
        lambda: get_dataset("photos_test", "train", str(folder)),
    ):
        with pytest.raises(ValueError, match=named):
            use()


def test_a_signal_while_a_lost_shard_is_written_leaves_it_to_be_written(
    prepared, monkeypatch, capsys
):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / SHARD).unlink()
    original = prepare_dataset.write_lost_shards

    def signalled(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_dataset, "write_lost_shards", signalled)
        with pytest.raises(KeyboardInterrupt, match="The same command continues"):
            prepare(prepared)
    assert not (folder / SHARD).exists()
    prepare(prepared)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_one_split_has_a_part_for_validation_in_the_command(preparation_config, trained, capsys):
    prepare(dataclasses.replace(preparation_config, dataset_split_names=["train"]))
    command = capsys.readouterr().out.splitlines()[-1]
    assert "--dataset_split_name='train[:80%]' --validation_split_name='train[80%:]'" in command
    evaluation = EvaluationConfig(
        checkpoint_path=str(trained),
        dataset_name="photos_test",
        dataset_dir=preparation_config.output_dir,
    )
    with pytest.raises(ValueError, match="has no validation or test split: give --dataset_split"):
        evaluate(evaluation)


@pytest.mark.slow
def test_a_signal_stops_between_two_images(preparation_config, monkeypatch, capsys):
    original, images = prepare_dataset.write_dataset, []

    def signalled(*arguments, stop_requested, **options):
        def at_each_image():
            images.append(None)
            if len(images) == 10:
                signal.raise_signal(signal.SIGINT)
            return stop_requested()

        original(*arguments, stop_requested=at_each_image, **options)

    monkeypatch.setattr(prepare_dataset, "write_dataset", signalled)
    with pytest.raises(KeyboardInterrupt, match="The same command continues"):
        prepare(preparation_config)
    assert len(images) == 10
    with pytest.raises(ValueError, match="is not finished: the prepare_dataset command"):
        get_dataset("photos_test", "train", preparation_config.output_dir)
    prepare(preparation_config)
    assert "Going on after 8 images" in capsys.readouterr().out


def test_interrupted_while_it_tidied_up_it_writes_nothing_again(prepared, monkeypatch, capsys):
    folder = pathlib.Path(prepared.output_dir, "photos_test", "1.0.0")
    os.rename(folder, f"{folder}.incomplete")
    monkeypatch.setattr(prepare_dataset, "write_dataset", None)
    prepare(prepared)
    assert folder.is_dir()
    assert "photos_test: train 30, validation 21 images" in capsys.readouterr().out


def test_what_was_left_out_is_listed_when_it_ends(photos, tmp_path, capsys):
    root = shutil.copytree(photos, tmp_path / "damaged")
    paths = [get_dataset("folder", "train", str(root)).describe(index) for index in range(12)]
    for path in paths:
        pathlib.Path(path).write_bytes(b"not an image")
    prepare(preparation(str(root), tmp_path / "prepared", skip_corrupt_images=True))
    report = capsys.readouterr().out.partition(
        "Left out of train, as they cannot be read or decoded: 12"
    )
    assert [line.strip() for line in report[2].splitlines()[1:11]] == paths[:10]
    assert "  and 2 more\n" in report[2]


def test_two_at_a_time_do_not_write_into_each_other(preparation_config):
    plan, _ = prepare_dataset.make_plan(preparation_config, "photos_test")
    directory = PreparedDirectory(str(preparation_config.output_dir), plan)
    with (
        directory.being_written(),
        pytest.raises(ValueError, match=r"Another process is writing .*incomplete"),
    ):
        prepare(preparation_config)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_the_drivers_train_and_evaluate_on_it(finished, photos, replaced, tmp_path, encoding):
    data = finished
    if encoding == "jpeg":
        data = preparation(photos, tmp_path / "prepared", encoding="jpeg")
        prepare(data)
    config = replaced(dataset_name="photos_test", dataset_dir=data.output_dir)
    train(config)
    result = evaluate(
        EvaluationConfig(
            checkpoint_path=config.train_dir, dataset_split_name="validation", batch_size=7
        )
    )
    assert result.num_examples == NUM_VALIDATION
    assert result.top_1 > 0.5


def test_the_default_name_says_what_it_is(preparation_config):
    for name, encoding, expected in (
        ("tf_flowers", "jpeg", "tf_flowers_36"),
        ("imagenette/320px-v2:1.0.0", "raw", "imagenette_320px_v2_36_raw"),
        ("folder", "jpeg", "my_photos_36"),
    ):
        config = dataclasses.replace(
            preparation_config, dataset_name=name, encoding=encoding, dataset_dir="/x/My photos/"
        )
        assert prepare_dataset.default_name(config) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset_name": None}, "--dataset_name is not given"),
        ({"output_dir": None}, "--output_dir is not given"),
        ({"dataset_name": "cifr10"}, "Did you mean 'cifar10'"),
        ({"dataset_dir": "/nowhere/at/all"}, "/nowhere/at/all does not exist"),
        ({"dataset_split_names": ["trian"]}, "Unknown split of folder 'trian'.*'train'"),
        ({"dataset_split_names": ["train[:80%]"]}, "Whole splits are prepared"),
        ({"prepared_name": "my photos"}, "--prepared_name is 'my photos'; a name of TFDS has"),
        ({"prepared_name": "cifar10"}, "the name of another dataset; cifar10_256 would do"),
        ({"prepared_name": "folder"}, "the name of another dataset"),
        ({"image_size": 0}, "--image_size is 0; it must be a number greater than 0"),
        ({"examples_per_shard": -1}, "--examples_per_shard is -1"),
        ({"jpeg_quality": 101}, "--jpeg_quality is 101; it must be 1 to 100"),
        ({"encoding": "jpg"}, "Unknown --encoding 'jpg'. Did you mean 'jpeg'"),
    ],
)
def test_what_cannot_be_prepared_is_said(preparation_config, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        prepare(dataclasses.replace(preparation_config, **values))
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 40}, "image_size: 36 there, 40 asked for"),
        ({"encoding": "jpeg"}, '"raw" there, "jpeg" asked for\n  jpeg_quality: null there, 95'),
        ({"dataset_split_names": ["train"]}, "splits: .* there, .*train.* asked for"),
    ],
)
def test_another_dataset_of_this_name_is_not_overwritten(prepared, values, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*another --prepared_name"):
        prepare(dataclasses.replace(prepared, **values))


def test_a_file_in_place_of_the_output(preparation_config, tmp_path):
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(ValueError, match="file is a file, not a folder"):
            prepare(dataclasses.replace(preparation_config, output_dir=str(tmp_path / path)))


def test_the_command_runs_by_itself_and_says_what_comes_next(photos, tmp_path):
    driver = pathlib.Path(__file__).parents[3] / "prepare_dataset.py"
    finished = subprocess.run(
        [
            *(sys.executable, str(driver), "--dataset_name=folder", f"--dataset_dir={photos}"),
            *(f"--output_dir={tmp_path / 'out'}", "--image_size=32"),
        ],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert finished.returncode == 0
    assert "train 30, validation 21 images of 32x32 (jpeg) in 2 files" in finished.stdout
    name = f"{pathlib.Path(photos).name}_32"
    assert f"train_image_classifier.py --dataset_name={name} --dataset_dir=" in finished.stdout


@pytest.mark.slow
def test_real_photos(real_data_dir, tmp_path):
    config = PreparationConfig(
        dataset_name="tf_flowers", dataset_dir=real_data_dir, output_dir=str(tmp_path)
    )
    statistics = prepare(config)
    assert statistics.num_images == 3670
    sliced = get_dataset("tf_flowers", "train[80%:]", real_data_dir).stored_examples()
    prepared = get_dataset("tf_flowers_256", "train[80%:]", str(tmp_path)).stored_examples()
    assert [row["label"] for row in sliced.as_numpy_iterator()] == [
        row["label"] for row in prepared.as_numpy_iterator()
    ]


def test_a_split_is_asked_for_by_any_of_its_names(photos, tmp_path):
    config = preparation(photos, tmp_path, dataset_split_names=["Training", "val", "train"])
    plan, _ = prepare_dataset.make_plan(config, "photos_test")
    assert plan.splits == {"train": NUM_TRAIN, "validation": NUM_VALIDATION}


@pytest.mark.parametrize("name", ["two\nlines", "two\rlines", " red", "red\u00a0"])
def test_classes_that_tfds_would_read_as_others_are_refused(photos, tmp_path, name):
    root = shutil.copytree(photos, tmp_path / "photos")
    for split in ("train", "validation"):
        (root / split / "red").rename(root / split / name)
    with pytest.raises(
        ValueError, match="1 of the classes cannot be prepared, as TFDS keeps neither"
    ):
        prepare(preparation(str(root), tmp_path / "prepared"))
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("folder", ["写真", "2024", "_", "[1]"])
def test_a_folder_whose_name_has_no_letters_is_given_one(photos, tmp_path, folder):
    config = preparation(str(tmp_path / folder), tmp_path, prepared_name=None)
    name = prepare_dataset.default_name(config)
    assert name.startswith("folder")
    prepare_dataset._check_name(name)


def test_folders_whose_paths_look_like_patterns_are_prepared(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "a[1] * \\x" / "photos")
    config = preparation(str(root), tmp_path / "b[?]{,}" / "prepared")
    assert prepare(config).num_images == NUM_TRAIN
    dataset = get_dataset("photos_test", "train", config.output_dir)
    assert sum(1 for _ in dataset.examples()) == NUM_TRAIN
    assert prepare(config).num_images == NUM_TRAIN  # it is found again


@pytest.mark.parametrize("respect_exif", [None, True, False])
def test_photos_of_a_folder_are_stored_upright(tmp_path, respect_exif):
    pil_image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((36, 36, 3), np.uint8)
    pixels[:9] = 255  # the top row as it is stored; turned by a quarter clockwise, on the right
    note = pil_image.Exif()
    note[0x0112] = 6
    for name in "ab":
        folder = tmp_path / "photos" / "train" / name
        folder.mkdir(parents=True)
        pil_image.fromarray(pixels).save(folder / "1.jpg", quality=95, exif=note.tobytes())
    config = preparation(
        str(tmp_path / "photos"), tmp_path / "out", encoding="jpeg", respect_exif=respect_exif
    )
    prepare(config)
    (example, *_) = get_dataset("photos_test", "train", config.output_dir).examples()
    contents = example["image"].numpy()
    assert b"Exif" not in contents
    stored = np.asarray(pil_image.open(io.BytesIO(contents))).mean(axis=-1)
    expected = pixels[..., 0] if respect_exif is False else np.rot90(pixels[..., 0], -1)
    assert np.abs(stored - expected).mean() < 10
    training = TrainingConfig(
        dataset_name="photos_test", dataset_dir=config.output_dir, model_name="cifarnet_18pct"
    )
    # New photos are to be turned as those were that a network was trained on.
    options = choose_run_pipeline(training).options
    assert options.get("respect_exif", False) == (respect_exif is not False)
    # The same command, and that of a version before the choice, find what they made.
    prepare(config)
    plan = pathlib.Path(config.output_dir, "photos_test", "1.0.0", "preparation.json")
    document = json.loads(plan.read_text())
    if document.pop("respect_exif"):
        return
    plan.write_text(json.dumps(document))
    prepare(dataclasses.replace(config, respect_exif=None))
    with pytest.raises(ValueError, match="respect_exif: false there, true asked for"):
        prepare(dataclasses.replace(config, respect_exif=True))
