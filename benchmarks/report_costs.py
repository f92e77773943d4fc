"""What the report of an evaluation costs: seconds, memory and bytes.

    python benchmarks/report_costs.py --num_images=10000 --num_classes=1000

The answers are drawn at random: a class is mostly right, else mostly taken for one of seven others.
All images are one photo of noise, 500x375 pixels.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator

from absl import flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
import numpy as np
import tensorflow as tf

from image_datasets.image_dataset import ImageDataset
from reports import finish, format_table, run
from training.evaluation_report.answers import AnswersCollector
from training.evaluation_report.page import Evaluation
from training.evaluation_report.report import write_report
from training.evaluation_report.run_record import RunRecord

_NUM_IMAGES = flags.DEFINE_integer("num_images", 10_000, "Images.", lower_bound=1)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 1000, "Classes.", lower_bound=2)

_BATCH_SIZE, _GROUP_SIZE = 100, 8


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    num_images, num_classes = _NUM_IMAGES.value, _NUM_CLASSES.value
    collector = AnswersCollector(num_classes)
    collecting = 0.0
    for batch in _batches(num_images, num_classes):
        start = time.perf_counter()
        collector.add(batch)
        collecting += time.perf_counter() - start
    evaluation = Evaluation(
        model_name="network",
        dataset=_dataset(num_images, num_classes),
        class_names=[f"class {number}" for number in range(num_classes)],
        runs=[RunRecord("checkpoint")],
        loss=1.0,
        remarks=[],
        command="",
        versions={},
    )
    peak_before, start = _peak_mib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_report(folder, evaluation, collector.answers())
        writing = time.perf_counter() - start
        sizes = {os.path.basename(path): os.path.getsize(path) for path in paths}
    figures = {
        "num_images": num_images,
        "num_classes": num_classes,
        "seconds_of_collecting": round(collecting, 3),
        "seconds_of_writing": round(writing, 3),
        "peak_memory_mib_before": round(peak_before),
        "peak_memory_mib_after": round(_peak_mib()),
        "bytes": sizes,
    }
    table = format_table(["report", "figure"], list(figures.items()))
    finish(figures, [table])


def _batches(num_images: int, num_classes: int) -> Iterator[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    group = generator.permutation(num_classes) // _GROUP_SIZE
    for first in range(0, num_images, _BATCH_SIZE):
        index = np.arange(first, min(first + _BATCH_SIZE, num_images))
        label = index % num_classes
        logits = generator.normal(0, 1.7, (len(index), num_classes)).astype(np.float32)
        logits += 3 * (group == group[label][:, np.newaxis])
        logits[np.arange(len(index)), label] += generator.normal(5, 3, len(index))
        exponentials = np.exp(logits)
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        yield {
            "index": index,
            "label": label,
            "probabilities": probabilities,
            "top_classes": np.argsort(-probabilities, axis=1)[:, :5],
            "loss": -np.log(probabilities[np.arange(len(index)), label]),
        }


def _dataset(num_images: int, num_classes: int) -> ImageDataset:
    noise = np.random.default_rng(1).integers(0, 256, (375, 500, 3), np.uint8)
    photo = tf.io.encode_jpeg(noise)
    return ImageDataset(
        name="noise",
        split="all",
        num_examples=num_images,
        class_names=tuple(f"class {number}" for number in range(num_classes)),
        make_examples=lambda: tf.data.Dataset.range(num_images).map(
            lambda index: {"image": photo, "label": index % num_classes, "index": index}
        ),
        describe=lambda index: f"example {index} of noise, split all",
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    run(main)
