"""Errors of the input name the image, or else the dataset, and are told from those of a step."""

import dataclasses
import pathlib
import shutil

import image_writers
import pytest
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from image_datasets.image_dataset import ImageDataset
from preprocessing.preprocessing_factory import get_preprocessing
from training import input_errors
from training.input_pipeline import evaluation_batches, training_batches

BAD = {
    "missing": "cannot be read: {path}: No such file or directory. Put it back",
    "dangling link": "cannot be read: {path}: No such file or directory. Put it back",
    "folder": "cannot be read: {path}: Is a directory. Put it back",
    "empty": "cannot be decoded: {path}. Replace it",
    "torn": "cannot be decoded: {path}. Replace it",
    "too large": "cannot be decoded: {path}: it has 400,000,000 pixels, more than "
    "--max_image_pixels=89478485. If it is what it should be, give --max_image_pixels=400000000.",
}


# One that cannot be read, one that cannot be decoded, one that may not be.
QUICK = {"missing", "torn", "too large"}


@pytest.fixture(
    params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BAD]
)
def bad(request, photos, tmp_path):
    """A dataset in which one image cannot be used, its path, and what is to be said."""
    root = tmp_path / "bad"
    shutil.copytree(photos, root)
    path = pathlib.Path(root, "train", "green", "3.jpg")
    whole = path.read_bytes()
    path.unlink()
    if request.param == "dangling link":
        path.symlink_to("nowhere.jpg")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "empty":
        path.touch()
    elif request.param == "torn":
        path.write_bytes(whole[:100])
    elif request.param == "too large":
        path.write_bytes(image_writers.png(1, 1, said=(20_000, 20_000)))
    dataset = get_dataset("folder", "train", photos)
    files = [
        (dataset.describe(i).replace(photos, str(root)), int(row["label"]))
        for i, row in enumerate(dataset.examples())
    ]
    names = dataset.class_names
    return (
        ImageDataset.from_files("folder", "train", {"train": files}, names),
        str(path),
        BAD[request.param].format(path=path),
    )


def batches_of(dataset, **options):
    pipeline = get_preprocessing("cuda_convnet", image_side=36)
    return evaluation_batches(dataset, pipeline, batch_size=10, image_size=32, **options)


def test_an_image_is_named_or_left_out_and_counted(bad):
    dataset, path, message = bad
    with pytest.raises(input_errors.InputError) as info:
        list(input_errors.marked(batches_of(dataset)))
    explained = input_errors.explained(info.value, dataset)
    assert isinstance(explained, ValueError)
    assert message in str(explained)
    assert str(explained).endswith("leave out such images with --skip_corrupt_images.")
    assert str(explained) == input_errors.find_unusable_image(dataset)

    kept = list(batches_of(dataset, skip_corrupt_images=True).as_numpy_iterator())
    left_out = [
        dataset.describe(int(index))
        for batch in kept
        for index, weight in zip(batch["index"], batch["weight"], strict=True)
        if not weight
    ]
    assert left_out == [path]
    assert sum(batch["unread"].sum() for batch in kept) == ("cannot be read" in message)


def test_training_names_it_as_evaluation_does(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    dataset = get_dataset("folder", "train", str(tmp_path / "photos"))
    batches = training_batches(
        dataset,
        get_preprocessing("cuda_convnet", is_training=True, image_side=36),
        batch_size=10,
        image_size=32,
    )
    path = tmp_path / "photos" / "train" / "red" / "0.jpg"
    path.unlink()  # after the folder was looked at
    with pytest.raises(input_errors.InputError) as info:
        list(input_errors.marked(batches.take(3)))
    assert f"{path}: No such file" in str(input_errors.explained(info.value, dataset))


def failing(photos, generator):
    """A dataset of one's own, of which the third image cannot be had."""
    encoded = pathlib.Path(photos, "train", "red", "0.jpg").read_bytes()
    specs = {
        "image": tf.TensorSpec([], tf.string),
        "label": tf.TensorSpec([], tf.int64),
        "index": tf.TensorSpec([], tf.int64),
    }

    def rows():
        for index in range(30):
            if index == 20:
                generator()
            yield {"image": encoded, "label": 0, "index": index}

    return ImageDataset(
        name="archive",
        split="train",
        num_examples=30,
        class_names=("a", "b"),
        make_examples=lambda: tf.data.Dataset.from_generator(rows, output_signature=specs),
        describe=lambda index: f"image {index}",
    )


@pytest.mark.parametrize("error", [KeyError("no such member"), OSError(5, "Input/output error")])
def test_an_error_of_ones_own_source_names_the_source(photos, error):
    def fail():
        raise error

    dataset = failing(photos, fail)
    with pytest.raises(input_errors.InputError) as info:
        list(input_errors.marked(batches_of(dataset, skip_corrupt_images=True)))
    message = str(input_errors.explained(info.value, dataset))
    assert message.startswith("Reading archive, split train, failed: ")
    assert type(error).__name__ in message
    assert str(error.args[-1]) in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.DataLossError(None, None, "truncated record at 5"), "truncated record at 5"),
        (
            tf.errors.PermissionDeniedError(None, None, "a.tfrecord; Permission denied"),
            "a.tfrecord",
        ),
        (tf.errors.UnknownError(None, None, "disk; Input/output error"), "Input/output error"),
        (tf.errors.ResourceExhaustedError(None, None, "a; Too many open files"), "Too many open"),
        (tf.errors.InvalidArgumentError(None, None, "of no image"), "of no image"),
        (tf.errors.NotFoundError(None, None, None), "NotFoundError"),
    ],
)
def test_every_other_error_names_the_dataset(photos, error, expected):
    dataset = get_dataset("folder", "train", photos)
    explained = input_errors.explained(raised_by_next(error), dataset)
    assert str(explained).startswith("Reading folder, split train, failed: ")
    assert expected in str(explained)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Collective ops is aborted by: peer is gone"),
        tf.errors.AbortedError(None, None, "aborted"),
        tf.errors.CancelledError(None, None, "cancelled"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
    ],
)
def test_what_is_not_wrong_with_the_input_is_raised_as_it_is(photos, error):
    dataset = get_dataset("folder", "train", photos)
    assert input_errors.explained(raised_by_next(error), dataset) is error


def raised_by_next(error):
    """The InputError of batches that end in an error."""

    def batches():
        yield {}
        raise error

    iterator = input_errors.marked(batches())
    assert next(iterator) == {}
    with pytest.raises(input_errors.InputError) as info:
        next(iterator)
    return info.value


def test_batches_that_end_and_batches_that_cannot_begin():
    assert list(input_errors.marked([{"a": 1}, {"a": 2}])) == [{"a": 1}, {"a": 2}]

    class Broken:
        def __iter__(self):
            raise tf.errors.NotFoundError(None, None, "no iterator")

    with pytest.raises(input_errors.InputError):
        list(input_errors.marked(Broken()))


def test_a_long_search_is_announced(photos, monkeypatch, capsys):
    monkeypatch.setattr(input_errors, "_SECONDS_IN_SILENCE", 0.0)
    dataset = get_dataset("folder", "train", photos)
    assert input_errors.find_unusable_image(dataset) is None
    said = capsys.readouterr().err
    assert said == (
        "An image cannot be decoded. Looking for it among 30 of folder, split train ...\n"
    )


def test_pixels_are_never_unusable(photos):
    dataset = dataclasses.replace(
        get_dataset("folder", "train", photos),
        make_examples=lambda: tf.data.Dataset.from_tensors(
            {"image": tf.zeros([8, 8, 3], tf.uint8), "label": 0, "index": 0}
        ),
    )
    assert input_errors.find_unusable_image(dataset, max_image_pixels=1) is None
