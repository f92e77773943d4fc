"""A network as a run left it: with its weights, its classes and its preprocessing."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys

from image_datasets.image_dataset import ImageDataset
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from preprocessing.pipeline import Preprocessing
from training import run_directory
from training.run_directory import ModelDescription, RestoreReport


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A network with weights from a checkpoint, and what it was trained with."""

    network_fn: NetworkFn
    description: ModelDescription
    preprocessing: Preprocessing
    report: RestoreReport


def load_trained_model(
    checkpoint_path: str | None,
    *,
    use_moving_average: bool = True,
    network_module: list[str] | None = None,
    dtype_policy: str = "float32",
) -> TrainedModel:
    """Rebuilds the network of a run and restores its weights.

    Args:
      checkpoint_path: a train_dir or a checkpoint in one.
      use_moving_average: takes the weights' moving averages if the run kept them.
      network_module: modules to import besides those that the run imported.
      dtype_policy: of Keras; `bfloat16` casts the weights once, `mixed_bfloat16` at each call.

    Raises:
      ValueError: if there is no such checkpoint or it does not fit its model.json.
    """
    prefix = run_directory.find_checkpoint(checkpoint_path)
    description = ModelDescription.load(os.path.dirname(prefix))
    if description is None:
        raise ValueError(
            f"There is no model.json beside {prefix}, which says what network it is. Training "
            "writes it; copy it along with the checkpoint."
        )
    import_modules([*description.network_module, *(network_module or [])])
    network_fn = description.build(dtype_policy=dtype_policy)
    report = run_directory.restore_network(
        network_fn, prefix, use_moving_average=use_moving_average
    )
    preprocessing = preprocessing_factory.get_preprocessing(
        description.preprocessing_name, is_training=False, **description.preprocessing_options
    )
    return TrainedModel(network_fn, description, preprocessing, report)


def check_classes(class_names: list[str], dataset: ImageDataset, labels_offset: int) -> None:
    """Raises ValueError if a dataset's classes are not those that a network answers with."""
    there = list(dataset.class_names[labels_offset:])
    if len(there) < 2:
        raise ValueError(f"{dataset.name} has {_class_list(there)}; a classifier needs two.")
    if there != list(class_names):
        raise ValueError(
            f"The network answers with {_class_list(class_names)}, but {dataset.name} has "
            f"{_class_list(there)}."
        )


def import_modules(names: list[str]) -> None:
    """Imports modules that register networks or preprocessings of a user's own."""
    for name in names:
        if os.getcwd() not in sys.path:
            # An installed command does not look where it was started. Last, to hide no package.
            sys.path.append(os.getcwd())
        try:
            importlib.import_module(name)
        except Exception as error:  # a module of the user's own can raise anything
            raise ValueError(
                f"--network_module {name} cannot be imported: {type(error).__name__}: {error}"
            ) from error


def _class_list(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} classes ({shown})"
