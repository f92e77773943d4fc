"""The training loop: the same code for one device, several, and several hosts."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets.nets_factory import NetworkFn, networks
from slimzoo import program
from slimzoo.commands import run_setup
from slimzoo.configuration import TrainingConfig
from slimzoo.interruption import signals_noted
from training import devices, evaluation, input_pipeline
from training.checkpoints import run_directory
from training.checkpoints.run_directory import CHECKPOINT_NAME, ModelDescription
from training.checkpoints.trained_model import import_modules
from training.dataset_preparation.pixel_statistics import dataset_of_statistics
from training.evaluation import EvaluationResult, Evaluator
from training.input_pipeline import Example
from training.learning_rates import LearningRate
from training.optimizers import is_weight, make_optimizer
from training.reporting import Reporter
from training.train_step import DTYPE_POLICIES, TrainStep
from training.variable_factors import VariableFactors


def train(config: TrainingConfig) -> str:
    """Runs the training driver: trains a network, or goes on where a run was stopped.

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
    import_modules(config.network_module)
    run_setup.check_names(config)
    config = config.with_defaults(networks[config.model_name].hyperparameters)
    keras.utils.set_random_seed(config.seed)
    dataset = dataset_factory.get_dataset(
        config.dataset_name, config.dataset_split_name, config.dataset_dir
    )
    validation = run_setup.validation_dataset(config)
    if config.cache:
        dataset, validation = dataset.cached(), validation and validation.cached()
    pipeline = run_setup.choose_run_pipeline(config)
    description = run_setup.describe(config, pipeline, dataset, validation)
    train_dir = run_setup.prepare_train_dir(config, pipeline, description)
    return Trainer(config, strategy, dataset, validation, description, train_dir).run()


class Trainer:
    """A network, its optimizer and its data, ready to train.

    Args:
      config: how to train.
      strategy: the devices that share the work.
      dataset: to train on.
      validation_dataset: to validate on; None does not.
      description: of the network.
      train_dir: an existing folder; a run in it is resumed.
    """

    def __init__(
        self,
        config: TrainingConfig,
        strategy: tf.distribute.Strategy,
        dataset: ImageDataset,
        validation_dataset: ImageDataset | None,
        description: ModelDescription,
        train_dir: str,
    ):
        self._config = config
        self._strategy = strategy
        # Hosts share train_dir: all read it, one writes.
        self._is_chief = devices.is_chief(strategy)
        self._dataset = dataset
        self._description = description
        self._train_dir = train_dir
        self._steps_per_epoch = dataset.num_examples / config.batch_size
        self._num_steps = config.max_number_of_steps or max(
            1, round(config.num_epochs * self._steps_per_epoch)
        )
        self._learning_rate = LearningRate(config, self._steps_per_epoch, self._num_steps)
        self._train_preprocessing = description.make_preprocessing(train_dir, config.augment)
        with strategy.scope():
            self.network_fn = description.build(
                dtype_policy=DTYPE_POLICIES[config.mixed_precision], is_training=True
            )
            _check_one_row_an_image(self.network_fn)
            trainable = self._select_trainable()
            self._trainable = list(trainable.values())
            known = self.network_fn.variables
            self._rate_factors = VariableFactors(
                "learning_rate_factors", config.learning_rate_factors, trainable, known
            )
            decaying = [name for name, variable in known.items() if is_weight(variable.value)]
            decay_factors = VariableFactors(
                "weight_decay_factors", config.weight_decay_factors, trainable, decaying, False
            )
            # On the devices, because they can change while the step does not.
            self._rate_factors_now = (
                tf.Variable(self._rate_factors.at(0), trainable=False, dtype=tf.float32)
                if self._rate_factors
                else None
            )
            self.optimizer = make_optimizer(config, decay_factors.at(0), self._rate_factors_now)
            self.optimizer.build(self._trainable)
            self._averages = (
                {
                    name: tf.Variable(variable.value, trainable=False)
                    for name, variable in self.network_fn.variables.items()
                }
                if config.moving_average_decay
                else {}
            )
        if config.learning_rate_decay_type == "plateau" and validation_dataset is None:
            raise ValueError(
                "--learning_rate_decay_type=plateau follows the validation error, but there is no "
                "validation: give --validation_split_name."
            )
        self._train_step = TrainStep(
            config,
            strategy,
            self.network_fn,
            self._trainable,
            self.optimizer,
            self._train_preprocessing,
            self._averages,
        )
        self._evaluator = None
        if validation_dataset is not None:
            self._evaluator = Evaluator(
                self.network_fn,
                description.make_preprocessing(train_dir, is_training=False),
                validation_dataset,
                strategy,
                batch_size=config.batch_size,
                image_size=description.image_size,
                labels_offset=config.labels_offset,
                skip_corrupt_images=config.skip_corrupt_images,
            )
        with tf.device("CPU:0"):
            self._step = tf.Variable(0, dtype=tf.int64, name="step")
            self._best_top_1 = tf.Variable(-1.0, dtype=tf.float64, name="best_top_1")
        self._checkpoint = tf.train.Checkpoint(
            step=self._step,
            best_top_1=self._best_top_1,
            learning_rate=self._learning_rate.state,
            network=run_directory.tensorflow_variables(self.network_fn.variables),
            averages=self._averages,
            optimizer=run_directory.tensorflow_variables(
                {variable.path: variable for variable in self.optimizer.variables}
            ),
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            train_dir,
            max_to_keep=config.keep_checkpoints,
            checkpoint_name=CHECKPOINT_NAME,
        )
        self._best_manager = tf.train.CheckpointManager(
            self._checkpoint,
            os.path.join(train_dir, "best"),
            max_to_keep=1,
            checkpoint_name=CHECKPOINT_NAME,
        )
        self._left_out = 0
        self._pending: list[dict[str, tf.Tensor]] = []

    def run(self) -> str:
        """Trains to the last step; see `train`."""
        self._restore()
        if self._is_chief:
            self._description.save(self._train_dir)
            flags_path = os.path.join(self._train_dir, "flags.txt")
            run_directory.write_text(flags_path, program.flag_lines(self._config))
        first_step = int(self._step)
        if first_step >= self._num_steps:
            print(f"This run has taken {first_step:,} of {self._num_steps:,} steps; nothing to do.")
            return self._conclude(None)
        self._announce(first_step)
        batches = iter(self._batches(first_step))
        validate_every = max(
            1, round(self._config.validation_interval_epochs * self._steps_per_epoch)
        )
        last_save = time.perf_counter()
        result = None
        with (
            Reporter(
                self._train_dir,
                first_step,
                self._num_steps,
                self._steps_per_epoch,
                self._config.batch_size,
                silent=not self._is_chief,
            ) as reporter,
            signals_noted() as signals,
        ):
            for step in range(first_step + 1, self._num_steps + 1):
                rate = self._learning_rate(step - 1)
                if len(self._pending) > 1:
                    # A GPU is given one step ahead. With more, waiting for it would look like
                    # waiting for the input.
                    self._pending[-2]["loss"].numpy()
                started = time.perf_counter()
                batch = self._next(batches)
                reporter.waited(time.perf_counter() - started)
                self._train_on(batch, rate)
                self._step.assign(step)
                reporter.step()
                is_last = step == self._num_steps
                # One that the last step's would follow at once is left to it.
                is_due = (
                    step % validate_every == 0 and 2 * (self._num_steps - step) >= validate_every
                )
                is_validation = self._evaluator is not None and (is_due or is_last)
                is_save = time.perf_counter() - last_save > self._config.save_interval_secs
                if step % self._config.log_every_n_steps == 0 or is_validation or is_last:
                    self._report(reporter, step, rate)
                if is_validation or is_save or is_last or signals:
                    started = time.perf_counter()
                    if is_validation:
                        result = self._validate(reporter, step)
                    self._save_with(self._manager)
                    last_save = time.perf_counter()
                    reporter.paused(last_save - started)
                if signals and not is_last:
                    raise KeyboardInterrupt(
                        f"Interrupted and saved at step {step:,}. The same command goes on."
                    )
        return self._conclude(result)

    def _next(self, batches: Iterator[Example]) -> Example:
        try:
            return next(batches)
        except tf.errors.InvalidArgumentError as error:
            if int(self._step):
                self._save_with(self._manager)  # so that nothing is lost
            raise evaluation.corrupt_image_error(self._dataset, error) from error

    def _batches(self, start_step: int) -> Any:
        batches = input_pipeline.training_batches(
            self._dataset,
            self._train_preprocessing,
            batch_size=self._config.batch_size,
            image_size=self._description.image_size,
            seed=self._config.seed,
            start_step=start_step,
            labels_offset=self._config.labels_offset,
            shuffle_buffer_size=self._config.shuffle_buffer_size,
            skip_corrupt_images=self._config.skip_corrupt_images,
        )
        return self._strategy.experimental_distribute_dataset(batches)

    def _train_on(self, batch: Example, rate: float) -> None:
        if self._rate_factors_now is not None:
            epoch = int(self._step) / self._steps_per_epoch
            self._rate_factors_now.assign(self._rate_factors.at(epoch))
        step = tf.cast(self._step, tf.int32)
        self._pending.append(self._train_step(batch, tf.constant(rate), step))

    # ------------------------------------------------- reports, validation, saving

    def _report(self, reporter: Reporter, step: int, rate: float) -> None:
        totals = {
            key: sum(float(outcome[key]) for outcome in self._pending)
            for key in ("loss", "right", "counted")
        }
        self._left_out += len(self._pending) * self._config.batch_size - round(totals["counted"])
        self._pending.clear()
        loss = totals["loss"] / max(totals["counted"], 1)
        if not np.isfinite(loss):
            raise ValueError(self._divergence(step, rate))
        reporter.train_metrics(step, loss, totals["right"] / max(totals["counted"], 1), rate)

    def _validate(self, reporter: Reporter, step: int) -> EvaluationResult:
        assert self._evaluator is not None
        with self._averages_in_place():
            result = self._evaluator.run()
        reporter.validation_metrics(step, result.as_json())
        reporter.say(
            f"step {step:,}, epoch {step / self._steps_per_epoch:.1f}: validation {result}"
        )
        if self._learning_rate.observe(1 - result.top_1):
            reporter.say(f"step {step:,}: no better for a while, the learning rate is lowered.")
        if result.top_1 > float(self._best_top_1):
            self._best_top_1.assign(result.top_1)
            self._save_with(self._best_manager)
        return result

    def _save_with(self, manager: tf.train.CheckpointManager) -> None:
        step = int(self._step)
        if not run_directory.all_finite(self.network_fn.variables):
            raise ValueError(self._divergence(step, self._learning_rate(step)))
        if self._is_chief:
            try:
                manager.save(step)
            except tf.errors.ResourceExhaustedError as error:
                raise ValueError(self._disk_full(step)) from error

    def _disk_full(self, step: int) -> str:
        parameters = sum(int(np.prod(v.shape)) for v in self.network_fn.variables.values())
        slots = sum(int(np.prod(v.shape)) for v in self.optimizer.variables)
        averages = parameters if self._averages else 0
        megabytes = (parameters + slots + averages) * 4 / 1e6
        last = run_directory.latest_checkpoint(self._train_dir)
        return (
            f"The checkpoint of step {step:,} could not be written: no space is left in "
            f"{self._train_dir}. One takes {megabytes:,.0f} MB, and --keep_checkpoints="
            f"{self._config.keep_checkpoints} of them are kept besides the best. "
            f"The last complete one is {last}. Free some space; the same command goes on from it."
        )

    def _divergence(self, step: int, rate: float) -> str:
        last = run_directory.latest_checkpoint(self._train_dir)
        kept = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
        return (
            f"At step {step:,} the loss is not a number any more: training diverged at the "
            f"learning rate {rate:.3g}. {kept} Try a lower --learning_rate or --warmup_epochs."
        )

    @contextlib.contextmanager
    def _averages_in_place(self) -> Iterator[None]:
        """Lets the network run with the moving averages of its weights, if they are kept."""
        variables = self.network_fn.variables
        trained = {name: variables[name].numpy() for name in self._averages}
        try:
            for name, average in self._averages.items():
                variables[name].assign(average)
            yield
        finally:
            for name, value in trained.items():
                variables[name].assign(value)

    # --------------------------------------------------------- beginning and end

    def _restore(self) -> None:
        latest = run_directory.latest_checkpoint(self._train_dir)
        config = self._config
        if latest:
            with run_directory.damage_explained(latest):
                self._checkpoint.restore(latest).assert_consumed()
            print(f"Resuming from {latest}. {run_setup.changed_flags(config, self._train_dir)}")
            if config.checkpoint_path:
                print(
                    f"WARNING: --checkpoint_path {config.checkpoint_path} is NOT used, because "
                    f"{self._train_dir} holds a run that goes on. Give another --train_dir to "
                    "start from it."
                )
            return
        if config.checkpoint_path:
            report = run_directory.restore_network(
                self.network_fn,
                config.checkpoint_path,
                exclude_scopes=config.checkpoint_exclude_scopes,
                ignore_missing=config.ignore_missing_vars,
                skip_other_head=True,
                use_moving_average=True,
            )
            for name, average in self._averages.items():
                average.assign(self.network_fn.variables[name].value)
            print(report)

    def _select_trainable(self) -> dict[str, keras.Variable]:
        variables = self.network_fn.variables
        scopes = self._config.trainable_scopes
        names = (
            run_directory.select_scopes("trainable_scopes", variables, scopes)
            if scopes
            else list(variables)
        )
        return {name: variables[name] for name in names if variables[name].trainable}

    def _announce(self, first_step: int) -> None:
        description, config = self._description, self._config
        replicas = self._strategy.num_replicas_in_sync
        trainable = sum(int(np.prod(variable.shape)) for variable in self._trainable)
        validation = "no validation"
        if self._evaluator is not None:
            validation = f"validation on {description.validation_split_name}"
        preprocessing = description.preprocessing_name
        if config.dataset_statistics:
            preprocessing += f", statistics of {dataset_of_statistics(config.dataset_statistics)}"
        elif description.preprocessing_options and not config.preprocessing_options:
            preprocessing += " with the options of --checkpoint_path"
        settings = ""
        if own := networks[description.model_name].hyperparameters:
            values = {name: getattr(config, name) for name in own}
            settings = "\nwith " + " ".join(
                f"--{name}={','.join(value) if isinstance(value, list) else value}"
                for name, value in values.items()
            )
        print(
            f"{description.model_name}: {self.network_fn.model.count_params():,} parameters "
            f"({trainable:,} trained), {description.image_size}x{description.image_size} pixels, "
            f"{config.mixed_precision}, preprocessing {preprocessing}\n"
            f"{description.dataset_name}: {self._dataset.num_examples:,} images of "
            f"{len(description.class_names)} classes in {self._dataset.split}; {validation}\n"
            f"steps {first_step:,} to {self._num_steps:,} of {config.batch_size} images on "
            f"{replicas} replica{'s' if replicas > 1 else ''}; train_dir {self._train_dir}"
            f"{settings}",
            flush=True,
        )

    def _conclude(self, result: EvaluationResult | None) -> str:
        checkpoint = run_directory.latest_checkpoint(self._train_dir) or ""
        best = run_directory.latest_checkpoint(os.path.join(self._train_dir, "best"))
        if not self._is_chief:
            return checkpoint
        if self._left_out:
            why = evaluation.why_left_out(self._config.skip_corrupt_images)
            print(f"{self._left_out:,} times images were left out: {why}.")
        if result is not None:
            print(f"Done: {result}.")
        if best:
            print(f"Best validation top-1: {float(self._best_top_1):.2%}, {best}")
        print(f"Last checkpoint: {checkpoint}")
        print("Next:")
        flag = f"--checkpoint_path={shlex.quote(os.path.dirname(best or checkpoint))}"
        for driver in ("eval_image_classifier", "export_saved_model"):
            command = f"{program.beside_this_program(driver)} {flag}"
            if driver == "eval_image_classifier" and self._evaluator is None:
                command += " --dataset_split_name=SPLIT"
            print(f"  {command}")
        return checkpoint


def _check_one_row_an_image(network_fn: NetworkFn) -> None:
    if len(network_fn.model.output_shape) != 2:
        raise ValueError(
            f"{network_fn.name} gives a map of logits with these --network_options, and a "
            "classifier needs one row an image: leave out spatial_squeeze=False, or add "
            "global_pool=True for images that are larger than the network's own."
        )
