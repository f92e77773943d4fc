"""Flags that several commands share. Those of one command are in its module in `commands`."""

from __future__ import annotations

import dataclasses

from slimzoo.flags import check_fields, check_positive, flag
from training.devices import STRATEGIES
from training.train_step import DTYPE_POLICIES

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
        False, "Leave out, name and count images that cannot be decoded, instead of stopping."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig(SourceConfig):
    """How many images are taken at a time, and how many devices share them."""

    batch_size: int = flag(128, "Images in a batch, over all replicas together.")
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
        super().__post_init__()
        check_positive(batch_size=self.batch_size, num_replicas=self.num_replicas)
