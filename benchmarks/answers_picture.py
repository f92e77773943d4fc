"""Draws what a trained network answers on its validation pictures, like figure 4 of the paper.

    python benchmarks/answers_picture.py --checkpoint_path=runs/alexnet_v2-shapes/best

One picture of each class, up to ten, with the three likeliest classes as bars; needs matplotlib.
"""

from __future__ import annotations

import sys
from typing import Any

from absl import app, flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
import numpy as np
import tensorflow as tf

from drawing import pyplot
from image_datasets import dataset_factory
from preprocessing import decoding
from training.checkpoints.trained_model import load_trained_model

_CHECKPOINT_PATH = flags.DEFINE_string(
    "checkpoint_path", None, "A run's checkpoint.", required=True
)
_OUTPUT = flags.DEFINE_string("output", "answers.png", "Where the picture goes (PNG).")

_COLUMNS, _ROWS, _BARS = 5, 2, 3


def main(arguments: list[str]) -> None:
    """Answers for one picture of each class and draws them."""
    del arguments
    plots = pyplot()
    if plots is None:
        sys.exit(1)
    model = load_trained_model(_CHECKPOINT_PATH.value)
    description = model.description
    dataset = dataset_factory.get_dataset(
        description.dataset_name, str(description.validation_split_name), description.dataset_dir
    )
    figure, axes = plots.subplots(
        2 * _ROWS, _COLUMNS, figsize=(10, 5.4), height_ratios=[4, 1] * _ROWS, dpi=80
    )
    for number, (image, label) in enumerate(_one_of_each_class(dataset)):
        row, column = divmod(number, _COLUMNS)
        size = description.image_size
        logits, _ = model.network_fn(model.preprocessing(image, size, size)[None])
        probabilities = tf.nn.softmax(logits)[0].numpy()
        picture, bars = axes[2 * row, column], axes[2 * row + 1, column]
        picture.imshow(decoding.decode(image).numpy())
        picture.set_title(description.class_names[label], fontsize=10)
        _draw_bars(bars, probabilities, description.class_names, label)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    figure.tight_layout(pad=0.6)
    figure.savefig(_OUTPUT.value)
    print(f"Written: {_OUTPUT.value}")


def _one_of_each_class(dataset: Any) -> list[tuple[bytes, int]]:
    found: dict[int, bytes] = {}
    for example in dataset.examples().as_numpy_iterator():
        found.setdefault(int(example["label"]), example["image"])
        if len(found) == min(dataset.num_classes, _COLUMNS * _ROWS):
            break
    return [(found[label], label) for label in sorted(found)][: _COLUMNS * _ROWS]


def _draw_bars(axis: Any, probabilities: np.ndarray, class_names: list[str], label: int) -> None:
    best = np.argsort(probabilities)[::-1][:_BARS]
    colors = ["#8fb8e8" if number == label else "#c8c8c8" for number in best]
    positions = range(len(best))
    axis.barh(positions, probabilities[best], color=colors, height=0.8)
    axis.set_xlim(0, 1)
    axis.invert_yaxis()
    for position, number in zip(positions, best, strict=True):
        text = f"{class_names[number]} {probabilities[number]:.1%}"
        axis.text(0.02, position, text, va="center", fontsize=8)


if __name__ == "__main__":
    app.run(main)
