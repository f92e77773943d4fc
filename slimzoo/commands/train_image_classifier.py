"""Trains a network on a dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import shlex
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from slimzoo import program, run_agreement, run_folder, run_messages
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import flag_lines, settings
from slimzoo.interruption import signals_noted
from slimzoo_registry import import_modules
from training import devices, evaluation, input_errors, input_pipeline
from training.checkpoints.description import ModelDescription
from training.checkpoints.finding import latest_checkpoint
from training.checkpoints.mismatch import BY_FLAGS_WITH_SCOPES
from training.checkpoints.restoring import restore_network
from training.checkpoints.saving import RunCheckpoints
from training.evaluation import EvaluationResult, Evaluator
from training.evaluation_report import PAGE_NAME
from training.export.export_record import outdated
from training.forecast import Forecast, RunPlan
from training.hosts.agreement import Agreement
from training.hosts.cluster import ClusterSettings
from training.hosts.cooperation import working_together
from training.hybrid.hybrid_network import check_has_stages
from training.hybrid.hybrid_step import make_train_step
from training.hybrid.schemes import HybridSettings, check_hybrid
from training.input_pipeline import Example
from training.learning_rates import (
    DIVERGENCE_FACTOR,
    LearningRate,
    LearningRateSettings,
    LearningRateState,
    decay_types,
)
from training.normalization import NormalizationSettings
from training.optimizers import OptimizerSettings, optimizers
from training.progress import Progress
from training.reporting import Reporter
from training.several_steps import SeveralSteps
from training.storage.locks import locked
from training.storage.whole_files import write_text
from training.train_step import DTYPE_POLICIES
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
      ConnectionError: if another host went away.
      KeyboardInterrupt: if the user interrupts the run (SIGINT, SIGTERM), after the step at hand
        has been finished and saved.
    """
    strategy = devices.make_strategy(
        config.distribution_strategy, config.num_replicas, settings(ClusterSettings, config)
    )
    devices.per_replica_batch_size(config.batch_size, strategy)
    hybrid = _hybrid_settings(config)
    if hybrid is not None:
        check_hybrid(
            hybrid, config.batch_size, strategy.num_replicas_in_sync, config.clip_global_norm
        )
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
    train_dir = run_folder.make_train_dir(config)
    run = _Run(strategy, dataset, validation, description, train_dir, hybrid)
    with locked(train_dir) if run.is_chief else contextlib.nullcontext():
        try:
            run_folder.fill_train_dir(train_dir, pipeline, description)
            with working_together(strategy, lambda: latest_checkpoint(train_dir)):
                return _train(config, run)
        finally:
            if run.is_chief:
                with contextlib.suppress(OSError):
                    os.rmdir(train_dir)  # if nothing has come into it


class _Run(NamedTuple):
    """What has been looked up, checked and prepared before anything is built."""

    strategy: tf.distribute.Strategy
    dataset: ImageDataset
    validation: ImageDataset | None
    description: ModelDescription
    train_dir: str
    hybrid: HybridSettings | None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes: hosts share train_dir, all read it, one writes."""
        return devices.is_chief(self.strategy)


def _train(config: TrainingConfig, run: _Run) -> str:
    """Builds what a run needs, takes up what train_dir holds, and trains to the last step."""
    run_agreement.check_flags(run.strategy, config)
    steps_per_epoch = run.dataset.num_examples / config.batch_size
    state = _make_state(config, run)
    progress = Progress(
        run.dataset.num_examples,
        run.dataset.fingerprint,
        batch_size_before=run_folder.batch_size_before(run.train_dir) or config.batch_size,
    )
    rate_state = LearningRateState()
    checkpoints = RunCheckpoints(
        run.train_dir,
        **state.variables_to_save(),
        learning_rate=rate_state.plateau,
        added={
            "progress": progress.variable,
            "validated": progress.validated,
            "divergences": rate_state.divergences,
        },
        keep=config.keep_checkpoints,
        writes=run.is_chief,
    )
    _restore(config, state, progress, checkpoints)
    if times := int(rate_state.divergences):
        factor = DIVERGENCE_FACTOR**times
        print(
            f"It has diverged {times:,} times; all learning rates are multiplied by {factor:.3g}."
        )
    first_step, place = int(state.step), progress.num_taken / config.batch_size
    num_steps = _num_steps(config, steps_per_epoch, first_step, place)
    learning_rate = LearningRate(
        settings(LearningRateSettings, config),
        steps_per_epoch,
        # In batches of today's size, of which the run so far may be another number.
        max(place + num_steps - first_step, 1),
        rate_state,
    )
    run_agreement.check_start(
        run.strategy,
        num_steps=num_steps,
        first_step=first_step,
        dataset=run.dataset,
        validation=run.validation,
    )
    preprocessing = run.description.make_preprocessing(run.train_dir, config.augment)
    step = make_train_step(
        state,
        preprocessing,
        run.strategy,
        run.hybrid,
        batch_size=config.batch_size,
        label_smoothing=config.label_smoothing,
        moving_average_decay=config.moving_average_decay or 0.0,
        seed=config.seed,
    )
    together = config.steps_per_call
    loop = TrainingLoop(
        state,
        step,
        learning_rate,
        progress,
        checkpoints,
        LoopSettings(
            batch_size=config.batch_size,
            steps_per_epoch=steps_per_epoch,
            num_steps=num_steps,
            validation_interval_epochs=config.validation_interval_epochs,
            save_interval_secs=config.save_interval_secs,
            log_every_n_steps=config.log_every_n_steps,
            max_nan_restarts=config.max_nan_restarts,
        ),
        validate=_make_validation(config, run, state),
        agreement=Agreement(run.strategy),
        several_steps=SeveralSteps(step, run.strategy, together) if together > 1 else None,
    )
    if run.is_chief and not (loop.is_finished() and run_folder.is_described(run.train_dir)):
        run.description.save(run.train_dir)
        write_text(os.path.join(run.train_dir, run_folder.FLAGS_NAME), flag_lines(config))
    if loop.is_finished():
        print(
            run_messages.nothing_to_do(
                config, progress, steps_per_epoch, first_step, num_steps, rate_state
            )
        )
        return _conclude(config, checkpoints, None, 0, run.is_chief)
    datasets = (run.dataset, run.validation)
    print(
        run_messages.announcement(
            config,
            run.description,
            *datasets,
            state,
            first_step=first_step,
            num_steps=num_steps,
            num_replicas=run.strategy.num_replicas_in_sync,
            train_dir=run.train_dir,
        ),
        flush=True,
    )
    for warning in run_messages.warnings(run.description, *datasets, checkpoints):
        print(f"WARNING: {warning}", flush=True)
    notes = (
        run_messages.large_batch(
            config.batch_size, run.dataset.num_examples, run.strategy.num_replicas_in_sync
        ),
        run_messages.slow_number_type(config.mixed_precision),
    )
    for note in filter(None, notes):
        print(note, flush=True)
    num_epochs = (num_steps - first_step) / steps_per_epoch
    plan = RunPlan(
        train_dir=run.train_dir,
        first_step=first_step,
        num_steps=num_steps,
        batch_size=config.batch_size,
        steps_per_epoch=steps_per_epoch,
        num_validations=num_epochs / config.validation_interval_epochs,
        num_validation_images=run.validation.num_examples if run.validation else 0,
        num_bytes=(config.keep_checkpoints + bool(run.validation)) * checkpoints.num_bytes(),
        ends_by_steps=bool(config.max_number_of_steps),
    )
    with (
        Reporter(
            run.train_dir,
            first_step,
            num_steps,
            config.batch_size,
            silent=not run.is_chief,
            forecast=Forecast(plan),
        ) as reporter,
        signals_noted() as signals,
    ):
        try:
            result = loop.run(
                functools.partial(_make_batches, config, run, preprocessing, progress),
                reporter,
                stop_requested=lambda: bool(signals),
            )
        except input_errors.InputError as error:
            explained = input_errors.explained(error, run.dataset, config.max_image_pixels)
            if isinstance(explained, ValueError) and int(state.step):
                saved = f"The run is saved at step {int(state.step):,}; the same command continues."
                explained = ValueError(f"{explained} {saved}")
            raise explained from error.__cause__
    return _conclude(config, checkpoints, result, loop.left_out, run.is_chief, loop.unread)


def _num_steps(
    config: TrainingConfig, steps_per_epoch: float, first_step: int, place: float
) -> int:
    """The step that the run ends with, where `place` is how many batches it amounts to so far."""
    if config.max_number_of_steps:
        return config.max_number_of_steps
    left = max(1, round(config.num_epochs * steps_per_epoch)) - place
    # A half is rounded up at whatever step a run is taken up.
    return first_step + max(0, math.floor(left + 0.5))


# ------------------------------------------------------------------ parts of a run


def _make_state(config: TrainingConfig, run: _Run) -> TrainingState:
    build = functools.partial(
        run.description.build,
        dtype_policy=DTYPE_POLICIES[config.mixed_precision],
        is_training=True,
    )
    return make_training_state(
        build,
        settings(OptimizerSettings, config),
        run.strategy,
        trainable_scopes=config.trainable_scopes,
        keep_averages=bool(config.moving_average_decay),
        normalization=settings(NormalizationSettings, config),
        hybrid=run.hybrid,
    )


def _hybrid_settings(config: TrainingConfig) -> HybridSettings | None:
    """None with another strategy, which its flags then have no meaning for."""
    given = settings(HybridSettings, config)
    if config.distribution_strategy == "hybrid":
        return given
    for field in dataclasses.fields(HybridSettings):
        if getattr(given, field.name) != field.default:
            raise ValueError(
                f"--{field.name} is for --distribution_strategy=hybrid, and here that is "
                f"{config.distribution_strategy}: leave out the first, or give the second too."
            )
    return None


def _make_validation(
    config: TrainingConfig, run: _Run, state: TrainingState
) -> Callable[[], EvaluationResult] | None:
    if run.validation is None:
        return None
    return Evaluator(
        state.network_fn,
        run.description.make_preprocessing(run.train_dir, is_training=False),
        run.validation,
        run.strategy,
        batch_size=config.batch_size,
        image_size=run.description.image_size,
        labels_offset=config.labels_offset,
        skip_corrupt_images=config.skip_corrupt_images,
        max_image_pixels=config.max_image_pixels,
    ).run


def _make_batches(
    config: TrainingConfig, run: _Run, preprocessing: Preprocessing, progress: Progress
) -> Iterator[Example]:
    batches = input_pipeline.training_batches(
        run.dataset,
        preprocessing,
        batch_size=config.batch_size,
        image_size=run.description.image_size,
        seed=config.seed,
        start=progress.place,
        labels_offset=config.labels_offset,
        shuffle_buffer_size=config.shuffle_buffer_size,
        skip_corrupt_images=config.skip_corrupt_images,
        max_image_pixels=config.max_image_pixels,
    )
    return input_errors.marked(run.strategy.experimental_distribute_dataset(batches))


# ------------------------------------------------------------------- before the run


def check_names(config: TrainingConfig) -> None:
    """Looks up every name, before a dataset is prepared, which can take long.

    Raises:
      ValueError: naming what exists.
    """
    network = nets_factory.networks[config.model_name]
    if config.distribution_strategy == "hybrid":
        check_has_stages(network.name, network.convolutions_end)
    name = config.preprocessing_name or network.preprocessing_name
    preprocessing_factory.PREPROCESSINGS[preprocessing_factory.pipeline_name(name)]
    optimizers[config.optimizer]
    decay_types[config.learning_rate_decay_type]
    run_folder.published_weights(config)


def _validation_dataset(config: TrainingConfig) -> ImageDataset | None:
    """What to validate on while training; None if there is no such split, or none is wanted."""
    split = config.validation_split_name or dataset_factory.default_validation_split(
        config.dataset_name, config.dataset_dir
    )
    if split is None or split == "none":
        if config.learning_rate_decay_type == "plateau":
            raise ValueError(
                "--learning_rate_decay_type=plateau follows the validation error, but there is no "
                "validation: give --validation_split_name."
            )
        return None
    return dataset_factory.get_dataset(config.dataset_name, split, config.dataset_dir)


def _restore(
    config: TrainingConfig, state: TrainingState, progress: Progress, checkpoints: RunCheckpoints
) -> None:
    """Takes up the run that train_dir holds, or starts from the weights of --checkpoint_path."""
    if resumed := checkpoints.resume(config.on_damaged_checkpoint):
        changed_data, epoch = progress.take_up(int(state.step), resumed.lacks)
        said = [
            f"Resuming from {resumed.checkpoint}, epoch {epoch:.2f}.",
            run_folder.changed_flags(config, checkpoints.train_dir),
            changed_data,
        ]
        print(" ".join(filter(None, said)))
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
            remedies=BY_FLAGS_WITH_SCOPES,
        )
        state.start_averages()
        print(report)


# --------------------------------------------------------------- what the run says


def _conclude(
    config: TrainingConfig,
    checkpoints: RunCheckpoints,
    result: EvaluationResult | None,
    left_out: int,
    is_chief: bool,
    unread: int = 0,
) -> str:
    """Says how the run ended and what comes next; returns the last checkpoint."""
    last, best = checkpoints.last() or "", checkpoints.best()
    if not is_chief:
        return last
    if left_out:
        why = evaluation.why_left_out(config.skip_corrupt_images, left_out, unread)
        how_often = "An image was left out once"
        if left_out > 1:
            how_often = f"Images were left out {left_out:,} times"
        print(f"{how_often}: {why}.")
    if result is not None:
        print(f"Done: {result}.")
    if best:
        print(f"Best validation top-1: {checkpoints.best_top_1:.2%}, {best}")
    if result is not None:
        top_1 = max(result.top_1, checkpoints.best_top_1 or 0)
        if note := run_messages.nothing_learned(
            result, top_1, has_trained_weights=bool(config.checkpoint_path)
        ):
            print(note)
    print(f"Last checkpoint: {last}")
    earlier = outdated(best or last)
    notes = earlier.lines(best or last)
    if best:
        notes += outdated(last).lines(last)
    print("\n".join([*notes, "Next:"]))
    path = f"--checkpoint_path={shlex.quote(os.path.dirname(best or last))}{config.modules_flag()}"
    trained_split = "" if best else _split_without_another(config)
    for driver in ("eval_image_classifier", "export_saved_model"):
        command = f"{program.beside_this_program(driver)} {path}"
        if driver == "eval_image_classifier":
            if trained_split:
                command += f" --dataset_split_name={shlex.quote(trained_split)}"
            command += " --skip_corrupt_images" if config.skip_corrupt_images else ""
        if driver == "export_saved_model" and any(
            record.format == "saved_model" for record in earlier.exports.values()
        ):
            command += " --overwrite"
        print(f"  {command}")
    folder = os.path.join(os.path.dirname(best or last), "evaluation")
    print(f"The first writes a report: {os.path.join(folder, PAGE_NAME)}")
    if trained_split:
        print(
            f"It is of images that were trained on, as there is no split but {trained_split}: "
            "others, in a folder of their own, tell more (--dataset_dir)."
        )
    return last


def _split_without_another(config: TrainingConfig) -> str:
    """The split that is trained on, if evaluation finds no other by itself; else empty."""
    is_known = config.validation_split_name not in (None, "none")
    if is_known or dataset_factory.default_validation_split(
        config.dataset_name, config.dataset_dir
    ):
        return ""
    return config.dataset_split_name
