"""A network and photos small enough that a test can train on them, and what is trained on them."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory
from slimzoo.commands.train_image_classifier import train
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
        convolutions_end="pool1",
        head="fc3",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cuda_convnet",
    )(tiny)


def get_narrow_network_fn(name, *arguments, **options):
    """`get_network_fn` with an eighth of the channels, for what does not depend on the width.

    Its last layers are whole.
    """
    heads = nets_factory.networks[name].heads

    def narrowed(layer_class):
        def make(filters, *arguments, name, **options):
            few = filters if name.replace(".", "/") in heads else max(8, filters // 8)
            return layer_class(few, *arguments, name=name, **options)

        return make

    with pytest.MonkeyPatch.context() as patch:
        for kind in ("Conv2D", "LocallyConnected2D"):
            patch.setattr(layers, kind, narrowed(getattr(layers, kind)))
        return nets_factory.get_network_fn(name, *arguments, **options)


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


def tiny_config(photos, train_dir, **values):
    """Six steps of `tiny`, two epochs, on random crops and flips.

    They are not validated: that takes as long as the training, and few tests are about it.
    """
    defaults = TrainingConfig(
        dataset_name="folder",
        dataset_dir=photos,
        train_dir=str(train_dir),
        validation_split_name="none",
        model_name="tiny",
        preprocessing_options=["image_side=36"],
        batch_size=10,
        max_number_of_steps=6,
        log_every_n_steps=1,
        learning_rate=0.05,
    )
    return dataclasses.replace(defaults, **values)


@pytest.fixture
def config(photos, tmp_path):
    """Trains `tiny` in a folder of this test's own."""
    return tiny_config(photos, tmp_path / "run")


@pytest.fixture
def replaced(config):
    """`replaced(name=value)`: the configuration with other values."""
    return lambda **values: dataclasses.replace(config, **values)


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory):
    """A run of six steps, validated and saved at the third and the last. Not to be changed."""
    if "tiny" not in nets_factory.networks:
        register_tiny()
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(tiny_config(photos, folder, validation_split_name=None))
    return folder


@pytest.fixture
def run(trained, config):
    """The configuration of a run that has been trained, in a folder of this test's own."""
    shutil.copytree(trained, config.train_dir)
    return dataclasses.replace(config, validation_split_name=None)


def metrics(folder, kind="train"):
    """What a run has written of its training or its validations, one after the other."""
    lines = pathlib.Path(folder, "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def train_until_interrupted(config):
    """Trains until a SIGINT, which comes after some steps, whatever the loop is at."""

    def interrupt_after_some_steps():
        log = pathlib.Path(config.train_dir, "metrics.jsonl")
        while not log.exists() or log.read_text().count("\n") < 4:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_after_some_steps, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="Interrupted and saved at step"):
        train(config)
    thread.join()


def saved_values(checkpoint):
    """What a checkpoint, or the last in a folder, holds, counters and optimizer included."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
    }


def saved_weights(checkpoint):
    """The weights that a checkpoint, or the last in a folder, holds, by TF-Slim's names."""
    return {
        name.removeprefix("network/").partition("/.ATTRIBUTES")[0].replace(".S", "/"): value
        for name, value in saved_values(checkpoint).items()
        if name.startswith("network/")
    }


def assert_equal_values(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
