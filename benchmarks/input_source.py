"""The flags that say what a benchmark of the input reads, and synthetic photos if it is nothing."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from absl import flags

import run_flags  # noqa: F401 (defines --seconds)

_DATASET_NAME = flags.DEFINE_string(
    "dataset_name", None, "What to read, as the drivers take it. Default: synthetic photos."
)
_DATASET_DIR = flags.DEFINE_string("dataset_dir", None, "Where it is, as the drivers take it.")
_SPLIT = flags.DEFINE_string("dataset_split_name", "train", "Of the dataset, in TFDS syntax.")
_CACHE = flags.DEFINE_bool("cache", False, "Keep the images in memory, as the drivers' --cache.")
_NUM_PHOTOS = flags.DEFINE_integer("num_photos", 512, "Synthetic photos to make.", lower_bound=4)
_MODEL = flags.DEFINE_string("model_name", "alexnet", "Whose preprocessing and step are measured.")
_PRECISION = flags.DEFINE_string("precision", "float32", "Of the step: float32 or bfloat16.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=1)

# Long enough for TensorFlow to have found out how many threads a stream needs.
flags.FLAGS.set_default("seconds", 2.0)


@contextlib.contextmanager
def selected_source() -> Iterator[dict[str, Any]]:
    """Gives the fields of `input_stages.Source` that the flags ask for."""
    with tempfile.TemporaryDirectory() as folder:
        if not _DATASET_NAME.value:
            # By another program: this one measures, and TensorFlow would stay in it.
            program = pathlib.Path(__file__).with_name("photos.py")
            command = [sys.executable, str(program), folder, str(_NUM_PHOTOS.value)]
            subprocess.run(command, check=True)
        yield {
            "dataset_name": _DATASET_NAME.value or "folder",
            "dataset_dir": _DATASET_DIR.value if _DATASET_NAME.value else folder,
            "split": _SPLIT.value if _DATASET_NAME.value else "train",
            "cache": _CACHE.value,
            "model": _MODEL.value,
            "precision": _PRECISION.value,
            "batch_size": _BATCH_SIZE.value,
        }


def describe_source(source: dict[str, Any]) -> dict[str, Any]:
    """What a report says of it."""
    return {
        **{key: source[key] for key in ("model", "precision", "batch_size", "cache")},
        "images": _DATASET_NAME.value or f"{_NUM_PHOTOS.value} synthetic JPEGs of 500x375",
    }
