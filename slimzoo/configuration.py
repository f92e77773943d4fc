"""The flags that commands share, and those of training, which are many.

Those of the other commands are in their modules in `commands`.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from nets.nets_factory import networks
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from preprocessing.preprocessing_factory import PREPROCESSINGS
from slimzoo.flags import (
    Theme,
    check_fields,
    check_fraction,
    check_not_negative,
    check_positive,
    flag,
    settings,
)
from slimzoo.hybrid_flags import HybridFlags
from slimzoo.optimization_flags import OptimizationFlags
from slimzoo.tf_slim_flags import TRAIN_FLAGS, TFSlimFlag
from slimzoo_registry import unknown_name_message
from training.checkpoints.saving import ON_DAMAGE
from training.devices import STRATEGIES
from training.hosts.cluster import ClusterSettings
from training.normalization import NormalizationSettings
from training.optimizers import OptimizerSettings
from training.train_step import DTYPE_POLICIES
from training.training_loop import LoopSettings

PRECISIONS = tuple(DTYPE_POLICIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """What every command has.

    Attributes:
      first_flags: names of the flags that `--help` lists first, as most people need them.
      tf_slim_flags: flags of TF-Slim's command that are none here, and what takes their place.
    """

    first_flags: ClassVar[tuple[str, ...]] = ()
    tf_slim_flags: ClassVar[tuple[TFSlimFlag, ...]] = ()

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
        f"Name of the preprocessing pipeline: {', '.join(PREPROCESSINGS)}. Default: the "
        "network's own. Training that starts from a run of the same network takes that run's "
        "pipeline and options instead.",
        theme=Theme.IMAGES,
    )
    preprocessing_options: list[str] = flag(
        [],
        "Options of the preprocessing as name=value, separated by commas, for example "
        "resize_side=288. A value with commas needs double quotes, and in a shell the whole "
        "flag single quotes: '--preprocessing_options=\"mean_rgb=(104,117,123)\"'.",
        theme=Theme.IMAGES,
    )
    dataset_statistics: str | None = flag(
        None,
        "Folder or JSON file from compute_dataset_statistics or prepare_dataset. The "
        "preprocessing takes what it has options for (mean, mean image, deviations, color "
        "noise). Default: as in the run started from, else the pipeline's own (ImageNet or "
        "CIFAR-10).",
        theme=Theme.IMAGES,
    )


def preprocessing_name_flag() -> Any:
    """The field of commands that take weights of which no run says what feeds them."""
    return flag(
        None,
        f"Name of the preprocessing pipeline of weights that come without a model.json: "
        f"{', '.join(PREPROCESSINGS)}. Default: the network's own. A run has the one that it was "
        "trained with.",
        theme=Theme.IMAGES,
    )


def max_image_pixels_flag() -> Any:
    """The field that commands have which decode images."""
    return flag(
        DEFAULT_MAX_IMAGE_PIXELS,
        "An image that has more pixels (height times width) by its header counts as one that "
        "cannot be decoded, so that a small file cannot take all memory. The default is Pillow's, "
        "about a quarter of a gigabyte of RGB; 0 sets no limit.",
        theme=Theme.IMAGES,
    )


def respect_exif_flag() -> Any:
    """The field of commands that read images of the user's own."""
    return flag(
        None,
        "Turn each photo as its camera noted (EXIF orientation of JPEG, PNG and WebP). Default: "
        "for `folder` and other folders of your own photos yes, for TFDS and records no; a run or "
        "a preparation that goes on keeps what it began with.",
        theme=Theme.IMAGES,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig(CommandConfig):
    """Where images come from."""

    dataset_dir: str | None = flag(
        None,
        "Folder of images for `folder`; for `tfrecord` the folder of records, or the pattern of "
        "their files with %s for the split (data/flowers_%s_*.tfrecord); for other datasets the "
        "data_dir of TFDS, by default ~/tensorflow_datasets. In evaluation the default is what the "
        "run was trained from, if it is the same dataset.",
        theme=Theme.IMAGES,
    )
    skip_corrupt_images: bool = flag(
        False,
        "Leave out and count images that cannot be read or decoded, instead of stopping.",
        theme=Theme.IMAGES,
    )
    max_image_pixels: int = max_image_pixels_flag()

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_not_negative(max_image_pixels=self.max_image_pixels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig(SourceConfig):
    """How many images are taken at a time, and how many devices share them."""

    batch_size: int = flag(
        128, "Images in a batch, over all replicas together.", theme=Theme.LENGTH
    )
    distribution_strategy: str = flag(
        "mirrored",
        "`mirrored`: all devices of this host; `multi_worker_mirrored`: several hosts, "
        "described by worker_hosts and task_index, or by the environment variable TF_CONFIG.",
        STRATEGIES,
        theme=Theme.DEVICES,
    )
    worker_hosts: list[str] = flag(
        [],
        "HOST:PORT of each host that works together, separated by commas, in the same order on "
        "all of them. The first one writes checkpoints. Default: as TF_CONFIG says.",
        theme=Theme.DEVICES,
    )
    task_index: int | None = flag(
        None,
        "Which of worker_hosts this process is, counted from 0. Default: as TF_CONFIG says.",
        theme=Theme.DEVICES,
    )
    cluster_timeout_secs: float = flag(
        ClusterSettings.cluster_timeout_secs,
        "Seconds to wait for the other hosts at the start, at most 3600; then the process ends "
        "with exit status 1.",
        theme=Theme.DEVICES,
    )
    num_replicas: int | None = flag(
        None,
        "Devices of this host to use. Default: every GPU, or one CPU device. Without a GPU the "
        "CPU is divided into as many logical devices as are asked for, which shows that a program "
        "is right and makes none faster.",
        theme=Theme.DEVICES,
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
class TrainingConfig(HybridFlags, InputConfig, PreprocessingConfig, OptimizationFlags):
    """What `train_image_classifier` does; defaults are those of the libraries' settings."""

    first_flags = (
        "dataset_name",
        "dataset_dir",
        "dataset_split_name",
        "validation_split_name",
        "train_dir",
        "model_name",
        "checkpoint_path",
        "trainable_scopes",
        "num_epochs",
        "batch_size",
        "learning_rate",
        "mixed_precision",
    )
    tf_slim_flags = TRAIN_FLAGS

    dataset_name: str = flag(
        "shapes",
        "Dataset to train on: a TFDS name (cifar10, imagenette/320px-v2), `folder` for a "
        "folder with one subfolder of images per class, `tfrecord` for records as TF-Slim's "
        "scripts write them, or `shapes`, a small synthetic dataset that is generated on first "
        "use, without a download.",
        theme=Theme.IMAGES,
    )
    train_dir: str | None = flag(
        None,
        "Where checkpoints, metrics and summaries go; a run found there is resumed. "
        "Default: runs/MODEL-DATASET in the current folder, for `folder` runs/MODEL-FOLDER.",
        theme=Theme.OUTPUT,
    )
    dataset_split_name: str = flag(
        "train",
        "The split to train on, in TFDS syntax: train, train[:80%], train+validation.",
        theme=Theme.IMAGES,
    )
    validation_split_name: str | None = flag(
        None,
        "The split to validate on while training. Default: that for validation, else test, if the "
        "dataset has one; `none` turns validation off.",
        theme=Theme.IMAGES,
    )
    cache: bool = flag(
        False,
        "Keep training and validation images in memory after the first epoch, still encoded; all "
        "of them must fit. Useful for slow disks and for `raw` prepared datasets (192 KiB for an "
        "image of 256x256).",
        theme=Theme.IMAGES,
    )
    labels_offset: int = flag(
        0,
        "Number that is subtracted from every label. Images whose label becomes negative are "
        "not counted, and their classes are removed. For example, 1 removes class 0 where "
        "that is a background class.",
        theme=Theme.IMAGES,
    )
    model_name: str = flag(
        "alexnet_v2", f"The network to train: {', '.join(networks)}.", theme=Theme.NETWORK
    )
    network_options: list[str] = flag(
        [],
        "Options of the network as name=value, for example dropout_keep_prob=0.7.",
        theme=Theme.NETWORK,
    )
    respect_exif: bool | None = respect_exif_flag()
    augment: bool = flag(
        True,
        "Random crops, flips and colors while training; --noaugment trains on the "
        "evaluation's view of each image.",
        theme=Theme.IMAGES,
    )
    train_image_size: int | None = flag(
        None,
        "Height and width given to the network, in pixels. Default: the network's own.",
        theme=Theme.NETWORK,
    )
    max_number_of_steps: int | None = flag(
        None,
        "Total number of training steps (batches), including those before a resume. It replaces "
        "num_epochs. Default: num_epochs decides.",
        theme=Theme.LENGTH,
    )
    num_epochs: float = flag(
        90.0, "Passes over the training split; the 2012 paper made about 90.", theme=Theme.LENGTH
    )
    label_smoothing: float = flag(
        0.0,
        "Share of each label that is spread over all classes, at least 0 and below 1.",
        theme=Theme.OPTIMIZER,
    )
    moving_average_decay: float | None = flag(
        None,
        "Decay rate per step of exponential moving averages of the weights, for example 0.9999. "
        "Validation, evaluation and export use the averages. In the first steps a lower rate is "
        "used. Default: no averages.",
        theme=Theme.OPTIMIZER,
    )
    mixed_precision: str = flag(
        "float32",
        "Number type in which the network computes; weights are kept in float32. With float16, "
        "dynamic loss scaling keeps small gradients from becoming zero.",
        PRECISIONS,
        theme=Theme.NETWORK,
    )
    checkpoint_path: str | None = flag(
        None,
        "Start from these weights: a checkpoint, the train_dir of another run, a file as "
        "convert_weights takes it, or zoo:NAME for a published checkpoint. Not used when train_dir "
        "holds a run already, which resumes.",
        theme=Theme.NETWORK,
    )
    checkpoint_exclude_scopes: list[str] = flag(
        [],
        "Scopes that are not restored from checkpoint_path, for example alexnet_v2/fc8.",
        theme=Theme.NETWORK,
    )
    trainable_scopes: list[str] = flag(
        [],
        "Scopes to train, for example alexnet_v2/fc7,alexnet_v2/fc8. In one with a *, which stands "
        "for any text, the whole name counts: '*weights,*biases'. Default: all.",
        theme=Theme.NETWORK,
    )
    ignore_missing_vars: bool = flag(
        False,
        "Start even if checkpoint_path lacks some of the network's variables.",
        theme=Theme.NETWORK,
    )
    sync_batch_norm: bool = flag(
        NormalizationSettings.sync_batch_norm,
        "Batch normalization takes the images of all replicas as one batch. Otherwise each replica "
        "normalizes its own, and the moving statistics are the mean of theirs.",
        theme=Theme.NETWORK,
    )
    batch_norm_decay: float | None = flag(
        NormalizationSettings.batch_norm_decay,
        "Share of the moving statistics of batch normalization that is kept at each step, at least "
        "0 and below 1. Evaluation goes by these. Runs of a few hundred steps need about 0.9. "
        "Default: the network's own, as in TF-Slim 0.997 or 0.9997.",
        theme=Theme.NETWORK,
    )
    freeze_batch_norm: bool = flag(
        NormalizationSettings.freeze_batch_norm,
        "Batch normalization outside trainable_scopes goes by its moving statistics and leaves "
        "them. With --nofreeze_batch_norm it goes by the batch and updates them, as in TF-Slim.",
        theme=Theme.NETWORK,
    )
    validation_interval_epochs: float = flag(
        LoopSettings.validation_interval_epochs, "Epochs between validations.", theme=Theme.LENGTH
    )
    save_interval_secs: float = flag(
        LoopSettings.save_interval_secs,
        "Write a checkpoint when this many seconds have passed since the last one. "
        "Checkpoints are also written at every validation, at the last step and on Ctrl-C.",
        theme=Theme.OUTPUT,
    )
    keep_checkpoints: int = flag(
        3, "Number of recent checkpoints to keep, besides the best one.", theme=Theme.OUTPUT
    )
    on_damaged_checkpoint: str = flag(
        "fail",
        "If the newest checkpoint is damaged: `fail` says so and ends, for a person who watches; "
        "`previous` sets it aside and goes on from the newest that is whole, for runs that are "
        "restarted automatically.",
        ON_DAMAGE,
        theme=Theme.OUTPUT,
    )
    max_nan_restarts: int = flag(
        LoopSettings.max_nan_restarts,
        "How many times a run whose loss is no longer a number goes back to its last good "
        "checkpoint, each time with half the learning rate. 0 ends the run.",
        theme=Theme.OUTPUT,
    )
    log_every_n_steps: int = flag(
        LoopSettings.log_every_n_steps,
        "Steps between entries in metrics.jsonl and TensorBoard.",
        theme=Theme.OUTPUT,
    )
    steps_per_call: int = flag(
        1,
        "Steps that Python asks for at once, where nothing (log, validation, last step) is due "
        "between them, with their batches on the device together. It spares a GPU waiting for "
        "Python between short steps; Ctrl-C is heard after the last. Weights are the same.",
    )
    shuffle_buffer_size: int = flag(
        10_000,
        "Number of images in the shuffle buffer, from which the next one is taken at random. They "
        "are kept encoded in memory. 1 turns shuffling off.",
        theme=Theme.IMAGES,
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
            clip_global_norm=self.clip_global_norm,
            learning_rate_decay_factor=self.learning_rate_decay_factor,
            num_epochs_per_decay=self.num_epochs_per_decay,
            plateau_patience=self.plateau_patience,
            validation_interval_epochs=self.validation_interval_epochs,
            keep_checkpoints=self.keep_checkpoints,
            log_every_n_steps=self.log_every_n_steps,
            steps_per_call=self.steps_per_call,
            shuffle_buffer_size=self.shuffle_buffer_size,
            opt_epsilon=self.opt_epsilon,
            adagrad_initial_accumulator_value=self.adagrad_initial_accumulator_value,
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
            ftrl_initial_accumulator_value=self.ftrl_initial_accumulator_value,
            ftrl_l1=self.ftrl_l1,
            ftrl_l2=self.ftrl_l2,
        )
        if self.steps_per_call > self.log_every_n_steps:
            raise ValueError(
                f"--steps_per_call is {self.steps_per_call}, but there is an entry to log every "
                f"{self.log_every_n_steps} steps, and no call goes beyond it. Give at most "
                f"{self.log_every_n_steps}, or a larger --log_every_n_steps."
            )
        if self.steps_per_call > 1 and self.distribution_strategy == "multi_worker_mirrored":
            raise ValueError(
                f"--steps_per_call is {self.steps_per_call}, but several hosts agree at each step "
                "whether to stop and to save. Leave it out with "
                "--distribution_strategy=multi_worker_mirrored."
            )
        if not self.ftrl_learning_rate_power <= 0:  # nor NaN
            raise ValueError(
                f"--ftrl_learning_rate_power is {self.ftrl_learning_rate_power}; it must be 0 or "
                "less."
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
            batch_norm_decay=self.batch_norm_decay,
        )
