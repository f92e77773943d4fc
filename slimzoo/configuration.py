"""What a user can ask of the drivers: one dataclass a driver, one field a flag.

A field holds the flag's default and help text; `command_line` makes the flags. Tests and other
programs build the dataclasses directly.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from slimzoo_registry import unknown_name_message

STRATEGIES = ("mirrored", "multi_worker_mirrored")
PRECISIONS = ("float32", "bfloat16", "float16")
_FLOAT32_MAX = 3.4e38
# Of flags that a network can have values of its own for.
_NETWORK_DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.01,
    "weight_decay": 5e-4,
    "learning_rate_factors": [],
    "weight_decay_factors": [],
}


def flag(default: Any, help_text: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field that becomes a flag, with its help text and, if not all values do, its choices."""
    metadata = {"help": help_text, "choices": choices}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModulesConfig:
    """What is imported before a name is looked up."""

    network_module: list[str] = flag(
        [], "Python modules to import first, for networks and preprocessings of one's own."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """What feeds a network, where it is not the network's own pipeline as it comes."""

    preprocessing_name: str | None = flag(
        None,
        "The preprocessing pipeline. Default: that of the run whose weights are started from, with "
        "its options; otherwise the network's own.",
    )
    preprocessing_options: list[str] = flag(
        [],
        "Options of the preprocessing as name=value, for example resize_side=288. One with commas "
        'stands in double quotes: resize_side=288,"mean_rgb=(104,117,123)".',
    )
    dataset_statistics: str | None = flag(
        None,
        "Statistics of compute_dataset_statistics or prepare_dataset, a folder or its JSON file: "
        "the preprocessing takes mean, mean image and colour noise from them, as far as it knows "
        "such. Default: the preprocessing's own, ILSVRC-2012's for AlexNets.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig(ModulesConfig):
    """Where images come from and how many devices share them."""

    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`; otherwise TFDS's data_dir. Default: TFDS's own, "
        "~/tensorflow_datasets.",
    )
    batch_size: int = flag(128, "Images in a batch, over all replicas together.")
    skip_corrupt_images: bool = flag(
        False, "Leave out and count images that cannot be decoded, instead of stopping."
    )
    distribution_strategy: str = flag(
        "mirrored",
        "`mirrored`: all devices of this host; `multi_worker_mirrored`: several hosts, "
        "described by the environment variable TF_CONFIG.",
        STRATEGIES,
    )
    num_replicas: int | None = flag(
        None,
        "Devices of this host to use. Default: every GPU, or one CPU device. Without a GPU the "
        "CPU is divided into so many logical devices.",
    )

    def __post_init__(self) -> None:
        """Checks what no later stage can check as clearly."""
        check_positive(batch_size=self.batch_size, num_replicas=self.num_replicas)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(InputConfig, PreprocessingConfig):
    """What `train_image_classifier` does."""

    dataset_name: str = flag(
        "shapes",
        "A TFDS name (cifar10, imagenette/320px-v2), `folder` for a folder of images per class, "
        "or `shapes`, drawn on first use without a network.",
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
        "The split to validate on while training. Default: validation, val or test if the "
        "dataset has one; `none` turns validation off.",
    )
    cache: bool = flag(
        False,
        "Keep the images in the memory of each host, as they are in their files, once they have "
        "been read; all must fit. For a slow disk, or for prepared raw pixels (192 KiB an image).",
    )
    labels_offset: int = flag(
        0, "Subtracted from every label; drops the first classes, such as a background class."
    )
    model_name: str = flag("alexnet_v2", "The network to train.")
    network_options: list[str] = flag(
        [], "Options of the network as name=value, for example dropout_keep_prob=0.7."
    )
    augment: bool = flag(
        True,
        "Random crops, flips and colours while training; --noaugment trains on the "
        "evaluation's view of each image.",
    )
    train_image_size: int | None = flag(
        None, "Height and width given to the network, in pixels. Default: the network's own."
    )
    max_number_of_steps: int | None = flag(
        None, "Steps (batches) to train for in all. Default: num_epochs decides."
    )
    num_epochs: float = flag(90.0, "Passes over the training split; the 2012 paper made about 90.")
    optimizer: str = flag("momentum", "adadelta, adagrad, adam, ftrl, momentum, rmsprop or sgd.")
    momentum: float = flag(0.9, "Of the optimizer `momentum`.")
    rmsprop_momentum: float = flag(0.9, "Of the optimizer `rmsprop`.")
    rmsprop_decay: float = flag(0.9, "By which `rmsprop` forgets squared gradients.")
    adam_beta1: float = flag(0.9, "By which `adam` forgets gradients.")
    adam_beta2: float = flag(0.999, "By which `adam` forgets squared gradients.")
    adadelta_rho: float = flag(0.95, "By which `adadelta` forgets squared gradients.")
    opt_epsilon: float | None = flag(
        None,
        "Added to denominators of `adam`, `rmsprop` and `adadelta`. Default: 1e-7 for adam and "
        "adadelta, 1 for rmsprop.",
    )
    # What a network can have values of its own for is None until `with_defaults` fills it in.
    weight_decay: float = flag(
        None,
        "L2 factor on weights, not on biases, applied inside the optimizer's update. Default: what "
        "the network was trained with, and 0.0005 for most.",
    )
    weight_decay_factors: list[str] = flag(
        None,
        "PATTERN=FACTOR, separated by commas: multiplies the decay of the variables whose names "
        "match, for example */fc10/*=250. Biases have no decay. Default: the network's own, for "
        "most none; empty for none.",
    )
    learning_rate: float = flag(
        None,
        "The rate, after warmup. Default: what the network was trained with, and 0.01 for most.",
    )
    learning_rate_factors: list[str] = flag(
        None,
        "PATTERN=FACTOR or PATTERN@EPOCH=FACTOR, separated by commas: multiplies the rate of the "
        "variables whose names match, from that epoch on: */biases=2,alexnet_2012/conv1/*@67=0.1. "
        "Factors of several patterns are multiplied. Default: the network's own, for most none; "
        "empty for none.",
    )
    learning_rate_decay_type: str = flag(
        "cosine",
        "fixed; exponential (every num_epochs_per_decay epochs, in steps); polynomial (a line to "
        "end_learning_rate); piecewise (at learning_rate_boundaries); cosine (to "
        "end_learning_rate); plateau (when the validation error stops improving).",
    )
    end_learning_rate: float = flag(0.0, "Where `polynomial` and `cosine` end.")
    learning_rate_decay_factor: float | None = flag(
        None, "By what a decay multiplies. Default: .94 for exponential, .1 for piecewise, plateau."
    )
    num_epochs_per_decay: float = flag(2.0, "Epochs between decays of `exponential`.")
    learning_rate_boundaries: list[str] = flag(
        [], "Epochs at which `piecewise` decays, for example 30,60,80."
    )
    plateau_patience: int = flag(
        5, "Validations without a lower error after which `plateau` decays."
    )
    plateau_max_decays: int = flag(3, "How often `plateau` decays; the paper: three times.")
    warmup_epochs: float = flag(0.0, "Epochs over which the rate rises from 0.")
    label_smoothing: float = flag(0.0, "Share of each label spread over all classes, in [0, 1).")
    moving_average_decay: float | None = flag(
        None,
        "Keep moving averages of the weights with this decay, and validate, evaluate and export "
        "with them. Default: none are kept.",
    )
    mixed_precision: str = flag(
        "float32",
        "The type of activations; weights stay float32. float16 scales the loss.",
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
    validation_interval_epochs: float = flag(1.0, "Epochs between validations.")
    save_interval_secs: float = flag(600.0, "Seconds between checkpoints.")
    keep_checkpoints: int = flag(3, "How many recent checkpoints to keep, besides the best.")
    log_every_n_steps: int = flag(10, "Steps between entries in metrics.jsonl and TensorBoard.")
    shuffle_buffer_size: int = flag(10_000, "Examples (encoded) from which the next is drawn.")
    seed: int = flag(0, "Of initial weights, order, augmentation and dropout.")

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(InputConfig):
    """What `eval_image_classifier` does."""

    checkpoint_path: str | None = flag(
        None,
        "The checkpoint, or the train_dir that holds it (its last), to evaluate, or a file of "
        "weights as convert_weights takes it. Of several, separated by commas, the softmax outputs "
        "are averaged. Required.",
    )
    model_name: list[str] = flag(
        [],
        "The network of weights that come without a model.json: one name, or one for each of "
        "several in checkpoint_path.",
    )
    dataset_name: str | None = flag(None, "The dataset. Default: the one trained on.")
    dataset_split_name: str | None = flag(
        None, "The split, in TFDS syntax. Default: the one the run was validated on."
    )
    eval_dir: str | None = flag(
        None,
        "Where evaluation.json and predictions.csv go. Default: the folder `evaluation` beside "
        "the checkpoint.",
    )
    eval_image_size: int | None = flag(
        None, "Height and width given to the network, in pixels. Default: as trained."
    )
    eval_crops: int = flag(
        1,
        "1: the centre; 10: corners and centre and their flips, softmax outputs averaged. With 10, "
        "a batch is a tenth as many images, of ten crops each.",
    )
    use_moving_average: bool = flag(
        True, "Evaluate the moving averages of the weights, if the run kept them."
    )
    mixed_precision: str = flag(
        "float32",
        "The type of activations; weights, which nothing changes here, are cast to it once.",
        PRECISIONS,
    )
    max_num_batches: int | None = flag(
        None, "Stop after so many batches of batch_size images. Default: all."
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(eval_image_size=self.eval_image_size, max_num_batches=self.max_num_batches)
        if self.eval_crops not in (1, 10):
            raise ValueError(f"--eval_crops is {self.eval_crops}; it must be 1 or 10.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(ModulesConfig):
    """What `export_saved_model` does."""

    checkpoint_path: str | None = flag(
        None,
        "The checkpoint, or the train_dir that holds it (its last), to export, or a file of "
        "weights as convert_weights takes it. Required.",
    )
    model_name: str | None = flag(None, "The network of weights that come without a model.json.")
    dataset_name: str | None = flag(
        None, "The dataset whose classes such weights answer with. Default: imagenet2012."
    )
    dataset_dir: str | None = flag(
        None, "The folder of images for `folder`; otherwise TFDS's data_dir."
    )
    export_dir: str | None = flag(
        None,
        "Where the SavedModel goes; must not exist or be empty. Default: `saved_model` beside "
        "the checkpoint.",
    )
    export_image_size: int | None = flag(
        None, "Height and width given to the network, in pixels. Default: as trained."
    )
    top_k: int = flag(5, "How many of the likeliest classes the answers name.")
    use_moving_average: bool = flag(
        True, "Export the moving averages of the weights, if the run kept them."
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        check_positive(export_image_size=self.export_image_size, top_k=self.top_k)


def check_positive(**values: float | None) -> None:
    """Raises ValueError if a value that is given is zero or less, naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 < value < _FLOAT32_MAX:
            raise ValueError(f"--{name} is {value}; it must be a number greater than 0.")


def check_not_negative(**values: float | None) -> None:
    """Raises ValueError if a value that is given is negative, naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 <= value < _FLOAT32_MAX:
            raise ValueError(f"--{name} is {value}; it must be a number, and not negative.")


def check_fraction(**values: float | None) -> None:
    """Raises ValueError if a value that is given is not in [0, 1), naming its flag."""
    for name, value in values.items():
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"--{name} is {value}; it must be at least 0 and less than 1.")


def parse_options(flag: str, options: list[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Turns `["a=1", "b=x"]` into `{"a": 1, "b": "x"}`.

    Args:
      flag: what error messages call it.
      options: what the flag was given.
      defaults: the options that exist and their defaults, whose types values must have.

    Raises:
      ValueError: if an entry has no `=`, is unknown or repeated, or is of another type than its
        default.
    """
    parsed = {}
    for option in options:
        name, equals, text = (part.strip() for part in option.partition("="))
        if not equals:
            raise ValueError(f"--{flag} has {option!r}; it takes name=value, separated by commas.")
        if name not in defaults:
            raise ValueError(unknown_name_message(f"option in --{flag}", name, defaults))
        if name in parsed:
            raise ValueError(f"--{flag} has {name} twice; it takes one value.")
        parsed[name] = _parse_value(text)
        if not _is_of_type_of(parsed[name], defaults[name]):
            raise ValueError(
                f"--{flag} has {option!r}; {name} takes a value such as {defaults[name]!r}."
            )
    return parsed


def _parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _is_of_type_of(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return default is None
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, float | int)
    return isinstance(value, type(default))
