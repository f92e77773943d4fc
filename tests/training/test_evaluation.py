import csv
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import NUM_VALIDATION

from image_datasets.dataset_factory import get_dataset
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.ensemble import Member
from training.evaluation import EvaluationResult, Evaluator, Predictions, why_left_out


def lively(network_fn, seed=0):
    """Its weights larger than initial ones, so that answers differ."""
    generator = np.random.default_rng(seed)
    for variable in network_fn.variables.values():
        variable.assign(generator.normal(scale=0.3, size=variable.shape))
    return network_fn


@pytest.fixture(scope="module")
def network_fn():
    return lively(nets_factory.get_network_fn("tiny", num_classes=3))


@pytest.fixture(scope="module")
def dataset(photos):
    return get_dataset("folder", "validation", photos)


def noise_dataset(count, num_classes):
    """Images of 32x32 pixels that are nothing, with each label in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, 32, 32, 3), dtype=np.uint8)
    return ImageDataset(
        name="noise",
        split="all",
        num_examples=count,
        class_names=tuple("abcdefghij"[:num_classes]),
        make_examples=lambda: tf.data.Dataset.from_tensor_slices(
            {"image": pixels, "label": np.arange(count) % num_classes, "index": np.arange(count)}
        ),
        describe=str,
    )


def evaluator(network_fn, dataset, strategy=None, **options):
    return Evaluator(
        network_fn,
        get_preprocessing("cuda_convnet", image_side=36),
        dataset,
        strategy or devices.make_strategy(),
        image_size=32,
        **{"batch_size": 8, **options},
    )


def expected(network_fn, dataset, num_crops=1):
    """The answers, one image at a time, in NumPy."""
    preprocessing = get_preprocessing("cuda_convnet", image_side=36)
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


@pytest.fixture(scope="module")
def answers(network_fn, dataset):
    """Those of NumPy, by the number of crops."""
    return {num_crops: expected(network_fn, dataset, num_crops) for num_crops in (1, 10)}


@pytest.mark.parametrize("num_crops", [1, 10])
@pytest.mark.parametrize(("batch_size", "replicas"), [(4, 1), (4, 2), (64, 1), (64, 2)])
def test_averages_are_those_of_numpy_whatever_the_batch(
    network_fn, dataset, answers, num_crops, batch_size, replicas
):
    probabilities, labels = answers[num_crops]
    strategy = devices.make_strategy(num_replicas=replicas)
    if replicas > 1:
        with strategy.scope():
            network_fn = lively(nets_factory.get_network_fn("tiny", num_classes=3))
    result = evaluator(
        network_fn, dataset, strategy, batch_size=batch_size, num_crops=num_crops
    ).run()
    right = probabilities.argmax(axis=1) == labels
    assert result.num_examples == NUM_VALIDATION
    assert 0 < right.mean() < 1
    assert result.top_1 == pytest.approx(right.mean())
    assert (result.k, result.top_k) == (3, 1.0)  # of three classes, the right one is among five
    loss = -np.log(probabilities[np.arange(NUM_VALIDATION), labels]).mean()
    assert result.loss == pytest.approx(loss, rel=1e-5)


def test_top_five_of_nine_are_those_of_numpy():
    dataset = noise_dataset(40, 9)
    network_fn = lively(nets_factory.get_network_fn("tiny", num_classes=9), seed=1)
    probabilities, labels = expected(network_fn, dataset)
    ranks = (probabilities > probabilities[np.arange(40), labels][:, np.newaxis]).sum(axis=1)
    assert 0 < (ranks < 1).sum() < (ranks < 5).sum() < 40
    result = evaluator(network_fn, dataset, batch_size=16).run()
    assert (result.k, result.top_1, result.top_k) == (5, (ranks < 1).mean(), (ranks < 5).mean())


class Answers:
    """Takes the answers for each example, where `Predictions` writes them."""

    def __init__(self):
        self.probabilities = []

    def add(self, batch):
        self.probabilities += list(batch["probabilities"])


@pytest.mark.parametrize("num_crops", [1, 10])
def test_several_networks_answer_with_the_mean_of_their_softmax_outputs(num_crops):
    """Two of one architecture and one of another, which sees crops of another size."""
    dataset = noise_dataset(12, 10)
    members = []
    for seed, (name, pixels) in enumerate((("tiny", 32), ("tiny", 32), ("cifarnet_11pct", 24))):
        network_fn = nets_factory.get_network_fn(name, num_classes=10)
        generator = np.random.default_rng(seed)
        for variable in network_fn.variables.values():
            variable.assign_add(generator.normal(scale=0.03, size=variable.shape))
        pipeline = get_preprocessing("cuda_convnet", image_side=36 if pixels == 32 else 32)
        members.append(Member(network_fn, pipeline, pixels))

    def answer(first, *others):
        together = Answers()
        Evaluator(
            first.network_fn,
            first.preprocessing,
            dataset,
            devices.make_strategy(),
            batch_size=5,
            image_size=first.image_size,
            num_crops=num_crops,
            others=others,
        ).run(together)
        return np.array(together.probabilities)

    alone = [answer(member) for member in members]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(answer(*members), np.mean(alone, axis=0), atol=1e-6)


def test_predictions_name_every_file_once(network_fn, dataset, answers, tmp_path):
    path = tmp_path / "predictions.csv"
    with Predictions(str(path), dataset, ["blue", "green", "red"]) as predictions:
        evaluator(network_fn, dataset).run(predictions)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    probabilities, labels = answers[1]
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
        return evaluator(network_fn, dataset, **options).run(predictions)

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


def test_it_stops_after_so_many_batches_and_evaluates_again_and_again(network_fn, dataset):
    one = evaluator(network_fn, dataset, max_num_batches=2)
    first = one.run()
    assert first.num_examples == 16
    assert one.run() == first


def test_labels_below_the_offset_are_skipped(network_fn, dataset):
    result = evaluator(network_fn, dataset, labels_offset=1).run()
    assert (result.num_examples, result.num_skipped) == (14, 7)
    assert result.majority == 0.5  # of two classes
    assert len(result.skipped) == 7  # nor is one of those named that fill up the last batch
    with pytest.raises(ValueError, match="No image of folder, split validation, could be counted"):
        evaluator(network_fn, dataset, labels_offset=3).run()


def test_a_batch_that_replicas_cannot_share_is_refused(network_fn, dataset):
    with pytest.raises(ValueError, match="--batch_size is 5, which 2 replicas"):
        evaluator(network_fn, dataset, devices.make_strategy(num_replicas=2), batch_size=5)


def test_a_result_is_shown_and_written_with_the_number_of_classes_that_count():
    result = EvaluationResult(1234, 2, loss=1.5, top_1=0.25, top_k=0.75, k=3)
    assert str(result) == "top-1 25.00%, top-3 75.00%, loss 1.5000, 1,234 images"
    assert result.as_json() == {
        **{"num_examples": 1234, "num_skipped": 2, "loss": 1.5, "top_1": 0.25, "top_3": 0.75},
        "num_unread": 0,
    }
    alone = EvaluationResult(1, 0, loss=0.0, top_1=1.0, top_k=1.0, k=1)
    assert str(alone) == "top-1 100.00%, loss 0.0000, 1 images"


def test_images_are_called_corrupt_only_where_such_are_skipped():
    assert why_left_out(True).startswith("not decoded, or of a class")
    assert why_left_out(True, 1300, 1200).startswith("1,200 not read, the others not")
    assert why_left_out(True, 1300, 1300) == "not read"
    assert why_left_out(False).startswith("of a class")
