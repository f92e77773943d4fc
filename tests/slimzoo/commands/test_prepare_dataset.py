import dataclasses
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.dataset_factory import get_dataset
from slimzoo.commands import prepare_dataset
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.commands.train_image_classifier import train
from training.dataset_preparation import records, writing
from training.dataset_preparation.directory import PreparedDirectory
from training.dataset_preparation.pixel_statistics import dataset_of_statistics, load_statistics

NUM_TRAIN, NUM_VALIDATION = 30, 21
SIZE = 36


@pytest.fixture
def preparation_config(photos, tmp_path):
    """Prepares the photos, in several files, as `photos_test`."""
    return PreparationConfig(
        dataset_name="folder",
        dataset_dir=photos,
        output_dir=str(tmp_path / "prepared"),
        prepared_name="photos_test",
        image_size=SIZE,
        encoding="raw",
        examples_per_shard=8,
    )


@pytest.fixture
def prepared(preparation_config):
    """`prepared(name=value)`: prepares with other values, and gives the folder."""

    def run(**values):
        config = dataclasses.replace(preparation_config, **values)
        prepare_dataset.prepare(config)
        return pathlib.Path(config.output_dir, config.prepared_name, "1.0.0")

    return run


def area_resized(image, height, width):
    """The image resized by area in NumPy: every new pixel is the mean of what it covers."""

    def weights(old, new):
        edges = np.arange(new + 1) * old / new
        pixels = np.arange(old)
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.maximum(covered, 0) * new / old

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum("yr,rcx,zc->yzx", rows, image.astype(np.float64), columns)


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_tfds_alone_reads_what_the_paper_did_to_each_photo(prepared, photos):
    folder = prepared()
    builder = tfds.builder("photos_test", data_dir=str(folder.parents[1]))
    for split, count in (("train", NUM_TRAIN), ("validation", NUM_VALIDATION)):
        source = get_dataset("folder", split, photos)
        assert builder.info.splits[split].num_examples == count
        assert builder.info.splits[split].shard_lengths[0] == 8
        rows = tfds.as_numpy(
            builder.as_dataset(split, read_config=tfds.ReadConfig(interleave_cycle_length=1))
        )
        for index, row in enumerate(rows):
            path = source.describe(index)
            assert builder.info.features["label"].int2str(row["label"]) in path.split("/")
            photo = tf.io.decode_jpeg(
                pathlib.Path(path).read_bytes(), dct_method="INTEGER_ACCURATE"
            ).numpy()
            short, long = min(photo.shape[:2]), max(photo.shape[:2])
            resized_long = int(long * SIZE / short + 0.5)
            is_wide = photo.shape[1] > photo.shape[0]
            shape = (SIZE, resized_long) if is_wide else (resized_long, SIZE)
            resized = area_resized(photo, *shape)
            offset = (resized_long - SIZE) // 2
            top, left = (0, offset) if is_wide else (offset, 0)
            expected = resized[top : top + SIZE, left : left + SIZE]
            assert row["image"].dtype == np.uint8
            # Rounded: half a level, and a little for sums in 32 bits.
            assert np.abs(row["image"] - expected).max() < 0.501


def test_jpeg_records_hold_the_raw_pixels_encoded(prepared):
    raw, encoded = prepared(), prepared(encoding="jpeg", prepared_name="small", jpeg_quality=80)
    pixels = get_dataset("photos_test", "train", str(raw.parents[1])).examples()
    files = get_dataset("small", "train", str(encoded.parents[1])).examples()
    for row, file in zip(pixels, files, strict=True):
        assert row["label"] == file["label"]
        assert tf.io.encode_jpeg(row["image"], quality=80) == file["image"]
    # The statistics are of the pixels before they are encoded.
    assert load_statistics(str(raw)) == load_statistics(str(encoded))


def test_the_statistics_are_those_of_the_pixels(prepared):
    folder = prepared()
    assert dataset_of_statistics(str(folder)) == "folder"
    for split in ("train", "validation"):
        rows = get_dataset("photos_test", split, str(folder.parents[1])).examples()
        images = np.stack([row["image"] for row in rows.as_numpy_iterator()])
        document = json.loads((folder / "dataset_statistics.json").read_text())["splits"][split]
        pixels = images.reshape(-1, 3).astype(np.float64)
        assert document["num_images"] == len(images)
        np.testing.assert_allclose(document["mean_rgb"], pixels.mean(axis=0), rtol=1e-14)
        covariance = np.cov(pixels, rowvar=False, bias=True)
        np.testing.assert_allclose(document["covariance_rgb"], covariance, rtol=1e-12)
        if split == "train":
            mean_image = np.load(folder / "mean_image.npy")
            np.testing.assert_array_equal(mean_image, images.mean(axis=0).astype(np.float32))
    assert load_statistics(str(folder)).num_images == NUM_TRAIN


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize("interrupted_at", [1, 8, 9, 37])
def test_interrupted_and_resumed_it_is_the_same_directory(
    prepared, tmp_path, monkeypatch, capsys, encoding, interrupted_at
):
    whole = files_of(prepared(encoding=encoding))
    serialize, calls = records.serialized_example, []

    def interrupt(*arguments):
        calls.append(arguments)
        if len(calls) == interrupted_at:
            raise KeyboardInterrupt
        return serialize(*arguments)

    again = {"encoding": encoding, "output_dir": str(tmp_path / "again")}
    monkeypatch.setattr(records, "serialized_example", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepared(**again)
    assert not (tmp_path / "again/photos_test/1.0.0").exists()

    calls.clear()
    interrupted_before, interrupted_at = interrupted_at, 0
    capsys.readouterr()
    assert files_of(prepared(**again)) == whole
    # The files have 8, 8, 8 and 6 images of train, then 8, 8 and 5 of validation.
    kept = {1: 0, 8: 0, 9: 8, 37: 30}[interrupted_before]
    assert len(calls) == NUM_TRAIN + NUM_VALIDATION - kept
    assert (f"after {kept} images" in capsys.readouterr().out) == (kept > 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_two_images(prepared, monkeypatch, capsys, number):
    serialize, calls = records.serialized_example, []

    def signalled(*arguments):
        calls.append(arguments)
        if len(calls) == 10:
            signal.raise_signal(number)
        return serialize(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(records, "serialized_example", signalled)
        with pytest.raises(KeyboardInterrupt, match="The same command continues"):
            prepared()
    assert len(calls) == 10
    prepared()
    assert "Going on after 8 images" in capsys.readouterr().out


@pytest.mark.parametrize("step", ["write_metadata", "write_statistics"])
def test_interrupted_at_its_end_it_is_the_same_directory(prepared, tmp_path, monkeypatch, step):
    whole = files_of(prepared())
    with monkeypatch.context() as patch:
        original = getattr(writing, step)

        def interrupt(*arguments, **options):
            original(*arguments, **options)
            raise KeyboardInterrupt

        patch.setattr(writing, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(output_dir=str(tmp_path / "again"))
    assert files_of(prepared(output_dir=str(tmp_path / "again"))) == whole


def test_interrupted_while_it_tidies_up_it_is_the_same_directory(prepared, tmp_path, monkeypatch):
    whole = files_of(prepared())

    def interrupt(path, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.dataset_preparation.directory.shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(output_dir=str(tmp_path / "again"))
    assert files_of(prepared(output_dir=str(tmp_path / "again"))) == whole


def test_it_ends_with_a_command_that_has_a_validation(prepared, capsys):
    prepared()
    assert "--validation_split_name" not in capsys.readouterr().out  # it has a split of that name
    prepared(dataset_split_names=["train"], prepared_name="one_split")
    command = capsys.readouterr().out.splitlines()[-1]
    assert "--dataset_split_name='train[:80%]' --validation_split_name='train[80%:]'" in command


def test_a_directory_that_lost_a_file_is_not_called_complete(prepared):
    (lost, *_) = prepared().glob("*-train.tfrecord-*")
    lost.unlink()
    with pytest.raises(ValueError, match=rf"is damaged: {lost.name} is not there.*Remove"):
        prepared()


def test_what_a_full_disk_left_of_the_plan_is_in_nobodys_way(prepared, preparation_config):
    folder = pathlib.Path(preparation_config.output_dir, "photos_test", "1.0.0.incomplete")
    folder.mkdir(parents=True)
    (folder / "preparation.json.incomplete").write_text("")
    assert prepared().exists()


def test_training_on_an_unfinished_directory_says_how_to_finish_it(preparation_config):
    folder = pathlib.Path(preparation_config.output_dir, "photos_test", "1.0.0.incomplete")
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match="is not finished: the prepare_dataset command"):
        get_dataset("photos_test", "train", preparation_config.output_dir)


def test_a_complete_directory_is_left_as_it_is(prepared, monkeypatch, capsys):
    folder = prepared()
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(prepare_dataset, "write_dataset", None)
    capsys.readouterr()
    prepared()
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    output = capsys.readouterr().out
    assert "photos_test is complete already" in output
    assert f"--dataset_name=photos_test --dataset_dir={folder.parents[1]}" in output


@pytest.mark.parametrize("is_finished", [True, False])
def test_other_parameters_are_refused(prepared, monkeypatch, is_finished):
    if is_finished:
        before = files_of(prepared().parent)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(PreparedDirectory, "finish", None)
            with pytest.raises(TypeError):
                prepared()
        before = None
    for values, message in (
        ({"image_size": 40}, "image_size: 36 there, 40 asked for"),
        ({"encoding": "jpeg"}, '"raw" there, "jpeg" asked for\n  jpeg_quality: null there, 95'),
        ({"dataset_split_names": ["train"]}, "splits: .* there, .*train.* asked for"),
    ):
        with pytest.raises(ValueError, match=f"(?s){message}.*another --prepared_name"):
            prepared(**values)
    if before:
        assert files_of(prepared().parent) == before


def test_a_folder_of_someone_else_is_not_touched(prepared, tmp_path):
    folder = tmp_path / "prepared" / "photos_test" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="was not made by prepare_dataset, which overwrites noth"):
        prepared()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_two_at_a_time_do_not_write_into_each_other(preparation_config):
    plan, _ = prepare_dataset.make_plan(preparation_config, "photos_test")
    directory = PreparedDirectory(str(preparation_config.output_dir), plan)
    with (
        directory.being_written(),
        pytest.raises(ValueError, match=r"Another process is writing .*incomplete"),
    ):
        prepare_dataset.prepare(preparation_config)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_the_drivers_train_and_evaluate_on_it(prepared, replaced, photos, encoding):
    folder = prepared(encoding=encoding)
    config = replaced(dataset_name="photos_test", dataset_dir=str(folder.parents[1]))
    train(config)
    result = evaluate(EvaluationConfig(checkpoint_path=config.train_dir, batch_size=5))
    assert result.num_examples == NUM_VALIDATION
    assert result.top_1 > 0.5


def test_pixels_arrive_as_they_are_kept(prepared):
    folder = prepared()
    dataset = get_dataset("photos_test", "train[5:20]", str(folder.parents[1]))
    row = next(iter(dataset.examples()))
    assert (row["image"].dtype, row["image"].shape) == (tf.uint8, (SIZE, SIZE, 3))
    by_turns = [int(row["index"]) for row in dataset.examples()]
    assert by_turns == list(range(15))
    # In several files only `stored_examples` has the order in which slices count.
    for position, row in enumerate(dataset.stored_examples(4), 4):
        assert row["index"] == position
        split = f"train[{5 + position}:{6 + position}]"
        one = next(iter(get_dataset("photos_test", split, str(folder.parents[1])).examples()))
        np.testing.assert_array_equal(row["image"], one["image"])


def test_a_prepared_dataset_can_be_prepared_again(prepared):
    first = prepared()
    second = prepared(
        dataset_name="photos_test", dataset_dir=str(first.parents[1]), prepared_name="copy"
    )
    assert load_statistics(str(first)) == load_statistics(str(second))
    for shard in first.glob("*.tfrecord*"):
        copy = second / shard.name.replace("photos_test", "copy")
        assert copy.read_bytes() == shard.read_bytes()


@pytest.fixture
def damaged(photos, tmp_path):
    """The photos, with two that cannot be decoded; gives the folder and their paths."""
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    dataset = get_dataset("folder", "train", str(root))
    paths = [dataset.describe(index) for index in (9, 20)]
    for path in paths:
        pathlib.Path(path).write_bytes(b"not an image")
    return str(root), paths


def test_a_corrupt_image_is_named_and_leaving_it_out_goes_on_from_there(
    prepared, damaged, monkeypatch, capsys
):
    root, paths = damaged
    with pytest.raises(ValueError, match=r"cannot be decoded: .*--skip_corrupt_images") as info:
        prepared(dataset_dir=root, examples_per_shard=1)
    assert paths[0] in str(info.value)
    folder = prepared(dataset_dir=root, examples_per_shard=1, skip_corrupt_images=True)
    output = capsys.readouterr().out
    assert "Going on after 9 images" in output
    assert all(path in output for path in paths)
    document = json.loads((folder / "preparation.json").read_text())
    assert document["skipped_images"] == {"train": paths, "validation": []}
    # A file may be left empty, which TFDS and slices must not mind.
    builder = tfds.builder("photos_test", data_dir=str(folder.parents[1]))
    assert builder.info.splits["train"].shard_lengths[9] == 0
    assert len(list(builder.as_dataset("train[5:15]"))) == 10
    dataset = get_dataset("photos_test", "train", str(folder.parents[1]))
    assert len(list(dataset.examples())) == dataset.num_examples == NUM_TRAIN - 2
    assert load_statistics(str(folder)).num_images == NUM_TRAIN - 2


def test_a_corrupt_record_of_tfds_is_named_wherever_the_dataset_is(prepared):
    source = prepared(encoding="jpeg", examples_per_shard=NUM_TRAIN)
    (records,) = source.glob("*train*")
    examples = [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(str(records)).as_numpy_iterator()
    ]
    examples[7].features.feature["image"].bytes_list.value[0] = b"not an image"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    options = {
        "dataset_name": "photos_test",
        "dataset_dir": str(source.parents[1]),
        "prepared_name": "again",
    }
    with pytest.raises(ValueError, match=r"decoded: example 0 of photos_test, .*train\[7:8\]"):
        prepared(**options)
    folder = prepared(**options, skip_corrupt_images=True)
    assert load_statistics(str(folder)).num_images == NUM_TRAIN - 1


def test_images_that_are_all_corrupt(prepared, tmp_path):
    (tmp_path / "bad/train/a").mkdir(parents=True)
    (tmp_path / "bad/train/a/1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="No image of folder, split train, can be decoded"):
        prepared(dataset_dir=str(tmp_path / "bad"), skip_corrupt_images=True)


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
def test_what_cannot_be_prepared_is_said(prepared, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        prepared(**values)
    assert not (tmp_path / "prepared").exists()


def test_a_file_in_place_of_the_output(prepared, tmp_path):
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(ValueError, match="file is a file, not a folder"):
            prepared(output_dir=str(tmp_path / path))


def test_raw_pixels_that_do_not_fit_are_refused_before_they_are_written(prepared, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"51 raw images take .* GB are free .*--encoding=jpeg"):
        prepared()


def test_the_command_runs_by_itself_and_says_what_comes_next(photos, tmp_path):
    driver = pathlib.Path(__file__).parents[3] / "prepare_dataset.py"
    source = ["--dataset_name=folder", f"--dataset_dir={photos}"]

    def run(*arguments):
        return subprocess.run(
            [sys.executable, str(driver), *source, *arguments],
            capture_output=True,
            text=True,
            timeout=200,
        )

    right = run(f"--output_dir={tmp_path / 'out'}", "--image_size=32")
    assert right.returncode == 0
    assert "train 30, validation 21 images of 32x32 (jpeg) in 2 files" in right.stdout
    name = f"{pathlib.Path(photos).name}_32"
    assert f"train_image_classifier.py --dataset_name={name} --dataset_dir=" in right.stdout


@pytest.mark.slow
def test_real_photos(real_data_dir, tmp_path):
    config = PreparationConfig(
        dataset_name="tf_flowers", dataset_dir=real_data_dir, output_dir=str(tmp_path)
    )
    statistics = prepare_dataset.prepare(config)
    assert statistics.num_images == 3670
    sliced = get_dataset("tf_flowers", "train[80%:]", real_data_dir).stored_examples()
    prepared = get_dataset("tf_flowers_256", "train[80%:]", str(tmp_path)).stored_examples()
    assert [row["label"] for row in sliced.as_numpy_iterator()] == [
        row["label"] for row in prepared.as_numpy_iterator()
    ]
