"""Training from end to end on records that `prepare_dataset` has made, as a contender."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import sys
import tempfile
from typing import Any

import input_stages  # sets TensorFlow's environment, so first

# isort: split
import photos
from slimzoo.commands.prepare_dataset import PreparationConfig, prepare
from workloads import Workload


def end_to_end(num_photos: int, **arguments: Any) -> Workload:
    """As `input_stages.end_to_end`, on synthetic photos that it prepares before it begins.

    Raw pixels that stay in memory are what a host can hand over fastest.

    Args:
      num_photos: how many.
      **arguments: of `input_stages.end_to_end`, but for those that say what is read.
    """
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    photos.write_photos(folder, num_photos)
    config = PreparationConfig(
        dataset_name="folder",
        dataset_dir=folder,
        output_dir=f"{folder}/prepared",
        prepared_name="photos",
        encoding="raw",
    )
    with contextlib.redirect_stdout(sys.stderr):  # where a report is not
        prepare(config)
    return input_stages.end_to_end(
        dataset_name=config.prepared_name,
        dataset_dir=config.output_dir,
        split="train",
        cache=True,
        **arguments,
    )
