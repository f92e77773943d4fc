"""Trains a network on a dataset: how a run is put together, started and ended."""

from __future__ import annotations

import functools
import os
import shlex

import keras
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing import preprocessing_factory
from slimzoo import program, run_folder
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import flag_lines, settings
from slimzoo.interruption import signals_noted
from slimzoo_registry import import_modules
from training import devices, evaluation, input_pipeline
from training.checkpoints.description import ModelDescription
from training.checkpoints.restoring import restore_network
from training.checkpoints.saving import RunCheckpoints
from training.dataset_preparation.pixel_statistics import dataset_of_statistics
from training.evaluation import EvaluationResult, Evaluator
from training.learning_rates import LearningRate, LearningRateSettings, decay_types
from training.optimizers import OptimizerSettings, optimizers
from training.reporting import Reporter
from training.storage.whole_files import write_text
from training.train_step import DTYPE_POLICIES, TrainStep
from training.training_loop import LoopSettings, TrainingLoop
from training.training_state import TrainingState, make_training_state


def main() -> None:
    """Runs the command."""
    program.run(TrainingConfig, train)


def train(config: TrainingConfig) -> str:
    """Runs the training command: trains a network, or goes on where a run was stopped.

    Args:
      config: what to train, on what, and how.

    Returns:
      The last checkpoint.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, an image
        cannot be decoded, or the loss is no longer a number.
      KeyboardInterrupt: if the user interrupts the run (SIGINT, SIGTERM), after the step at hand
        has been finished and saved.
    """
    strategy = devices.make_strategy(config.distribution_strategy, config.num_replicas)
    devices.per_replica_batch_size(config.batch_size, strategy)
    import_modules(config.import_modules)
    check_names(config)
    config = config.with_defaults(nets_factory.networks[config.model_name].hyperparameters)
    keras.utils.set_random_seed(config.seed)
    dataset = dataset_factory.get_dataset(
        config.dataset_name, config.dataset_split_name, config.dataset_dir
    )
    validation = _validation_dataset(config)
    if config.cache:
        dataset, validation = dataset.cached(), validation and validation.cached()
    pipeline = run_folder.choose_run_pipeline(config)
    description = run_folder.describe(config, pipeline, dataset, validation)
    train_dir = run_folder.prepare_train_dir(config, pipeline, description)
    return _train(config, strategy, dataset, validation, description, train_dir)


def _train(
    config: TrainingConfig,
    strategy: tf.distribute.Strategy,
    dataset: ImageDataset,
    validation: ImageDataset | None,
    description: ModelDescription,
    train_dir: str,
) -> str:
    steps_per_epoch = dataset.num_examples / config.batch_size
    num_steps = config.max_number_of_steps or max(1, round(config.num_epochs * steps_per_epoch))
    learning_rate = LearningRate(settings(LearningRateSettings, config), steps_per_epoch, num_steps)
    preprocessing = description.make_preprocessing(train_dir, config.augment)
    state = make_training_state(
        functools.partial(
            description.build,
            dtype_policy=DTYPE_POLICIES[config.mixed_precision],
            is_training=True,
        ),
        settings(OptimizerSettings, config),
        strategy,
        trainable_scopes=config.trainable_scopes,
        keep_averages=bool(config.moving_average_decay),
    )
    if config.learning_rate_decay_type == "plateau" and validation is None:
        raise ValueError(
            "--learning_rate_decay_type=plateau follows the validation error, but there is no "
            "validation: give --validation_split_name."
        )
    step = TrainStep(
        state,
        preprocessing,
        strategy,
        batch_size=config.batch_size,
        label_smoothing=config.label_smoothing,
        moving_average_decay=config.moving_average_decay or 0.0,
        seed=config.seed,
    )
    evaluator = (
        None
        if validation is None
        else Evaluator(
            state.network_fn,
            description.make_preprocessing(train_dir, is_training=False),
            validation,
            strategy,
            batch_size=config.batch_size,
            image_size=description.image_size,
            labels_offset=config.labels_offset,
            skip_corrupt_images=config.skip_corrupt_images,
        )
    )
    # Hosts share train_dir: all read it, one writes.
    is_chief = devices.is_chief(strategy)
    checkpoints = RunCheckpoints(
        train_dir,
        step=state.step,
        network=state.network_fn.variables,
        optimizer=state.optimizer.variables,
        averages=state.averages,
        learning_rate=learning_rate.state,
        keep=config.keep_checkpoints,
        writes=is_chief,
    )
    _restore(config, state, checkpoints)
    if is_chief:
        description.save(train_dir)
        write_text(os.path.join(train_dir, run_folder.FLAGS_NAME), flag_lines(config))
    first_step = int(state.step)
    if first_step >= num_steps:
        print(f"This run has taken {first_step:,} of {num_steps:,} steps; nothing to do.")
        return _conclude(config, checkpoints, None, 0, is_chief)

    print(
        f"{_announcement(config, state, description, dataset)}\n"
        f"steps {first_step:,} to {num_steps:,} of {config.batch_size} images on "
        f"{_count(strategy.num_replicas_in_sync, 'replica')}; train_dir {train_dir}"
        f"{_settings_of_the_network(config)}",
        flush=True,
    )
    batches = input_pipeline.training_batches(
        dataset,
        preprocessing,
        batch_size=config.batch_size,
        image_size=description.image_size,
        seed=config.seed,
        start_step=first_step,
        labels_offset=config.labels_offset,
        shuffle_buffer_size=config.shuffle_buffer_size,
        skip_corrupt_images=config.skip_corrupt_images,
    )
    loop = TrainingLoop(
        state,
        step,
        learning_rate,
        checkpoints,
        LoopSettings(
            batch_size=config.batch_size,
            steps_per_epoch=steps_per_epoch,
            num_steps=num_steps,
            validation_interval_epochs=config.validation_interval_epochs,
            save_interval_secs=config.save_interval_secs,
            log_every_n_steps=config.log_every_n_steps,
        ),
        validate=None if evaluator is None else evaluator.run,
    )
    distributed = iter(strategy.experimental_distribute_dataset(batches))
    with (
        Reporter(
            train_dir,
            first_step,
            num_steps,
            steps_per_epoch,
            config.batch_size,
            silent=not is_chief,
        ) as reporter,
        signals_noted() as signals,
    ):
        try:
            result = loop.run(distributed, reporter, stop_requested=lambda: bool(signals))
        except tf.errors.InvalidArgumentError as error:
            raise evaluation.corrupt_image_error(dataset, error) from error
    return _conclude(config, checkpoints, result, loop.left_out, is_chief)


# ------------------------------------------------------------------- before the run


def check_names(config: TrainingConfig) -> None:
    """Looks up every name, before a dataset is prepared, which can take long.

    Raises:
      ValueError: naming what exists.
    """
    network = nets_factory.networks[config.model_name]
    preprocessing_factory.PREPROCESSINGS[config.preprocessing_name or network.preprocessing_name]
    optimizers[config.optimizer]
    decay_types[config.learning_rate_decay_type]


def _validation_dataset(config: TrainingConfig) -> ImageDataset | None:
    """What to validate on while training; None if there is no such split, or none is wanted."""
    split = config.validation_split_name or dataset_factory.default_validation_split(
        config.dataset_name, config.dataset_dir
    )
    if split is None or split == "none":
        return None
    return dataset_factory.get_dataset(config.dataset_name, split, config.dataset_dir)


def _restore(config: TrainingConfig, state: TrainingState, checkpoints: RunCheckpoints) -> None:
    """Takes up the run that train_dir holds, or starts from the weights of --checkpoint_path."""
    if latest := checkpoints.resume():
        changes = run_folder.changed_flags(config, checkpoints.train_dir)
        print(f"Resuming from {latest}. {changes}")
        if config.checkpoint_path:
            print(
                f"WARNING: --checkpoint_path {config.checkpoint_path} is NOT used, because "
                f"{checkpoints.train_dir} holds a run that goes on. Give another --train_dir to "
                "start from it."
            )
    elif config.checkpoint_path:
        report = restore_network(
            state.network_fn,
            config.checkpoint_path,
            exclude_scopes=config.checkpoint_exclude_scopes,
            ignore_missing=config.ignore_missing_vars,
            skip_other_head=True,
            use_moving_average=True,
        )
        state.start_averages()
        print(report)


# --------------------------------------------------------------- what the run says


def _announcement(
    config: TrainingConfig,
    state: TrainingState,
    description: ModelDescription,
    dataset: ImageDataset,
) -> str:
    preprocessing = description.preprocessing_name
    if config.dataset_statistics:
        preprocessing += f", statistics of {dataset_of_statistics(config.dataset_statistics)}"
    elif description.preprocessing_options and not config.preprocessing_options:
        preprocessing += " with the options of --checkpoint_path"
    validation = "no validation"
    if description.validation_split_name:
        validation = f"validation on {description.validation_split_name}"
    parameters = state.network_fn.model.count_params()
    return (
        f"{description.model_name}: {parameters:,} parameters "
        f"({state.num_trainable_parameters():,} trained), "
        f"{description.image_size}x{description.image_size} pixels, "
        f"{config.mixed_precision}, preprocessing {preprocessing}\n"
        f"{description.dataset_name}: {dataset.num_examples:,} images of "
        f"{len(description.class_names)} classes in {dataset.split}; {validation}"
    )


def _settings_of_the_network(config: TrainingConfig) -> str:
    """The flags that the network has values of its own for, as a line; empty without any."""
    own = nets_factory.networks[config.model_name].hyperparameters
    values = {name: getattr(config, name) for name in own}
    shown = " ".join(
        f"--{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.items()
    )
    return f"\nwith {shown}" if shown else ""


def _conclude(
    config: TrainingConfig,
    checkpoints: RunCheckpoints,
    result: EvaluationResult | None,
    left_out: int,
    is_chief: bool,
) -> str:
    """Says how the run ended and what comes next; returns the last checkpoint."""
    last, best = checkpoints.last() or "", checkpoints.best()
    if not is_chief:
        return last
    if left_out:
        why = evaluation.why_left_out(config.skip_corrupt_images)
        print(f"{left_out:,} times images were left out: {why}.")
    if result is not None:
        print(f"Done: {result}.")
    if best:
        print(f"Best validation top-1: {checkpoints.best_top_1:.2%}, {best}")
    print(f"Last checkpoint: {last}")
    print("Next:")
    path = f"--checkpoint_path={shlex.quote(os.path.dirname(best or last))}"
    for driver in ("eval_image_classifier", "export_saved_model"):
        command = f"{program.beside_this_program(driver)} {path}"
        if driver == "eval_image_classifier" and not best:
            command += " --dataset_split_name=SPLIT"
        print(f"  {command}")
    return last


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
