"""What training changes: a network's weights, its optimizer, the step, and averages of the weights.

    state = make_training_state(
        lambda: nets_factory.get_network_fn("alexnet_v2", num_classes=10), OptimizerSettings()
    )

`TrainStep` takes steps with it, and `RunCheckpoints` keeps it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nets.nets_factory import NetworkFn
from training.checkpoints.scopes import select_scopes
from training.hybrid.hybrid_network import make_hybrid_network
from training.hybrid.hybrid_optimizer import HybridOptimizer
from training.hybrid.schemes import HybridSettings
from training.hybrid.sharded_variable import ShardedVariable
from training.normalization import NormalizationSettings, set_normalization
from training.optimizers import OptimizerSettings, make_optimizer
from training.variable_factors import VariableFactors


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """A network and all that goes with its weights from step to step. Made once, then updated.

    Attributes:
      network_fn: the network.
      trainable: those of its variables that are trained, by TF-Slim's names.
      optimizer: built for them.
      step: int64 [], steps taken so far.
      averages: moving averages of every variable, by TF-Slim's names; empty if none are kept.
      rate_factors: by which each trainable variable's rate is multiplied, by epochs.
      rate_factors_now: float32 [variables], those of the current epoch; None if there are none.
    """

    network_fn: NetworkFn
    trainable: Mapping[str, keras.Variable | ShardedVariable]
    optimizer: keras.optimizers.Optimizer | HybridOptimizer
    step: tf.Variable
    averages: Mapping[str, tf.Variable | ShardedVariable]
    rate_factors: VariableFactors
    rate_factors_now: tf.Variable | None

    def set_epoch(self, epoch: float) -> None:
        """Gives each variable the rate factor of an epoch, which counts passes over the data."""
        if self.rate_factors_now is not None:
            self.rate_factors_now.assign(self.rate_factors.at(epoch))

    def start_averages(self) -> None:
        """Sets the moving averages to the weights, as they are before the first step."""
        for name, average in self.averages.items():
            average.assign(self.network_fn.variables[name].value)

    @contextlib.contextmanager
    def averages_in_place(self) -> Iterator[None]:
        """Lets the network run with the moving averages of its weights, if they are kept."""
        variables = self.network_fn.variables
        trained = {name: variables[name].numpy() for name in self.averages}
        try:
            for name, average in self.averages.items():
                variables[name].assign(average)
            yield
        finally:
            for name, value in trained.items():
                variables[name].assign(value)

    def variables_to_save(self) -> dict[str, Any]:
        """What `RunCheckpoints` keeps of it, by the names of its arguments."""
        return {
            "step": self.step,
            "network": self.network_fn.variables,
            "optimizer": self.optimizer.variables,
            "averages": self.averages,
        }

    def num_trainable_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(int(np.prod(variable.shape)) for variable in self.trainable.values())


def make_training_state(
    build_network: Callable[[], NetworkFn],
    settings: OptimizerSettings,
    strategy: tf.distribute.Strategy | None = None,
    *,
    trainable_scopes: Sequence[str] = (),
    keep_averages: bool = False,
    normalization: NormalizationSettings | None = None,
    hybrid: HybridSettings | None = None,
) -> TrainingState:
    """Builds a network and what training it needs, on the devices of a strategy.

    Args:
      build_network: called in the scope of `strategy`.
      settings: of the optimizer. A network of float16 activations has its loss scaled.
      strategy: None is TensorFlow's current one.
      trainable_scopes: TF-Slim names, for example `alexnet_v2/fc8`; empty trains all.
      keep_averages: whether to keep moving averages of the weights.
      normalization: of its batch normalisation; None is `NormalizationSettings()`.
      hybrid: divides its fully connected layers among the devices, for a `HybridTrainStep`.

    Raises:
      ValueError: if a name does not exist, the network gives more than one row of logits, or it
        has no batch normalisation that `normalization` would be about.
    """
    strategy = strategy or tf.distribute.get_strategy()
    network_fn = _make_network(build_network, strategy, hybrid)
    _check_one_row_an_image(network_fn)
    with strategy.scope():
        variables = network_fn.variables
        names = select_scopes("--trainable_scopes", variables, trainable_scopes) or list(variables)
        trainable = {name: variables[name] for name in names if variables[name].trainable}
        set_normalization(network_fn, normalization or NormalizationSettings(), trainable.values())
        rate_factors = VariableFactors(
            "learning_rate_factors", settings.learning_rate_factors, trainable, variables
        )
        decaying = network_fn.decaying
        decay_factors = VariableFactors(
            "weight_decay_factors", settings.weight_decay_factors, trainable, decaying, False
        )
        # On the devices, because they can change while the step does not.
        rate_factors_now = (
            tf.Variable(rate_factors.at(0), trainable=False, dtype=tf.float32)
            if rate_factors
            else None
        )
    optimizer = _make_optimizer(
        settings,
        strategy,
        hybrid,
        list(trainable.values()),
        decay_factors=[
            factor if name in decaying else None
            for name, factor in zip(trainable, decay_factors.at(0), strict=True)
        ],
        rate_factors=rate_factors_now,
        scale_loss=network_fn.model.compute_dtype == "float16",
    )
    averages = {
        name: _average_of(variable, strategy)
        for name, variable in variables.items()
        if keep_averages
    }
    with tf.device("CPU:0"):
        step = tf.Variable(0, dtype=tf.int64, name="step")
    return TrainingState(
        network_fn, trainable, optimizer, step, averages, rate_factors, rate_factors_now
    )


# What is divided is a variable of its own on each device, and made outside of the scope.


def _make_network(
    build_network: Callable[[], NetworkFn],
    strategy: tf.distribute.Strategy,
    hybrid: HybridSettings | None,
) -> NetworkFn:
    if hybrid:
        return make_hybrid_network(build_network, strategy)
    with strategy.scope():
        return build_network()


def _make_optimizer(
    settings: OptimizerSettings,
    strategy: tf.distribute.Strategy,
    hybrid: HybridSettings | None,
    variables: Sequence[keras.Variable | ShardedVariable],
    **options: Any,
) -> keras.optimizers.Optimizer | HybridOptimizer:
    """One that is built, with what goes along with the variables."""
    if hybrid:
        divided = HybridOptimizer(settings, strategy, hybrid.fc_updates_per_step, **options)
        divided.build(variables)
        return divided
    with strategy.scope():
        optimizer = make_optimizer(settings, **options)
        optimizer.build(variables)
        return optimizer


def _average_of(
    variable: keras.Variable | ShardedVariable, strategy: tf.distribute.Strategy
) -> tf.Variable | ShardedVariable:
    if isinstance(variable, ShardedVariable):
        return variable.copied()
    with strategy.scope():
        return tf.Variable(variable.value, trainable=False)


def _check_one_row_an_image(network_fn: NetworkFn) -> None:
    if len(network_fn.model.output_shape) != 2:
        raise ValueError(
            f"{network_fn.name} gives a map of logits with these --network_options: "
            f"[batch, height, width, classes]. Training needs [batch, classes]: leave out "
            "spatial_squeeze=False, or add global_pool=True for images that are larger than the "
            "network's own."
        )
