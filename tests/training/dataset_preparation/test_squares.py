import dataclasses
import pathlib
import shutil

import image_writers
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import NUM_TRAIN

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation.squares import describe, read_squares

SIZE = 36


def area_resized(image, height, width):
    """The image resized by area in NumPy: every new pixel is the mean of what it covers."""

    def weights(old, new):
        edges = np.arange(new + 1) * old / new
        pixels = np.arange(old)
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.maximum(covered, 0) * new / old

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    return np.einsum("yr,rcx,zc->yzx", rows, image.astype(np.float64), columns)


@pytest.fixture
def dataset(photos):
    return get_dataset("folder", "train", photos)


def squares(dataset, start=0, **options):
    options = {"dataset_dir": None, "skip_corrupt_images": False, **options}
    return list(read_squares(dataset, start, SIZE, **options))


def test_it_is_what_the_paper_did_to_each_photo(dataset):
    rows = squares(dataset)
    assert len(rows) == NUM_TRAIN
    for index, row in enumerate(rows):
        path = dataset.describe(index)
        assert dataset.class_names[row["label"]] in path.split("/")
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
        pixels = row["image"].reshape(-1, 3).astype(np.int64)
        np.testing.assert_array_equal(row["products"], pixels.T @ pixels)
        assert "encoded" not in row


def test_from_a_position_on_they_are_those_of_the_whole_pass_and_encoded_if_asked(dataset):
    whole = squares(dataset)
    rest = squares(dataset, start=25, jpeg_quality=80)
    assert len(rest) == 5
    for row, expected in zip(rest, whole[25:], strict=True):
        np.testing.assert_array_equal(row["image"], expected["image"])
        assert row["label"] == expected["label"]
        assert row["encoded"] == tf.io.encode_jpeg(expected["image"], quality=80).numpy()


@pytest.fixture
def damaged(photos, tmp_path):
    """The photos, with one that cannot be decoded; gives the folder and its path."""
    root = shutil.copytree(photos, tmp_path / "damaged")
    path = get_dataset("folder", "train", str(root)).describe(9)
    pathlib.Path(path).write_bytes(b"not an image")
    return str(root), path


def test_an_image_that_cannot_be_decoded_is_named_where_it_comes(damaged):
    folder, path = damaged
    dataset = get_dataset("folder", "train", folder)
    assert describe(dataset, 9, folder) == path
    rows = read_squares(dataset, 0, SIZE, dataset_dir=folder, skip_corrupt_images=False)
    for _ in range(9):
        next(rows)
    with pytest.raises(ValueError, match=r"cannot be decoded: .*--skip_corrupt_images") as error:
        next(rows)
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "cannot be read: {path}: No such file or directory. Put it back, or run the"),
        ("folder", "cannot be read: {path}: Is a directory. Put it back, or run the same"),
        ("too large", "cannot be decoded: {path}. (it has 400,000,000 pixels, more than --max"),
        ("torn", "cannot be decoded: {path}. ("),
    ],
)
def test_it_is_said_what_is_wrong_and_left_out_it_changes_no_other(damaged, kind, message):
    folder, path = damaged
    dataset = get_dataset("folder", "train", folder)  # before the file goes
    pathlib.Path(path).unlink()
    if kind == "folder":
        pathlib.Path(path).mkdir()
    elif kind == "too large":
        pathlib.Path(path).write_bytes(image_writers.png(1, 1, said=(20_000, 20_000)))
    elif kind == "torn":
        pathlib.Path(path).write_bytes(b"\xff\xd8\xff\xe0")
    rows = read_squares(dataset, 8, SIZE, dataset_dir=folder, skip_corrupt_images=False)
    next(rows)
    with pytest.raises(ValueError, match="what is done is kept") as info:
        next(rows)
    assert message.format(path=path) in str(info.value)
    kept = squares(dataset, 8, skip_corrupt_images=True)
    assert [bool(row["weight"]) for row in kept[:3]] == [True, False, True]
    assert [bool(row["unread"]) for row in kept[:3]] == [False, "read" in message, False]
    assert len(kept) == NUM_TRAIN - 8


def test_a_source_that_fails_is_named_with_how_far_it_came(dataset):
    def fail_at(index):
        return tf.numpy_function(fail_at_the_fifth, [index], tf.int64)

    def fail_at_the_fifth(index):
        if index == 5:
            raise OSError("the archive is torn")
        return index

    failing = dataclasses.replace(
        dataset,
        make_stored_examples=lambda start: dataset.stored_examples(start).map(
            lambda example: {**example, "label": fail_at(example["index"])}
        ),
    )
    message = r"Reading folder, split train, failed after 5 images: .*the archive is torn"
    with pytest.raises(ValueError, match=message):
        squares(failing)


def test_skipped_it_has_the_weight_0_and_the_others_are_as_they_were(damaged, dataset):
    folder, _ = damaged
    kept = squares(
        get_dataset("folder", "train", folder), dataset_dir=folder, skip_corrupt_images=True
    )
    assert [row["weight"] for row in kept] == [0.0 if i == 9 else 1.0 for i in range(NUM_TRAIN)]
    for number, row in enumerate(squares(dataset)):
        if number != 9:
            np.testing.assert_array_equal(kept[number]["image"], row["image"])


@pytest.mark.parametrize("split", ["train[10:20]", "validation+train[5:]", "Training"])
def test_an_image_of_a_part_of_a_split_is_described(photos, split):
    dataset = get_dataset("folder", split, photos)
    for position in (0, dataset.num_examples - 1):
        assert describe(dataset, position, photos) == dataset.describe(position)
