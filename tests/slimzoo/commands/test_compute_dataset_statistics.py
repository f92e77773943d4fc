import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from slimzoo.commands.compute_dataset_statistics import StatisticsConfig, compute
from training.dataset_preparation import counting
from training.dataset_preparation.pixel_statistics import load_statistics

SIZE = 16


@pytest.fixture
def pictures(tmp_path):
    """PNGs of the size that is counted, so that NumPy sees the same pixels."""
    generator = np.random.default_rng(0)
    pixels = []
    for number in range(24):
        folder = tmp_path / "pictures" / "train" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        base = generator.uniform(0, 160, 3)
        image = (base + generator.uniform(0, 90, (SIZE, SIZE, 1))).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:02}.png")
        pixels.append(image)
    return str(tmp_path / "pictures"), np.array(pixels, np.float64)


@pytest.fixture
def config(pictures, tmp_path):
    return StatisticsConfig(
        dataset_name="folder",
        dataset_dir=pictures[0],
        image_size=SIZE,
        output_dir=str(tmp_path / "statistics"),
    )


def check(config, pixels):
    statistics = load_statistics(config.output_dir)
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
    mean = np.load(os.path.join(config.output_dir, "mean_image.npy"))
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-6)


def test_they_are_those_of_numpy(config, pictures, capsys):
    compute(config)
    check(config, pictures[1])
    assert not os.path.exists(os.path.join(config.output_dir, "sums.npz"))
    capsys.readouterr()
    compute(config)
    assert "complete already" in capsys.readouterr().out


def test_an_interrupted_pass_goes_on_and_gives_the_same_digits(
    config, pictures, monkeypatch, capsys
):
    read = counting.read_squares

    def interrupted(*arguments, **options):
        for number, row in enumerate(read(*arguments, **options)):
            if number == 9:
                os.kill(os.getpid(), signal.SIGINT)
            yield row

    monkeypatch.setattr(counting, "read_squares", interrupted)
    with pytest.raises(KeyboardInterrupt, match="saved after 10 images"):
        compute(config)
    monkeypatch.setattr(counting, "read_squares", read)
    compute(config)
    assert "Going on after 10 images" in capsys.readouterr().out
    check(config, pictures[1])


def test_an_image_that_cannot_be_decoded_stops_it_and_keeps_what_is_done(config, pictures, capsys):
    folder, pixels = pictures
    broken = os.path.join(folder, "train", "dog", "01.png")
    with open(broken, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(ValueError, match=r"cannot be decoded: .*01\.png.*--skip_corrupt_images"):
        compute(config)
    compute(dataclasses.replace(config, skip_corrupt_images=True))
    assert "Left out" in capsys.readouterr().out
    check(config, np.delete(pixels, 1, axis=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_name": None}, "--dataset_name is not given"),
        ({"output_dir": None}, "--output_dir is not given"),
        ({"image_size": 32}, "other statistics.*\n.*image_size: 16 there, 32 asked for"),
        ({"dataset_split_name": "train[:5]"}, r"split: train there, train\[:5\] asked for"),
    ],
)
def test_mistakes_end_in_a_message(config, changes, message):
    compute(config)
    with pytest.raises(ValueError, match=message):
        compute(dataclasses.replace(config, **changes))


def test_the_command_that_comes_next_has_the_split(config, capsys):
    compute(dataclasses.replace(config, dataset_split_name="train[:50%]"))
    assert "--dataset_split_name='train[:50%]' --dataset_statistics=" in capsys.readouterr().out


def test_statistics_of_one_folder_do_not_answer_for_another(config, pictures, tmp_path):
    compute(config)
    other = shutil.copytree(pictures[0], tmp_path / "other")
    with pytest.raises(ValueError, match=r"other statistics.*\n.*dataset_dir: .*pictures there"):
        compute(dataclasses.replace(config, dataset_dir=str(other)))
