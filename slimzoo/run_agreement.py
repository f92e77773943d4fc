"""What hosts that work together must have alike, compared before they begin."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from image_datasets.image_dataset import ImageDataset
from slimzoo.configuration import InputConfig
from training.hosts.cooperation import check_same, check_same_flags

# The flags that hosts may be given differently: who they are, and where they find what
# all of them have. What they find there is compared by itself.
_OF_EACH_HOST = (
    "task_index",
    "worker_hosts",
    "cluster_timeout_secs",
    "train_dir",
    "eval_dir",
    "dataset_dir",
    "dataset_statistics",
    "checkpoint_path",
)


def check_flags(strategy: tf.distribute.Strategy, config: InputConfig) -> None:
    """Raises ValueError if the hosts were started with different flags; all must call this.

    It comes before anything is built: networks that differ cannot even add their gradients up.
    """
    flags = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    check_same_flags(strategy, {name: flags[name] for name in flags if name not in _OF_EACH_HOST})


def check_start(
    strategy: tf.distribute.Strategy,
    *,
    num_steps: int,
    first_step: int,
    dataset: ImageDataset,
    validation: ImageDataset | None,
) -> None:
    """Raises ValueError if the hosts found different checkpoints or images; all must call this."""
    check_same(
        strategy,
        number_of_steps=num_steps,
        step_that_training_starts_from=first_step,
        number_of_training_images=dataset.num_examples,
        number_of_validation_images=validation.num_examples if validation else 0,
        checksum_of_the_names_of_images=dataset.fingerprint % 2**31,
    )
