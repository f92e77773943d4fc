import csv
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.evaluation import Evaluator, Predictions

NUM_VALIDATION = 21


@pytest.fixture(scope="module")
def network_fn():
    network_fn = nets_factory.get_network_fn("tiny", num_classes=3)
    generator = np.random.default_rng(0)
    for variable in network_fn.variables.values():  # larger than initial, so that answers differ
        variable.assign(generator.normal(scale=0.7, size=variable.shape))
    return network_fn


@pytest.fixture
def dataset(photos):
    return get_dataset("folder", "validation", photos)


def expected(network_fn, dataset, num_crops=1):
    """The answers, one image at a time, in NumPy."""
    preprocessing = get_preprocessing("alexnet")
    probabilities, labels = [], []
    for example in dataset.examples():
        batch = preprocessing.host(example["image"], 32, 32, num_crops=num_crops)
        crops = tf.reshape(batch["image"], [-1, 32, 32, 3])
        logits, _ = network_fn(preprocessing.device({"image": crops}))
        exponentials = np.exp(logits.numpy().astype(np.float64))
        softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
        probabilities.append(softmax.mean(axis=0))
        labels.append(int(example["label"]))
    return np.array(probabilities), np.array(labels)


@pytest.mark.parametrize("num_crops", [1, 10])
@pytest.mark.parametrize(("batch_size", "replicas"), [(4, 1), (4, 2), (64, 1), (64, 2)])
def test_averages_are_those_of_numpy_whatever_the_batch(
    network_fn, dataset, num_crops, batch_size, replicas
):
    probabilities, labels = expected(network_fn, dataset, num_crops)
    strategy = devices.make_strategy(num_replicas=replicas)
    if replicas > 1:
        variables = {name: v.numpy() for name, v in network_fn.variables.items()}
        with strategy.scope():
            network_fn = nets_factory.get_network_fn("tiny", num_classes=3)
        for name, value in variables.items():
            network_fn.variables[name].assign(value)
    evaluator = Evaluator(
        network_fn,
        get_preprocessing("alexnet"),
        dataset,
        strategy,
        batch_size=batch_size,
        image_size=32,
        num_crops=num_crops,
    )
    result = evaluator.run()
    right = probabilities.argmax(axis=1) == labels
    assert result.num_examples == NUM_VALIDATION
    assert 0 < right.mean() < 1
    assert result.top_1 == pytest.approx(right.mean())
    assert (result.k, result.top_k) == (3, 1.0)  # of three classes, the right one is among five
    loss = -np.log(probabilities[np.arange(NUM_VALIDATION), labels]).mean()
    assert result.loss == pytest.approx(loss, rel=1e-5)


def test_top_five_of_nine_are_those_of_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, size=(40, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(40) % 9
    dataset = ImageDataset(
        name="noise",
        split="all",
        num_examples=40,
        class_names=tuple("abcdefghi"),
        make_examples=lambda: tf.data.Dataset.from_tensor_slices(
            {"image": pixels, "label": labels, "index": np.arange(40)}
        ),
        describe=str,
    )
    network_fn = nets_factory.get_network_fn("tiny", num_classes=9)
    generator = np.random.default_rng(1)
    for variable in network_fn.variables.values():
        variable.assign(generator.normal(scale=0.7, size=variable.shape))
    preprocessing = get_preprocessing("alexnet")
    evaluator = Evaluator(
        network_fn,
        preprocessing,
        dataset,
        devices.make_strategy(),
        batch_size=16,
        image_size=32,
    )
    probabilities, _ = expected(network_fn, dataset)
    ranks = (probabilities > probabilities[np.arange(40), labels][:, np.newaxis]).sum(axis=1)
    assert 0 < (ranks < 1).sum() < (ranks < 5).sum() < 40
    result = evaluator.run()
    assert (result.k, result.top_1, result.top_k) == (5, (ranks < 1).mean(), (ranks < 5).mean())


def test_predictions_name_every_file_once(network_fn, dataset, tmp_path):
    path = tmp_path / "predictions.csv"
    predictions = Predictions(str(path), dataset, ["blue", "green", "red"])
    evaluator = Evaluator(
        network_fn,
        get_preprocessing("alexnet"),
        dataset,
        devices.make_strategy(),
        batch_size=8,
        image_size=32,
    )
    with predictions:
        evaluator.run(predictions)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    probabilities, labels = expected(network_fn, dataset)
    names = np.array(["blue", "green", "red"])
    assert [row["label"] for row in rows] == list(names[labels])
    assert [row["prediction"] for row in rows] == list(names[probabilities.argmax(axis=1)])
    assert len({row["example"] for row in rows}) == NUM_VALIDATION
    assert all(pathlib.Path(row["example"]).parent.name == row["label"] for row in rows)
    given = [[float(row[f"probability:{name}"]) for name in names] for row in rows]
    np.testing.assert_allclose(given, probabilities, atol=1e-6)


def test_corrupt_images_are_named_or_counted(network_fn, photos, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    torn = root / "validation" / "red" / "2.jpg"
    torn.write_bytes(b"not an image")
    dataset = get_dataset("folder", "validation", str(root))

    def run(predictions=None, **options):
        return Evaluator(
            network_fn,
            get_preprocessing("alexnet"),
            dataset,
            devices.make_strategy(),
            batch_size=8,
            image_size=32,
            **options,
        ).run(predictions)

    with pytest.raises(ValueError, match=r"cannot be decoded: .*red.2\.jpg"):
        run()
    path = tmp_path / "predictions.csv"
    path.write_text("kept")
    with (
        pytest.raises(ValueError, match="cannot be decoded"),
        Predictions(str(path), dataset, ["blue", "green", "red"]) as predictions,
    ):
        run(predictions=predictions)
    assert [(file.name, file.read_text()) for file in tmp_path.glob("predictions*")] == [
        ("predictions.csv", "kept")
    ]
    result = run(skip_corrupt_images=True)
    assert (result.num_examples, result.num_skipped) == (NUM_VALIDATION - 1, 1)
