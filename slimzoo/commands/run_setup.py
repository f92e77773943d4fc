"""What is settled before a run starts: its data, what its model is, and its folder."""

from __future__ import annotations

import json
import os
import pathlib

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing import preprocessing_factory
from slimzoo import program
from slimzoo.chosen_preprocessing import Pipeline, choose_pipeline
from slimzoo.configuration import TrainingConfig, parse_options
from training.checkpoints import run_directory
from training.checkpoints.run_directory import ModelDescription
from training.checkpoints.trained_model import check_classes
from training.dataset_preparation.pixel_statistics import MEAN_IMAGE_NAME
from training.learning_rates import decay_types
from training.optimizers import optimizers


def check_names(config: TrainingConfig) -> None:
    """Looks up every name, before a dataset is prepared, which can take long.

    Raises:
      ValueError: naming what exists.
    """
    network = nets_factory.networks[config.model_name]
    preprocessing_factory.PREPROCESSINGS[config.preprocessing_name or network.preprocessing_name]
    optimizers[config.optimizer]
    decay_types[config.learning_rate_decay_type]


def validation_dataset(config: TrainingConfig) -> ImageDataset | None:
    """What to validate on while training; None if there is no such split, or none is wanted."""
    split = config.validation_split_name or dataset_factory.default_validation_split(
        config.dataset_name, config.dataset_dir
    )
    if split is None or split == "none":
        return None
    return dataset_factory.get_dataset(config.dataset_name, split, config.dataset_dir)


def choose_run_pipeline(config: TrainingConfig) -> Pipeline:
    """Chooses by flags; what they do not say is as in the run whose weights are started from."""
    inherited = None
    try:
        path = run_directory.find_checkpoint(config.checkpoint_path)
    except ValueError:
        path = None  # none is given; or it is gone, and the run goes on without it
    source = ModelDescription.of_checkpoint(path) if path else None
    if path and source and source.model_name == config.model_name:
        options = source.resolved_options(os.path.dirname(path))
        inherited = Pipeline(source.preprocessing_name, options)
    own = nets_factory.networks[config.model_name].preprocessing_name
    return choose_pipeline(config, own, inherited)


def describe(
    config: TrainingConfig,
    pipeline: Pipeline,
    dataset: ImageDataset,
    validation_dataset: ImageDataset | None,
) -> ModelDescription:
    """Describes the model that a run will train; ValueError if something does not exist or fit."""
    network = nets_factory.networks[config.model_name]
    class_names = list(dataset.class_names[config.labels_offset :])
    if not class_names:
        raise ValueError(
            f"--labels_offset is {config.labels_offset}, but {dataset.name} has only "
            f"{dataset.num_classes} classes."
        )
    if validation_dataset is not None:
        check_classes(class_names, validation_dataset, config.labels_offset)
    check_classes(class_names, dataset, config.labels_offset)
    image_size = config.train_image_size or network.default_image_size
    pipeline.try_out(image_size)
    return ModelDescription(
        model_name=config.model_name,
        network_options=parse_options("network_options", config.network_options, network.options),
        class_names=class_names,
        preprocessing_name=pipeline.name,
        preprocessing_options=pipeline.portable_options(),
        image_size=image_size,
        labels_offset=config.labels_offset,
        dataset_name=config.dataset_name,
        dataset_dir=_absolute(config.dataset_dir),
        validation_split_name=validation_dataset.split if validation_dataset else None,
        network_module=config.network_module,
        moving_average_decay=config.moving_average_decay,
    )


def _absolute(folder: str | None) -> str | None:
    if folder is None or "://" in folder:  # gs:// and the like, which TFDS takes
        return folder
    return os.path.abspath(os.path.expanduser(folder))


def prepare_train_dir(
    config: TrainingConfig, pipeline: Pipeline, description: ModelDescription
) -> str:
    """Makes the folder of the run; raises if it cannot be written or holds another run."""
    data = config.dataset_name
    if data == "folder":
        data = os.path.basename(os.path.abspath(config.dataset_dir or ""))
    default = os.path.join("runs", f"{config.model_name}-{data}".replace("/", "-"))
    train_dir = os.path.expanduser(config.train_dir or default)
    try:
        os.makedirs(os.path.join(train_dir, "best"), exist_ok=True)
    except OSError as error:
        raise ValueError(f"--train_dir {train_dir} cannot be written: {error.strerror}.") from error
    if not os.access(train_dir, os.W_OK):
        raise ValueError(f"--train_dir {train_dir} cannot be written: Permission denied.")
    earlier = ModelDescription.load(train_dir)
    resumes = earlier is not None and run_directory.latest_checkpoint(train_dir) is not None
    if earlier is not None and resumes:
        _check_same_run(earlier, description, train_dir)
    if mean_image := pipeline.options.get("mean_image"):
        _copy_mean_image(mean_image, train_dir, resumes)
    return train_dir


def _copy_mean_image(source: str, train_dir: str, resumes: bool) -> None:
    """Puts the mean image into the run's folder; one that goes on must have had the same."""
    copy = pathlib.Path(train_dir, MEAN_IMAGE_NAME)
    try:
        content = pathlib.Path(source).read_bytes()
        if not resumes:
            temporary = copy.with_suffix(".incomplete")
            temporary.write_bytes(content)
            temporary.replace(copy)
        elif copy.read_bytes() != content:
            raise ValueError(
                f"{train_dir} holds a run with another mean image than {source}. Give another "
                "--train_dir, or start from its weights with --checkpoint_path."
            )
    except OSError as error:
        raise ValueError(f"The mean image {error.filename}: {error.strerror}.") from error


def changed_flags(config: TrainingConfig, train_dir: str) -> str:
    """Says which flags a run that goes on had before and has not now; empty if it has the same."""
    path = os.path.join(train_dir, "flags.txt")
    if not os.path.exists(path):
        return ""
    before, now = (
        [line for line in text.splitlines() if not line.startswith(("--train_dir", "--checkpoint"))]
        for text in (pathlib.Path(path).read_text(), program.flag_lines(config))
    )
    added = [line for line in now if line not in before]
    removed = [line for line in before if line not in now]
    if not added and not removed:
        return ""
    return (
        f"The flags are not those it ran with: now {' '.join(added) or 'none'}, "
        f"before {' '.join(removed) or 'none'}."
    )


def _check_same_run(earlier: ModelDescription, now: ModelDescription, train_dir: str) -> None:
    # As JSON gives them back, which knows no tuples.
    before, after = vars(earlier), json.loads(json.dumps(vars(now)))
    for name in sorted(before, key=lambda name: name == "class_names"):  # they go with a dataset
        # A folder may be moved, and a run validated on something else from some step on.
        if name not in ("dataset_dir", "validation_split_name") and before[name] != after[name]:
            raise ValueError(
                f"{train_dir} holds a run with {name} {before[name]!r}; now it is {after[name]!r}. "
                "Give another --train_dir, or start from its weights with --checkpoint_path."
            )
