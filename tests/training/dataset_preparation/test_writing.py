import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tiny_network import NUM_TRAIN, NUM_VALIDATION, encode_photo

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation import writing
from training.dataset_preparation.directory import PreparedDirectory
from training.dataset_preparation.pixel_statistics import dataset_of_statistics, load_statistics
from training.dataset_preparation.squares import read_squares
from training.dataset_preparation.writing import write_lost_shards


def data_dir_of(directory):
    return str(directory.folder.parents[1])


def test_tfds_alone_reads_the_squares_of_each_split_in_their_order(finished, photos):
    builder = tfds.builder("photos_test", data_dir=data_dir_of(finished))
    for split, count in (("train", NUM_TRAIN), ("validation", NUM_VALIDATION)):
        source = get_dataset("folder", split, photos)
        assert builder.info.splits[split].num_examples == count
        assert builder.info.splits[split].shard_lengths[0] == 8
        rows = tfds.as_numpy(
            builder.as_dataset(split, read_config=tfds.ReadConfig(interleave_cycle_length=1))
        )
        squares = read_squares(source, 0, 36, dataset_dir=photos, skip_corrupt_images=False)
        for row, square in zip(rows, squares, strict=True):
            np.testing.assert_array_equal(row["image"], square["image"])
            assert row["label"] == square["label"]
    assert builder.info.features["label"].names == list(source.class_names)


@pytest.fixture(scope="module")
def jpegs(write, tmp_path_factory):
    return write(tmp_path_factory.mktemp("jpegs"), encoding="jpeg", jpeg_quality=80)


def test_jpeg_records_hold_the_raw_pixels_encoded(finished, jpegs):
    pixels = get_dataset("photos_test", "train", data_dir_of(finished)).examples()
    files = get_dataset("photos_test", "train", data_dir_of(jpegs)).examples()
    for row, file in zip(pixels, files, strict=True):
        assert row["label"] == file["label"]
        assert tf.io.encode_jpeg(row["image"], quality=80) == file["image"]
    # The statistics are of the pixels before they are encoded.
    assert load_statistics(str(finished.folder)) == load_statistics(str(jpegs.folder))


def test_the_statistics_are_those_of_the_pixels(finished):
    folder = finished.folder
    assert dataset_of_statistics(str(folder)) == "folder"
    for split in ("train", "validation"):
        rows = get_dataset("photos_test", split, data_dir_of(finished)).examples()
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


@pytest.mark.parametrize(
    ("encoding", "interrupted_at"),
    [("raw", 1), ("raw", 8), ("raw", 9), ("raw", 37), ("jpeg", 8), ("jpeg", 37)],
)
def test_interrupted_and_resumed_it_is_the_same_directory(
    write, finished, jpegs, files_of, tmp_path, capsys, encoding, interrupted_at
):
    whole = {"raw": finished, "jpeg": jpegs}[encoding]
    options = {"encoding": encoding, "jpeg_quality": whole.plan.jpeg_quality}
    images = []

    def stop_at(number):
        def stop_requested():
            images.append(number)
            return len(images) == number

        return stop_requested

    with pytest.raises(KeyboardInterrupt, match="continues after the last complete file"):
        write(tmp_path, **options, stop_requested=stop_at(interrupted_at))
    assert len(images) == interrupted_at
    assert not (tmp_path / "photos_test/1.0.0").exists()

    images.clear()
    capsys.readouterr()
    resumed = write(tmp_path, **options, stop_requested=stop_at(None))
    assert files_of(resumed.folder) == files_of(whole.folder)
    # The files have 8, 8, 8 and 6 images of train, then 8, 8 and 5 of validation.
    kept = {1: 0, 8: 0, 9: 8, 37: 30}[interrupted_at]
    assert len(images) == NUM_TRAIN + NUM_VALIDATION - kept
    assert (f"after {kept} images" in capsys.readouterr().out) == (kept > 0)


@pytest.mark.parametrize("step", ["write_metadata", "write_statistics"])
def test_interrupted_at_its_end_it_is_the_same_directory(
    write, finished, files_of, tmp_path, monkeypatch, step
):
    original = getattr(writing, step)

    def interrupt(*arguments, **options):
        original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path)
    assert files_of(write(tmp_path).folder) == files_of(finished.folder)


def test_a_prepared_dataset_can_be_prepared_again(write, finished, tmp_path):
    second = write(
        tmp_path, source=("photos_test", data_dir_of(finished)), prepared_name="copy"
    ).folder
    assert load_statistics(str(finished.folder)) == load_statistics(str(second))
    for shard in finished.folder.glob("*.tfrecord*"):
        copy = second / shard.name.replace("photos_test", "copy")
        assert copy.read_bytes() == shard.read_bytes()


def test_a_corrupt_image_is_named_and_leaving_it_out_goes_on_from_there(
    write, photos, tmp_path, capsys
):
    root = str(shutil.copytree(photos, tmp_path / "damaged"))
    dataset = get_dataset("folder", "train", root)
    paths = [dataset.describe(index) for index in (9, 20)]
    for path in paths:
        pathlib.Path(path).write_bytes(b"not an image")
    options = {"source": ("folder", root), "examples_per_shard": 1}
    with pytest.raises(ValueError, match=r"cannot be decoded: .*--skip_corrupt_images") as info:
        write(tmp_path, **options)
    assert paths[0] in str(info.value)
    directory = write(tmp_path, **options, skip_corrupt_images=True)
    output = capsys.readouterr().out
    assert "Going on after 9 images" in output
    assert all(f"Left out, as it cannot be decoded: {path}" in output for path in paths)
    assert directory.skipped_images() == {"train": paths, "validation": []}
    # A file may be left empty, which TFDS and slices must not mind.
    builder = tfds.builder("photos_test", data_dir=str(tmp_path))
    assert builder.info.splits["train"].shard_lengths[9] == 0
    assert len(list(builder.as_dataset("train[5:15]"))) == 10
    dataset = get_dataset("photos_test", "train", str(tmp_path))
    assert len(list(dataset.examples())) == dataset.num_examples == NUM_TRAIN - 2
    assert load_statistics(str(directory.folder)).num_images == NUM_TRAIN - 2


def test_a_corrupt_record_of_tfds_is_named_wherever_the_dataset_is(write, tmp_path):
    one_split = {"split_names": ["train"], "examples_per_shard": NUM_TRAIN}
    source = write(tmp_path / "source", encoding="jpeg", jpeg_quality=80, **one_split)
    (records,) = source.folder.glob("*train*")
    examples = [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(str(records)).as_numpy_iterator()
    ]
    examples[7].features.feature["image"].bytes_list.value[0] = b"not an image"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    (source.folder / "checksums.tsv").unlink()  # of what was there before
    options = {"source": ("photos_test", str(tmp_path / "source")), **one_split}
    with pytest.raises(ValueError, match=r"decoded: example 0 of photos_test, .*train\[7:8\]"):
        write(tmp_path / "again", **options)
    again = write(tmp_path / "again", **options, skip_corrupt_images=True)
    assert load_statistics(str(again.folder)).num_images == NUM_TRAIN - 1


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_lost_file_alone_is_written_again_as_it_was(
    write, photos, finished, files_of, tmp_path, number
):
    directory = PreparedDirectory(str(tmp_path), finished.plan)
    shutil.copytree(finished.folder, directory.folder)
    name = f"photos_test-train.tfrecord-0000{number}-of-00004"
    before = files_of(directory.folder)
    (directory.folder / name).unlink()
    datasets = {split: get_dataset("folder", split, photos) for split in finished.plan.splits}
    assert write_lost_shards(directory, datasets, dataset_dir=photos) == [name]
    assert files_of(directory.folder) == before
    assert write_lost_shards(directory, datasets, dataset_dir=photos) == []


def test_a_lost_file_of_other_images_is_not_written(write, photos, finished, tmp_path):
    directory = PreparedDirectory(str(tmp_path / "prepared"), finished.plan)
    shutil.copytree(finished.folder, directory.folder)
    lost = directory.folder / "photos_test-train.tfrecord-00001-of-00004"
    lost.unlink()
    root = str(shutil.copytree(photos, tmp_path / "changed"))
    datasets = {split: get_dataset("folder", split, root) for split in finished.plan.splits}
    path = pathlib.Path(datasets["train"].describe(9))
    path.write_bytes(encode_photo(2, 5_000))
    with pytest.raises(ValueError, match="cannot be written again as it was: the images"):
        write_lost_shards(directory, datasets, dataset_dir=root)
    assert not lost.exists()


def test_a_damaged_file_of_the_source_is_named(write, finished, tmp_path):
    source = shutil.copytree(finished.folder, tmp_path / "photos_test" / "1.0.0")
    shard = source / "photos_test-train.tfrecord-00001-of-00004"
    contents = bytearray(shard.read_bytes())
    contents[len(contents) // 2] ^= 1
    shard.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"photos_test' is damaged: .*{shard.name} cannot be re"):
        write(tmp_path, source=("photos_test", str(tmp_path)), prepared_name="copy")


def test_images_that_are_all_corrupt(write, tmp_path):
    (tmp_path / "bad/train/a").mkdir(parents=True)
    (tmp_path / "bad/train/a/1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="No image of folder, split train, can be decoded"):
        write(
            tmp_path,
            source=("folder", str(tmp_path / "bad")),
            split_names=["train"],
            skip_corrupt_images=True,
        )


def test_raw_pixels_that_do_not_fit_are_refused_before_they_are_written(
    write, tmp_path, monkeypatch
):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"51 raw images take .* GB are free .*--encoding=jpeg"):
        write(tmp_path)
    assert not list(tmp_path.rglob("*.tfrecord*"))
