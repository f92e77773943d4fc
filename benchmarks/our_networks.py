"""slimzoo's own training step and forward pass, as contenders."""

from __future__ import annotations

from collections.abc import Sequence

from slimzoo import environment

environment.set_up()  # as the commands do, before TensorFlow is imported

# isort: split
import contextlib
import math
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from kernel_classes import read_events, summarize
from nets import nets_factory
from nets.device_forms import traced_for
from nets.nets_factory import NetworkFn
from network_costs import count_costs
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.hybrid.hybrid_step import make_train_step
from training.hybrid.schemes import HybridSettings
from training.input_pipeline import Example
from training.optimizers import OptimizerSettings
from training.several_steps import SeveralSteps
from training.train_step import DTYPE_POLICIES, TrainStep
from training.training_state import make_training_state
from workloads import LeftOutError, Repetition, Workload


class CompiledTrainStep(TrainStep):
    """`TrainStep`, of which XLA makes one program: all that a replica does."""

    @tf.function(jit_compile=True, autograph=False)
    def _replica_step(self, batch: Example, step: tf.Tensor) -> dict[str, tf.Tensor]:
        return super()._replica_step(batch, step)


class Trainer:
    """A network with all that its training step needs.

    Args:
      model: a registered network.
      precision: float32, bfloat16 or float16.
      batch_size: images a step, of all devices.
      form: of the layers, CPU or GPU; None is that of the device which takes the step.
      xla: whether XLA compiles the whole step, on one device.
      num_replicas: devices.
      hybrid_scheme: a, b or c of `hybrid`; None is `mirrored`.
      steps_per_call: how many batches `take_steps` gets.

    Raises:
      ValueError: if XLA is to compile a step that is not of one device.

    Attributes:
      network_fn: the network.
      preprocessing: its own, for training.
      strategy: of the devices.
    """

    def __init__(
        self,
        model: str,
        precision: str,
        batch_size: int,
        form: str | None = None,
        xla: bool = False,
        num_replicas: int = 1,
        hybrid_scheme: str | None = None,
        steps_per_call: int = 1,
    ):
        if xla and (hybrid_scheme or num_replicas > 1):
            raise ValueError("XLA compiles the whole step of one device.")
        hybrid = HybridSettings(hybrid_scheme=hybrid_scheme) if hybrid_scheme else None
        self.strategy = devices.make_strategy("hybrid" if hybrid else "mirrored", num_replicas)
        state = make_training_state(
            lambda: nets_factory.get_network_fn(model, dtype_policy=DTYPE_POLICIES[precision]),
            OptimizerSettings(**nets_factory.networks[model].hyperparameters),
            self.strategy,
            hybrid=hybrid,
        )
        self.network_fn = state.network_fn
        self.preprocessing = get_preprocessing(self.network_fn.preprocessing_name, is_training=True)
        self._batch_size = batch_size
        arguments = (state, self.preprocessing, self.strategy)
        self._step: TrainStep = (
            CompiledTrainStep(*arguments, batch_size=batch_size)
            if xla
            else make_train_step(*arguments, hybrid, batch_size=batch_size)
        )
        self._several = SeveralSteps(self._step, self.strategy, steps_per_call)
        self._form = form
        self._rate = tf.constant(1e-4)
        self._loss = tf.zeros([])

    def take_step(self, batch: Example) -> None:
        """Takes a step, without waiting for a GPU to finish it."""
        # The first call traces.
        with traced_for(self._form) if self._form else contextlib.nullcontext():
            self._loss = self._step(batch, self._rate, tf.constant(0))["loss"]

    def take_steps(self, batches: Sequence[Example]) -> None:
        """Takes `steps_per_call` steps in one call, as the training loop does if told to."""
        rates = tf.fill([len(batches)], self._rate)
        with traced_for(self._form) if self._form else contextlib.nullcontext():
            self._loss = self._several(batches, rates, tf.constant(0))["loss"][-1]

    def finish(self) -> None:
        """Waits until every step has been taken."""
        float(self._loss)

    def synthetic_batch(self) -> Example:
        """One random image, batch_size times, as the input pipeline would give it."""
        size = self.network_fn.default_image_size
        generator = np.random.default_rng(0)
        pixels = generator.integers(0, 256, [size, size, 3], np.uint8)
        example = self.preprocessing.host(pixels, size, size, seed=[0, 0])
        labels = generator.integers(0, self.network_fn.num_classes, self._batch_size)
        return {
            **{
                key: tf.repeat(value[tf.newaxis], self._batch_size, 0)
                for key, value in example.items()
            },
            "label": tf.constant(labels),
            "weight": tf.ones([self._batch_size]),
        }


def training_step(
    model: str,
    precision: str,
    batch_size: int,
    steps: int,
    form: str | None = None,
    xla: bool = False,
    layout_optimizer: bool = True,
    needs_gpu: bool = False,
    num_replicas: int = 1,
    hybrid_scheme: str | None = None,
    steps_per_call: int = 1,
) -> Workload:
    """Whole steps: device half of the preprocessing, forward, backward, update.

    Args:
      model: a registered network.
      precision: float32, bfloat16 or float16.
      batch_size: images a step, of all devices.
      steps: that a run does not interrupt.
      form: of the layers, CPU or GPU; None is that of the device which takes the step.
      xla: whether XLA compiles the whole step.
      layout_optimizer: whether TensorFlow may change the layout of convolutions on a GPU.
      num_replicas: devices.
      hybrid_scheme: a, b or c of `hybrid`; None is `mirrored`.
      needs_gpu: whether it is left out where TensorFlow sees none.
      steps_per_call: how many of the steps Python asks for at once; divides `steps`.

    Raises:
      LeftOutError: if so.
      ValueError: if the steps cannot be divided.
    """
    if steps % steps_per_call:
        raise ValueError(f"{steps} steps cannot be taken {steps_per_call} at a time.")
    if needs_gpu:
        check_gpu()
    if not layout_optimizer:  # for the whole process
        tf.config.optimizer.set_experimental_options({"layout_optimizer": False})
    trainer = Trainer(
        model, precision, batch_size, form, xla, num_replicas, hybrid_scheme, steps_per_call
    )
    batch = trainer.synthetic_batch()
    if num_replicas > 1:
        batches = tf.data.Dataset.from_tensor_slices(batch).batch(batch_size)
        batch = next(iter(trainer.strategy.experimental_distribute_dataset(batches)))

    def take_steps() -> None:
        for _ in range(steps // steps_per_call):
            if steps_per_call == 1:
                trainer.take_step(batch)
            else:
                trainer.take_steps([batch] * steps_per_call)
        trainer.finish()

    # Layers that are divided among devices are counted where they are whole.
    whole = nets_factory.get_network_fn(model) if hybrid_scheme else trainer.network_fn
    operations = count_costs(whole).training_operations
    return Repetition(take_steps, steps * batch_size, facts(whole, operations))


def check_gpu() -> None:
    """Raises LeftOutError if TensorFlow sees no GPU."""
    if not tf.config.list_physical_devices("GPU"):
        raise LeftOutError("TensorFlow sees no GPU")


def profiled_steps(steps: int, **arguments: Any) -> Workload:
    """As `training_step`, whose facts tell where the time of so many steps went: "profile"."""
    workload = training_step(steps=steps, **arguments)
    workload.warm_up()
    workload.run(0)  # in which allocators and cuDNN have found their ways
    options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            workload.run(0)
        of_gpu = bool(tf.config.list_physical_devices("GPU"))
        workload.facts["profile"] = summarize(read_events(folder, of_gpu), steps)
    return workload


def forward_pass(model: str, precision: str, batch_size: int, steps: int) -> Workload:
    """The network alone, as in evaluation, on floats that are preprocessed already."""
    policies = {**DTYPE_POLICIES, "bfloat16_weights": "bfloat16"}
    network_fn = nets_factory.get_network_fn(model, dtype_policy=policies[precision])
    size = network_fn.default_image_size
    images = tf.random.normal([batch_size, size, size, network_fn.channels], stddev=60.0)
    if precision == "bfloat16_weights":
        images = tf.cast(images, tf.bfloat16)
    forward = tf.function(lambda images: network_fn(images, is_training=False)[0])

    def run() -> None:
        for _ in range(steps):
            logits = forward(images)
        logits.numpy()

    operations = count_costs(network_fn).forward_operations
    return Repetition(run, steps * batch_size, facts(network_fn, operations))


def facts(network_fn: NetworkFn, operations: int) -> dict[str, int]:
    """What a workload says of its network, and of the operations that an image takes."""
    trained = [one.shape for one in network_fn.variables.values() if one.trainable]
    return {"parameters": sum(map(math.prod, trained)), "operations_per_image": operations}
