"""The entry of each command: a checkout's scripts and the installed commands call these.

Everything that belongs to the process is done here, before TensorFlow is imported: signals are
attended to, this project's packages are found, and the environment is set up.
"""

from __future__ import annotations

import importlib
import sys

from slimzoo import interruption


def train_image_classifier() -> None:
    """Trains a network on a dataset."""
    _run("train_image_classifier")


def eval_image_classifier() -> None:
    """Measures the accuracy of a checkpoint on a dataset."""
    _run("eval_image_classifier")


def export_saved_model() -> None:
    """Exports a checkpoint as a SavedModel that takes image files."""
    _run("export_saved_model")


def classify_images() -> None:
    """Says what a trained network sees on images without labels."""
    _run("classify_images")


def prepare_dataset() -> None:
    """Writes a dataset once in the size that training crops from."""
    _run("prepare_dataset")


def compute_dataset_statistics() -> None:
    """Computes the mean, the mean image and the color statistics of a dataset."""
    _run("compute_dataset_statistics")


def convert_weights() -> None:
    """Turns weights of other frameworks into a checkpoint."""
    _run("convert_weights")


def _run(name: str) -> None:
    try:
        interruption.raise_on_signals()
        # Imports take seconds, in which a user may think better of it.
        from slimzoo import environment, own_packages, steady_output

        steady_output.install()
        environment.set_up()
        own_packages.load()
        command = importlib.import_module(f"slimzoo.commands.{name}")
        started = sys.modules["__main__"]
        started.__doc__ = started.__doc__ or command.__doc__  # what absl's --help begins with
        _leave_if_interrupted()
    except ImportError as error:
        _leave_if_interrupted()
        print(f"\nERROR: {error}", file=sys.stderr)
        sys.exit(1)
    except BaseException:  # a library that is broken off in its import can raise anything
        _leave_if_interrupted()
        raise
    command.main()


def _leave_if_interrupted() -> None:
    """Ends the process at once: half-imported libraries would print what they miss."""
    if interrupted := interruption.raised_interruption():
        interruption.leave(interrupted)
