"""The code that a model card gives prepares photos as the pipelines do."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing.alexnet_preprocessing import AlexNetPreprocessing
from preprocessing.preparation import preparation
from preprocessing.preprocessing_factory import PREPROCESSINGS, get_preprocessing

SIZES = {"cifar": 32, "cuda_convnet": 24}


@pytest.mark.parametrize("shape", [(300, 401), (330, 280), (100, 120), (20, 30)])
@pytest.mark.parametrize("name", list(PREPROCESSINGS))
def test_it_gives_the_pixels_of_the_host_half(name, shape):
    preprocessing = get_preprocessing(name)
    size = SIZES.get(name, 227 if name == "caffe" else 224)
    coarse = np.random.default_rng(0).uniform(0, 255, (6, 8, 3))
    smooth = tf.image.resize(coarse, shape, "bicubic")  # a photo's neighbours are alike
    pixels = np.clip(np.round(smooth), 0, 255).astype(np.uint8)
    png = tf.io.encode_png(pixels).numpy()
    names = {}
    exec(preparation(preprocessing, size).python, names)
    prepared = names["prepare"](io.BytesIO(png))
    expected = preprocessing.host(png, size, size)["image"].numpy()
    assert prepared.dtype == np.uint8  # rounded, where the pipeline does not round
    assert prepared.shape == expected.shape
    assert np.mean(np.abs(prepared.astype(int) - expected)) < 1.5


def test_it_turns_photos_where_the_pipeline_does():
    preprocessing = get_preprocessing("alexnet", respect_exif=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = io.BytesIO()
    ramp = np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    Image.fromarray(ramp).save(photo, "PNG", exif=exif)
    turned, as_stored = (
        preparation(preprocessing.replace(respect_exif=turn), 224) for turn in (True, False)
    )
    assert "EXIF" in turned.words
    assert "EXIF" not in as_stored.words
    expected = preprocessing.host(photo.getvalue(), 224, 224)["image"].numpy().astype(int)
    differences = []
    for code in (turned, as_stored):
        names = {}
        exec(code.python, names)
        differences.append(np.abs(names["prepare"](photo) - expected).max())
    assert differences[0] <= 2
    assert differences[1] > 100


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_of_16_bits_have_the_same_light(channels):
    ramp = np.linspace(0, 65535, 224 * 224 * channels).reshape(224, 224, channels)
    png = tf.io.encode_png(ramp.astype(np.uint16)).numpy()
    preprocessing = get_preprocessing("vgg", resize_side_min=224)
    names = {}
    exec(preparation(preprocessing, 224).python, names)
    expected = preprocessing.host(png, 224, 224)["image"].numpy()
    assert np.abs(names["prepare"](io.BytesIO(png)) - expected).max() <= 1


@dataclasses.dataclass(frozen=True)
class Derived(AlexNetPreprocessing):
    """A user's own, which may do otherwise."""


def test_of_a_pipeline_that_is_derived_from_one_nothing_is_claimed():
    assert preparation(AlexNetPreprocessing(is_training=False), 224).python
    derived = preparation(Derived(is_training=False), 224)
    assert derived.python is None
    assert derived.words.endswith(".Derived does it.")
