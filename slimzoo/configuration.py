"""The flags that commands share, and those of training, which are many.

Those of the other commands are in their modules in `commands`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from nets.nets_factory import networks
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from slimzoo.flags import (
    check_fields,
    check_fraction,
    check_not_negative,
    check_positive,
    flag,
    settings,
)
from slimzoo_registry import unknown_name_message
from training.checkpoints.saving import ON_DAMAGE
from training.devices import STRATEGIES
from training.hosts.cluster import ClusterSettings
from training.learning_rates import LearningRateSettings, decay_types
from training.optimizers import OptimizerSettings, optimizers
from training.train_step import DTYPE_POLICIES
from training.training_loop import LoopSettings

PRECISIONS = tuple(DTYPE_POLICIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """What every command has."""

    import_modules: list[str] = flag(
        [],
        "Python modules to import first. They register networks, preprocessings, datasets or "
        "optimizers of your own, for example my_package.my_network.",
        old_name="network_module",
    )

    def __post_init__(self) -> None:
        """Checks what the fields say of themselves; see `check_fields`."""
        check_fields(self)

    def modules_flag(self) -> str:
        """The flag that commands on what this one makes need too; empty without own modules."""
        modules = shlex.quote(",".join(self.import_modules))
        return f" --import_modules={modules}" if self.import_modules else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreprocessingConfig(CommandConfig):
    """What feeds a network, where it is not the network's own pipeline as it comes."""

    preprocessing_name: str | None = flag(
        None,
        "Name of the preprocessing pipeline, for example alexnet or caffe. Default: the "
        "network's own. Training that starts from a run of the same network takes that run's "
        "pipeline and options instead.",
    )
    preprocessing_options: list[str] = flag(
        [],
        "Options of the preprocessing as name=value, separated by commas, for example "
        "resize_side=288. A value with commas needs double quotes, and in a shell the whole "
        "flag single quotes: '--preprocessing_options=\"mean_rgb=(104,117,123)\"'.",
    )
    dataset_statistics: str | None = flag(
        None,
        "Folder or JSON file from compute_dataset_statistics or prepare_dataset. The "
        "preprocessing takes what it has options for (mean, mean image, deviations, color "
        "noise). Default: as in the run started from, else the pipeline's own (ImageNet or "
        "CIFAR-10).",
    )


def max_image_pixels_flag() -> Any:
    """The field that commands have which decode images."""
    return flag(
        DEFAULT_MAX_IMAGE_PIXELS,
        "An image that has more pixels (height times width) by its header counts as one that "
        "cannot be decoded, so that a small file cannot take all memory. The default is Pillow's, "
        "about a quarter of a gigabyte of RGB; 0 sets no limit.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig(CommandConfig):
    """Where images come from."""

    dataset_dir: str | None = flag(
        None,
        "Folder of images for `folder`, which has no default; for other datasets the data_dir"
        " of TFDS, by default ~/tensorflow_datasets. In evaluation the default is the folder "
        "that the run was trained from, if it is the same dataset.",
    )
    skip_corrupt_images: bool = flag(
        False, "Leave out and count images that cannot be read or decoded, instead of stopping."
    )
    max_image_pixels: int = max_image_pixels_flag()

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_not_negative(max_image_pixels=self.max_image_pixels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig(SourceConfig):
    """How many images are taken at a time, and how many devices share them."""

    batch_size: int = flag(128, "Images in a batch, over all replicas together.")
    distribution_strategy: str = flag(
        "mirrored",
        "`mirrored`: all devices of this host; `multi_worker_mirrored`: several hosts, "
        "described by worker_hosts and task_index, or by the environment variable TF_CONFIG.",
        STRATEGIES,
    )
    worker_hosts: list[str] = flag(
        [],
        "HOST:PORT of each host that works together, separated by commas, in the same order on "
        "all of them. The first one writes checkpoints. Default: as TF_CONFIG says.",
    )
    task_index: int | None = flag(
        None, "Which of worker_hosts this process is, counted from 0. Default: as TF_CONFIG says."
    )
    cluster_timeout_secs: float = flag(
        ClusterSettings.cluster_timeout_secs,
        "Seconds to wait for the other hosts at the start, at most 3600; then the process ends "
        "with exit status 1.",
    )
    num_replicas: int | None = flag(
        None,
        "Devices of this host to use. Default: every GPU, or one CPU device. Without a GPU the "
        "CPU is divided into so many logical devices.",
    )

    def __post_init__(self) -> None:
        """Checks what no later stage can check as clearly."""
        super().__post_init__()
        check_positive(batch_size=self.batch_size, num_replicas=self.num_replicas)
        settings(ClusterSettings, self)


# Of flags that a network can have values of its own for.
_NETWORK_DEFAULTS: dict[str, Any] = {
    "learning_rate": OptimizerSettings.learning_rate,
    "weight_decay": OptimizerSettings.weight_decay,
    "learning_rate_factors": [],
    "weight_decay_factors": [],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(InputConfig, PreprocessingConfig):
    """What `train_image_classifier` does; defaults are those of the libraries' settings."""

    dataset_name: str = flag(
        "shapes",
        "Dataset to train on: a TFDS name (cifar10, imagenette/320px-v2), `folder` for a "
        "folder with one subfolder of images per class, or `shapes`, a small synthetic "
        "dataset that is generated on first use, without a download.",
    )
    train_dir: str | None = flag(
        None,
        "Where checkpoints, metrics and summaries go; a run found there is resumed. "
        "Default: runs/MODEL-DATASET in the current folder, for `folder` runs/MODEL-FOLDER.",
    )
    dataset_split_name: str = flag(
        "train", "The split to train on, in TFDS syntax: train, train[:80%], train+validation."
    )
    validation_split_name: str | None = flag(
        None,
        "The split to validate on while training. Default: that for validation, else test, if the "
        "dataset has one; `none` turns validation off.",
    )
    cache: bool = flag(
        False,
        "Keep training and validation images in memory after the first epoch, still encoded; all "
        "of them must fit. Useful for slow disks and for `raw` prepared datasets (192 KiB for an "
        "image of 256x256).",
    )
    labels_offset: int = flag(
        0,
        "Number that is subtracted from every label. Images whose label becomes negative are "
        "not counted, and their classes are removed. For example, 1 removes class 0 where "
        "that is a background class.",
    )
    model_name: str = flag("alexnet_v2", f"The network to train: {', '.join(networks)}.")
    network_options: list[str] = flag(
        [], "Options of the network as name=value, for example dropout_keep_prob=0.7."
    )
    augment: bool = flag(
        True,
        "Random crops, flips and colors while training; --noaugment trains on the "
        "evaluation's view of each image.",
    )
    train_image_size: int | None = flag(
        None, "Height and width given to the network, in pixels. Default: the network's own."
    )
    max_number_of_steps: int | None = flag(
        None,
        "Total number of training steps (batches), including those before a resume. It replaces "
        "num_epochs. Default: num_epochs decides.",
    )
    num_epochs: float = flag(90.0, "Passes over the training split; the 2012 paper made about 90.")
    optimizer: str = flag(
        OptimizerSettings.optimizer, f"How weights are updated: {', '.join(optimizers)}."
    )
    momentum: float = flag(
        OptimizerSettings.momentum,
        "Momentum coefficient of the optimizer `momentum`, at least 0 and below 1. 0 gives "
        "plain SGD.",
    )
    rmsprop_momentum: float = flag(
        OptimizerSettings.rmsprop_momentum,
        "Momentum coefficient of the optimizer `rmsprop`, at least 0 and below 1. 0 turns "
        "momentum off.",
    )
    rmsprop_decay: float = flag(
        OptimizerSettings.rmsprop_decay,
        "RMSProp's rho: decay rate of the moving average of squared gradients, at least 0 and"
        " below 1. It is the share of the average that is kept at each step.",
    )
    adam_beta1: float = flag(
        OptimizerSettings.adam_beta1,
        "Adam's beta1: decay rate of the moving average of gradients, at least 0 and below 1."
        " It is the share of the average that is kept at each step.",
    )
    adam_beta2: float = flag(
        OptimizerSettings.adam_beta2,
        "Adam's beta2: decay rate of the moving average of squared gradients, at least 0 and "
        "below 1. It is the share of the average that is kept at each step.",
    )
    adadelta_rho: float = flag(
        OptimizerSettings.adadelta_rho,
        "Adadelta's rho: decay rate of the moving averages of squared gradients and squared "
        "updates, at least 0 and below 1. It is the share of the averages that is kept at "
        "each step.",
    )
    opt_epsilon: float | None = flag(
        None,
        "Small positive constant against division by zero. `adam` adds it to the square root "
        "of its denominator, `rmsprop` and `adadelta` add it under the root; other optimizers"
        " ignore it. Default: 1e-7 for adam and adadelta, 1 for rmsprop.",
    )
    # What a network can have values of its own for is None until `with_defaults` fills it in.
    weight_decay: float | None = flag(
        None,
        "Coefficient of L2 regularization: weight_decay * w is added to the gradient of every"
        " weight, but not of biases. This is not the decoupled decay of AdamW. Default: the "
        "network's own value, for most networks 0.0005.",
    )
    weight_decay_factors: list[str] | None = flag(
        None,
        "PATTERN=FACTOR pairs, separated by commas, multiply the weight decay of variables whose "
        "whole name matches (* is any text): */fc10/*=250. Biases have no decay. Default: the "
        "network's own; empty: none.",
    )
    learning_rate: float | None = flag(
        None,
        "Initial learning rate, before the schedule lowers it (after the warm-up, if there is one)."
        " Default: the network's own value, for most networks 0.01, whichever the optimizer.",
    )
    learning_rate_factors: list[str] | None = flag(
        None,
        "PATTERN=FACTOR pairs, separated by commas, multiply the learning rate of variables "
        "whose whole name matches (* is any text); several matches multiply. "
        "PATTERN@EPOCH=FACTOR holds after that many epochs: */biases=2,*/conv1/*@67=0.1. "
        "Default: the network's own; empty: none.",
    )
    learning_rate_decay_type: str = flag(
        LearningRateSettings.learning_rate_decay_type,
        "How the learning rate falls. "
        + " ".join(f"`{name}`: {decay_type.__doc__}" for name, decay_type in decay_types.items()),
    )
    end_learning_rate: float = flag(
        LearningRateSettings.end_learning_rate,
        "Learning rate at the end of training for `polynomial` and `cosine`. It is an "
        "absolute value, not a fraction, and at most learning_rate.",
    )
    learning_rate_decay_factor: float | None = flag(
        None,
        "The learning rate is multiplied by this at each decay, for example 0.1. Default: "
        "0.94 for `exponential`, 0.1 for `piecewise` and `plateau`; the other schedules do "
        "not use it.",
    )
    num_epochs_per_decay: float = flag(
        LearningRateSettings.num_epochs_per_decay, "Epochs between decays of `exponential`."
    )
    learning_rate_boundaries: list[str] = flag(
        [], "Epochs at which `piecewise` decays, for example 30,60,80."
    )
    plateau_patience: int = flag(
        LearningRateSettings.plateau_patience,
        "Validations without a lower error after which `plateau` decays.",
    )
    plateau_max_decays: int = flag(
        LearningRateSettings.plateau_max_decays,
        "Maximum number of times that `plateau` lowers the learning rate in one run. The "
        "AlexNet paper of 2012 lowered it 3 times.",
    )
    warmup_epochs: float = flag(
        LearningRateSettings.warmup_epochs,
        "Length of the warm-up, in epochs. During it the learning rate is scaled up linearly "
        "from about 0 to the rate of the schedule. These epochs count in num_epochs. 0 means "
        "no warm-up.",
    )
    label_smoothing: float = flag(
        0.0, "Share of each label that is spread over all classes, at least 0 and below 1."
    )
    moving_average_decay: float | None = flag(
        None,
        "Decay rate per step of exponential moving averages of the weights, for example 0.9999. "
        "Validation, evaluation and export use the averages. In the first steps a lower rate is "
        "used. Default: no averages.",
    )
    mixed_precision: str = flag(
        "float32",
        "Number type in which the network computes; weights are kept in float32. With float16, "
        "dynamic loss scaling keeps small gradients from becoming zero.",
        PRECISIONS,
    )
    checkpoint_path: str | None = flag(
        None,
        "Start from these weights: a checkpoint, the train_dir of another run, or a file as "
        "convert_weights takes it. Not used when train_dir holds a run already, which resumes.",
    )
    checkpoint_exclude_scopes: list[str] = flag(
        [], "Scopes that are not restored from checkpoint_path, for example alexnet_v2/fc8."
    )
    trainable_scopes: list[str] = flag(
        [], "Scopes to train, for example alexnet_v2/fc7,alexnet_v2/fc8. Default: all."
    )
    ignore_missing_vars: bool = flag(
        False, "Start even if checkpoint_path lacks some of the network's variables."
    )
    validation_interval_epochs: float = flag(
        LoopSettings.validation_interval_epochs, "Epochs between validations."
    )
    save_interval_secs: float = flag(
        LoopSettings.save_interval_secs,
        "Write a checkpoint when this many seconds have passed since the last one. "
        "Checkpoints are also written at every validation, at the last step and on Ctrl-C.",
    )
    keep_checkpoints: int = flag(3, "Number of recent checkpoints to keep, besides the best one.")
    on_damaged_checkpoint: str = flag(
        "fail",
        "If the newest checkpoint is damaged: `fail` says so and ends, for a person who watches; "
        "`previous` sets it aside and goes on from the newest that is whole, for runs that are "
        "restarted automatically.",
        ON_DAMAGE,
    )
    max_nan_restarts: int = flag(
        LoopSettings.max_nan_restarts,
        "How many times a run whose loss is no longer a number goes back to its last good "
        "checkpoint, each time with half the learning rate. 0 ends the run.",
    )
    log_every_n_steps: int = flag(
        LoopSettings.log_every_n_steps, "Steps between entries in metrics.jsonl and TensorBoard."
    )
    shuffle_buffer_size: int = flag(
        10_000,
        "Number of images in the shuffle buffer, from which the next one is taken at random. They "
        "are kept encoded in memory. 1 turns shuffling off.",
    )
    seed: int = flag(
        0,
        "Integer seed of the random numbers for initial weights, order of the training "
        "images, augmentation and dropout.",
    )

    def with_defaults(self, hyperparameters: Mapping[str, Any]) -> TrainingConfig:
        """Fills in what depends on the network and was not given.

        Args:
          hyperparameters: of the network; see `nets.registry.Network`.

        Raises:
          ValueError: if one is not among the flags that a network can set.
        """
        for name in hyperparameters:
            if name not in _NETWORK_DEFAULTS:
                raise ValueError(unknown_name_message("hyperparameter", name, _NETWORK_DEFAULTS))
        missing = {
            name: value
            for name, value in {**_NETWORK_DEFAULTS, **hyperparameters}.items()
            if getattr(self, name) is None
        }
        return dataclasses.replace(self, **missing)

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(
            train_image_size=self.train_image_size,
            max_number_of_steps=self.max_number_of_steps,
            num_epochs=self.num_epochs,
            learning_rate=self.learning_rate,
            learning_rate_decay_factor=self.learning_rate_decay_factor,
            num_epochs_per_decay=self.num_epochs_per_decay,
            plateau_patience=self.plateau_patience,
            validation_interval_epochs=self.validation_interval_epochs,
            keep_checkpoints=self.keep_checkpoints,
            log_every_n_steps=self.log_every_n_steps,
            shuffle_buffer_size=self.shuffle_buffer_size,
            opt_epsilon=self.opt_epsilon,
            moving_average_decay=self.moving_average_decay,
        )
        check_not_negative(
            labels_offset=self.labels_offset,
            weight_decay=self.weight_decay,
            end_learning_rate=self.end_learning_rate,
            warmup_epochs=self.warmup_epochs,
            plateau_max_decays=self.plateau_max_decays,
            save_interval_secs=self.save_interval_secs,
            max_nan_restarts=self.max_nan_restarts,
        )
        check_fraction(
            momentum=self.momentum,
            rmsprop_momentum=self.rmsprop_momentum,
            rmsprop_decay=self.rmsprop_decay,
            adam_beta1=self.adam_beta1,
            adam_beta2=self.adam_beta2,
            adadelta_rho=self.adadelta_rho,
            label_smoothing=self.label_smoothing,
            moving_average_decay=self.moving_average_decay,
        )
