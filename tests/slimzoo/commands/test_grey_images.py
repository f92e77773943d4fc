"""`lenet` through every command: photos in colour and grey files become grey alike."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from image_datasets.dataset_factory import get_dataset
from nets.nets_factory import get_network_fn
from slimzoo.commands.classify_images import ClassificationConfig, classify
from slimzoo.commands.convert_weights import ConversionConfig, convert
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from slimzoo.configuration import TrainingConfig
from training.checkpoints.trained_model import load_trained_model
from training.input_pipeline import evaluation_batches


def encoded(pixels, file_format="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Files of 28x28 pixels: bright at the top or at the bottom, grey or in colour, PNG or JPEG."""
    root = tmp_path_factory.mktemp("digits")
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("validation", 12)):
        for name, rows in (("top", slice(0, 14)), ("bottom", slice(14, 28))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 90, (28, 28), dtype=np.uint8)
                pixels[rows] += 120
                if number % 2:
                    pixels = np.stack([pixels, pixels // 2, pixels], axis=-1)
                kind = ("PNG", "JPEG")[number // 2 % 2]
                folder.joinpath(f"{number}.{kind.lower()}").write_bytes(encoded(pixels, kind))
    return root


@pytest.fixture(scope="module")
def config(digits, tmp_path_factory):
    return TrainingConfig(
        dataset_name="folder",
        dataset_dir=str(digits),
        train_dir=str(tmp_path_factory.mktemp("lenet") / "run"),
        model_name="lenet",
        batch_size=12,
        max_number_of_steps=12,
        learning_rate=0.01,
    )


@pytest.fixture(scope="module")
def trained(config):
    train(config)
    return config.train_dir


@pytest.mark.slow
def test_it_trains_is_evaluated_and_answers_from_files_of_either_kind(trained, digits, tmp_path):
    evaluation = evaluate(EvaluationConfig(checkpoint_path=trained, batch_size=8))
    assert evaluation.top_1 == 1
    description = load_trained_model(trained).description
    assert description.preprocessing_name == "lenet"
    assert "use_grayscale" not in description.preprocessing_options  # which lenet has by itself

    served = tf.saved_model.load(export(ExportConfig(checkpoint_path=trained)))
    files = sorted((digits / "validation" / "top").iterdir())
    contents = tf.constant([path.read_bytes() for path in files])
    by_bytes = served.signatures["serving_bytes"](image_bytes=contents)
    assert set(by_bytes["top_classes"][:, 0].numpy()) == {b"top"}
    pixels = np.stack([np.asarray(Image.open(path).convert("L")) for path in files])[..., None]
    by_pixels = served.signatures["serving_default"](images=tf.constant(pixels))
    # Pillow's luma may be one level off.
    np.testing.assert_allclose(by_pixels["probabilities"], by_bytes["probabilities"], atol=0.02)

    output = str(tmp_path / "answers.csv")
    images = [str(path) for path in files]
    classify(ClassificationConfig(checkpoint_path=trained, images=images, output=output))
    with open(output) as file:
        rows = list(csv.DictReader(file))
    assert [row["class_1"] for row in rows] == ["top"] * len(files)


def mnist_examples(count):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    return {"image": images, "label": np.arange(count) % 10}


@pytest.fixture
def mnist_dir(tmp_path):
    """A `mnist` as TFDS stores it, of few digits."""
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    splits = {"train": 20, "test": 10}
    tfds.dataset_builders.store_as_tfds_dataset(
        "mnist",
        tfds.core.Version("3.0.1"),
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(mnist_examples(count))
            for split, count in splits.items()
        },
        data_dir=tmp_path / "data",
    )
    return str(tmp_path / "data")


@pytest.mark.slow
def test_tfds_mnist_trains_and_is_evaluated(mnist_dir, tmp_path):
    train_dir = str(tmp_path / "run")
    train(
        TrainingConfig(
            dataset_name="mnist",
            dataset_dir=mnist_dir,
            train_dir=train_dir,
            model_name="lenet",
            batch_size=10,
            max_number_of_steps=2,
        )
    )
    evaluation = evaluate(EvaluationConfig(checkpoint_path=train_dir, batch_size=5))
    assert evaluation.num_examples == 10
    dataset = get_dataset("mnist", "test", mnist_dir)
    pipeline = load_trained_model(train_dir).preprocessing
    (batch,) = evaluation_batches(dataset, pipeline, batch_size=10, image_size=28)
    seen = {image.tobytes() for image in batch["image"].numpy()}
    assert seen == {image.tobytes() for image in mnist_examples(10)["image"]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(
            ({"preprocessing_name": name}, f"name is {name}, which is for RGB.* cifarnet or lenet")
            for name in ("vgg", "resnet")
        ),
        ({"preprocessing_options": ["use_grayscale=false"]}, "takes grey images. Leave it out"),
        (
            {"model_name": "cifarnet", "preprocessing_options": ["use_grayscale=true"]},
            "takes RGB images. Leave it out",
        ),
    ],
)
def test_what_would_give_other_channels_is_refused(config, tmp_path, values, message):
    config = dataclasses.replace(config, train_dir=str(tmp_path / "run"), **values)
    with pytest.raises(ValueError, match=message):
        train(config)
    assert not (tmp_path / "run" / "model.json").exists()


def test_another_pipeline_is_told_that_images_are_grey(config, tmp_path):
    train(
        dataclasses.replace(
            config,
            train_dir=str(tmp_path / "run"),
            preprocessing_name="cifarnet",
            max_number_of_steps=1,
            validation_split_name="none",
        )
    )
    loaded = load_trained_model(str(tmp_path / "run"))
    assert loaded.description.preprocessing_options["use_grayscale"] is True
    assert loaded.preprocessing.channels == 1
    model_json = tmp_path / "run" / "model.json"
    document = json.loads(model_json.read_text())
    del document["preprocessing_options"]["use_grayscale"]
    model_json.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="cifarnet gives images of 3 channels and lenet takes 1"):
        load_trained_model(str(tmp_path / "run"))


def test_weights_of_elsewhere_are_converted_with_grey_images(digits, tmp_path):
    network_fn = get_network_fn("lenet", 2)
    network_fn.model.save_weights(tmp_path / "lenet.weights.h5")
    conversion = ConversionConfig(
        checkpoint_path=str(tmp_path / "lenet.weights.h5"),
        model_name="lenet",
        dataset_name="folder",
        dataset_dir=str(digits),
        output_dir=str(tmp_path / "converted"),
    )
    with pytest.raises(ValueError, match="--bgr_to_rgb is given, but lenet takes grey images"):
        convert(dataclasses.replace(conversion, bgr_to_rgb=True))
    convert(conversion)
    loaded = load_trained_model(str(tmp_path / "converted"))
    digit = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    images = loaded.preprocessing(digit, 28, 28)[None]
    np.testing.assert_allclose(loaded.network_fn(images)[0], network_fn(images)[0], atol=1e-5)
