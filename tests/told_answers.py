"""Answers of no network, few enough to be counted by hand, and photos that go with them."""

import numpy as np
import tensorflow as tf

from image_datasets.dataset_factory import get_dataset
from training.evaluation_report.answers import AnswersCollector

# The true class of each image, and the probabilities of classes 0 to 2.
ROWS = (
    (0, (0.9, 0.1, 0.0)),
    (0, (0.6, 0.3, 0.1)),
    (0, (0.2, 0.7, 0.1)),
    (1, (0.1, 0.8, 0.1)),
    (1, (0.95, 0.03, 0.02)),
    (1, (0.2, 0.5, 0.3)),
)


def batch_of(rows, first_index=0):
    """What an `Evaluator` gives to those that take its answers."""
    labels = np.array([label for label, _ in rows])
    probabilities = np.array([row for _, row in rows], np.float32)
    best = np.argsort(-probabilities, axis=1, kind="stable")
    true = probabilities[np.arange(len(rows)), labels]
    return {
        "index": np.arange(first_index, first_index + len(rows)),
        "label": labels,
        "probabilities": probabilities,
        "top_classes": best[:, :5].astype(np.int32),
        "loss": -np.log(np.maximum(true, 1e-30)),
    }


def collected(rows, batch_size=4):
    collector = AnswersCollector(len(rows[0][1]))
    for start in range(0, len(rows), batch_size):
        collector.add(batch_of(rows[start : start + batch_size], start))
    return collector.answers()


def answered(pairs, num_classes, confidence=0.8):
    """Answers by pairs of the true and the given class, all of one confidence."""
    rows = []
    for true, given in pairs:
        probabilities = np.full(num_classes, (1 - confidence) / (num_classes - 1))
        probabilities[given] = confidence
        rows.append((true, probabilities))
    return collected(rows)


def write_photos(root, class_names, count, side=20):
    """A dataset of `count` photos of each class, `side` high and wider than that."""
    for number, name in enumerate(class_names):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for photo in range(count):
            pixels = np.full((side, side + 10, 3), 40 * number % 256, np.uint8)
            pixels[: photo + 1] = 255
            (folder / f"{photo}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    return get_dataset("folder", "all", str(root))
