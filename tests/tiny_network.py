"""A network and photos small enough that a test can train on them, and what is trained on them."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory
from slimzoo.configuration import TrainingConfig

CLASSES = ("blue", "green", "red")
NUM_TRAIN = 30
NUM_VALIDATION = 21


def tiny(images, num_classes=1000, dropout_keep_prob=0.5):
    """Two convolutions and a fully connected layer with dropout in between."""
    net = layers.Conv2D(8, 7, 4, activation="relu", name="conv1")(images / 64)
    net = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool1")(net)
    end_points = {"tiny/conv1": net}
    net = layers.Conv2D(16, 1, activation="relu", name="fc2")(net)
    end_points["tiny/fc2"] = net
    if num_classes:
        net = layers.Dropout(dropout_keep_prob, name="dropout2")(net)
        net = layers.Conv2D(num_classes, 1, name="fc3")(net)
        net = layers.SpatialSqueeze(name="squeeze")(net)
        end_points["tiny/fc3"] = net
    return net, end_points


def register_tiny():
    """For one process; importing this does not, so that tests of every network do not find it."""
    nets_factory.register_network(
        first_layer="conv1",
        head="fc3",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="alexnet",
    )(tiny)


def encode_photo(label: int, number: int) -> bytes:
    """A noisy JPEG in which the channel of the class is brightest, of a size of its own."""
    generator = np.random.default_rng([label, number])
    height, width = generator.integers(40, 60, size=2)
    pixels = generator.uniform(0, 130, size=(height, width, 3))
    pixels[..., 2 - label] += 60
    return tf.io.encode_jpeg(pixels.astype(np.uint8), quality=90).numpy()


@pytest.fixture(scope="session", autouse=True)
def tiny_is_registered():
    if "tiny" not in nets_factory.networks:  # two folders have this fixture
        register_tiny()


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder with train and validation photos of three classes."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", NUM_TRAIN), ("validation", NUM_VALIDATION)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count // len(CLASSES)):
                offset = 0 if split == "train" else 1000
                path = folder / f"{number}.jpg"
                path.write_bytes(encode_photo(label, number + offset))
    return str(root)


@pytest.fixture
def config(photos, tmp_path):
    """Trains `tiny` for six steps; `dataclasses.replace` makes others of it."""
    return TrainingConfig(
        dataset_name="folder",
        dataset_dir=photos,
        train_dir=str(tmp_path / "run"),
        model_name="tiny",
        batch_size=10,
        max_number_of_steps=6,
        log_every_n_steps=1,
        learning_rate=0.05,
    )


@pytest.fixture
def replaced(config):
    """`replaced(name=value)`: the configuration with other values."""
    return lambda **values: dataclasses.replace(config, **values)
