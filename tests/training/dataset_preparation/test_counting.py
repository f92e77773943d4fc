"""A pass over a dataset that computes its statistics: interrupted, killed, among other files."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from image_datasets.dataset_factory import get_dataset
from training.dataset_preparation.counting import check_nothing_else_is_there, compute_statistics
from training.dataset_preparation.pixel_statistics import load_statistics

SIZE = 16
PLAN = {"split": "train", "image_size": SIZE, "dataset_name": "folder"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """PNGs of the size that is counted, so that NumPy sees the same pixels."""
    generator = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("pictures")
    pixels = []
    for number in range(24):
        folder = root / "train" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        base = generator.uniform(0, 160, 3)
        image = (base + generator.uniform(0, 90, (SIZE, SIZE, 1))).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:02}.png")
        pixels.append(image)
    return str(root), np.array(pixels, np.float64)


@pytest.fixture
def count(pictures, tmp_path):
    """`count(name=value)` computes the statistics in a folder of this test's own."""

    def run(root=pictures[0], **options):
        dataset = get_dataset("folder", "train", root)
        return compute_statistics(dataset, str(tmp_path), PLAN, dataset_dir=root, **options)

    return run


def check(folder, pixels):
    statistics = load_statistics(str(folder))
    values = pixels.reshape(-1, 3)
    assert statistics.num_images == len(pixels)
    np.testing.assert_allclose(statistics.mean_rgb, values.mean(axis=0), rtol=1e-12)
    covariance = np.cov(values.T, bias=True)
    np.testing.assert_allclose(statistics.covariance_rgb, covariance, rtol=1e-9)
    components, deviations = (
        np.array(statistics.color_components),
        np.array(statistics.color_deviations),
    )
    np.testing.assert_allclose(
        components @ np.diag(deviations**2) @ components.T, covariance, rtol=1e-8
    )
    mean = np.load(os.path.join(folder, "mean_image.npy"))
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)


def test_they_are_those_of_numpy_and_nothing_else_is_left(count, pictures, tmp_path):
    assert count() == load_statistics(str(tmp_path))
    check(tmp_path, pictures[1])
    assert {path.name for path in tmp_path.iterdir()} == {
        "dataset_statistics.json",
        "mean_image.npy",
    }


def test_an_interrupted_pass_goes_on_and_gives_the_same_digits(count, pictures, tmp_path, capsys):
    images = []

    def stop_requested():
        images.append(None)
        return len(images) == 10

    with pytest.raises(KeyboardInterrupt, match="saved after 10 images"):
        count(stop_requested=stop_requested)
    check_nothing_else_is_there(str(tmp_path), PLAN)
    count(stop_requested=stop_requested)
    assert len(images) == 24
    assert "Going on after 10 images" in capsys.readouterr().out
    check(tmp_path, pictures[1])


def test_a_killed_pass_has_saved_its_sums(count, tmp_path):
    """Every 10 images: of a process that is killed at the 23rd, 20 are kept."""
    saved = []

    def note_what_is_saved():
        if os.path.exists(tmp_path / "sums.npz"):
            with np.load(tmp_path / "sums.npz") as arrays:
                saved.append(int(arrays["position"]))
        return False

    count(stop_requested=note_what_is_saved, save_every=10)
    assert saved == [10] * 10 + [20] * 5


def test_an_image_that_cannot_be_decoded_stops_it_and_keeps_what_is_done(
    count, pictures, tmp_path_factory, tmp_path, capsys
):
    folder, pixels = pictures
    damaged = shutil.copytree(folder, tmp_path_factory.mktemp("damaged") / "pictures")
    (damaged / "train" / "dog" / "01.png").write_bytes(b"no picture")
    dataset = get_dataset("folder", "train", str(damaged))
    (position,) = [i for i in range(24) if dataset.describe(i).endswith("01.png")]
    with pytest.raises(ValueError, match=r"cannot be decoded: .*01\.png.*--skip_corrupt_images"):
        count(str(damaged))
    count(str(damaged), skip_corrupt_images=True)
    printed = capsys.readouterr().out
    assert f"Going on after {position} images" in printed
    assert "01.png" in printed.partition("Left out, as it cannot be decoded: ")[2]
    check(tmp_path, np.delete(pixels, 1, axis=0))


@pytest.mark.parametrize("is_finished", [True, False])
def test_statistics_of_something_else_are_not_overwritten(count, tmp_path, is_finished):
    if is_finished:
        count()
    else:
        with pytest.raises(KeyboardInterrupt):
            count(stop_requested=lambda: True)
    check_nothing_else_is_there(str(tmp_path), PLAN)
    with pytest.raises(ValueError, match=r"other statistics.*\n  image_size: 16 there, 32 asked"):
        check_nothing_else_is_there(str(tmp_path), {**PLAN, "image_size": 32})


@pytest.mark.parametrize("name", ["dataset_statistics.json", "sums.npz"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, name):
    pathlib.Path(tmp_path, name).write_bytes(b"{")
    with pytest.raises(ValueError, match=rf"{name} cannot be read: it is damaged\. Remove it"):
        check_nothing_else_is_there(str(tmp_path), PLAN)
