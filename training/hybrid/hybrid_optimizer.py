"""An optimizer of what all devices have, and one of each device's share of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from training.hybrid.sharded_variable import ShardedVariable
from training.optimizers import OptimizerSettings, make_optimizer


class HybridOptimizer:
    """Updates variables of which some are on all devices, and some divided among them.

    Args:
      settings: of all optimizers.
      strategy: of the devices.
      fc_updates_per_step: of what is divided. What is on all devices has one update a step, at so
        many times the rate.
      decay_factors: multiply the weight decay, one for each variable to come.
      rate_factors: multiply the learning rate, one for each; None if there are none.
      scale_loss: whether to scale the loss.

    Attributes:
      fc_updates_per_step: as given.
      clip_global_norm: that of the settings. Gradients are to be clipped before they come here,
        because no device has all of them.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        strategy: tf.distribute.Strategy,
        fc_updates_per_step: int = 1,
        *,
        decay_factors: Sequence[float | None],
        rate_factors: tf.Variable | None,
        scale_loss: bool,
    ):
        self.clip_global_norm = settings.clip_global_norm
        self._settings = dataclasses.replace(settings, clip_global_norm=None)
        self._strategy = strategy
        self.fc_updates_per_step = fc_updates_per_step
        self._decay_factors = decay_factors
        self._rate_factors = rate_factors
        self._is_loss_scaled = scale_loss
        self._shares: list[keras.optimizers.Optimizer] = []
        self._shards: list[list[keras.Variable]] = []

    def build(self, variables: Sequence[Any]) -> None:
        """Makes velocities and the like, each where its variable is.

        Raises:
          ValueError: if the optimizer cannot update parts of variables.
        """
        whole = [i for i, one in enumerate(variables) if not isinstance(one, ShardedVariable)]
        divided = {i: one for i, one in enumerate(variables) if isinstance(one, ShardedVariable)}
        self._has_whole = bool(whole)
        with self._strategy.scope():
            self._of_whole = self._make(whole, self.fc_updates_per_step, self._is_loss_scaled)
            self._of_whole.build([variables[i] for i in whole])
        _check_rule(self._inner)
        for number, device in enumerate(self._strategy.extended.worker_devices):
            with tf.device(device):
                share = self._make(list(divided), 1, scale_loss=False)
                share.build([one.shards[number] for one in divided.values()])
            self._shares.append(share)
            self._shards.append([one.shards[number] for one in divided.values()])

    def _make(
        self, numbers: Sequence[int], times: int, scale_loss: bool
    ) -> keras.optimizers.Optimizer:
        factors = None
        if self._rate_factors is not None or times != 1:
            factors = _RateFactors(self._rate_factors, numbers, times)
        return make_optimizer(
            self._settings,
            decay_factors=[self._decay_factors[i] for i in numbers],
            rate_factors=factors,
            scale_loss=scale_loss,
        )

    @property
    def variables(self) -> list[Any]:
        """What it keeps from step to step; of what is divided, the whole."""
        divided = [
            ShardedVariable(shards)
            for shards in zip(*(share.variables for share in self._shares), strict=True)
            if len(shards[0].shape)  # scalars are those of the first optimizer
        ]
        return [*self._of_whole.variables, *divided]

    @property
    def _inner(self) -> keras.optimizers.Optimizer:
        return getattr(self._of_whole, "inner_optimizer", self._of_whole)

    @property
    def learning_rate(self) -> keras.Variable:
        """Of all optimizers, to be assigned."""
        return self._of_whole.learning_rate

    @property
    def loss_scale(self) -> tf.Tensor:
        """What the loss is multiplied by, float32 []."""
        return self._of_whole.dynamic_scale.value if self._is_loss_scaled else tf.ones([])

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss that gradients are taken of."""
        return self._of_whole.scale_loss(loss)

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[Any],
        overflow: tf.Tensor | None = None,
    ) -> None:
        """Updates what all devices have; called in each replica.

        Args:
          gradients: of its images; infinite where those of any replica overflow.
          variables: that they are of.
          overflow: whether they do, bool []; None if the loss is not scaled.
        """
        if self._has_whole:
            self._of_whole.apply(gradients, variables)
        elif overflow is None:
            self._inner.iterations.assign_add(1)
        else:
            self._count(overflow)

    def _count(self, overflow: tf.Tensor) -> None:
        """Counts a step and scales the loss as Keras does, which needs a gradient for it."""
        scaling, zero = self._of_whole, tf.zeros([], tf.int32)
        scale = scaling.dynamic_scale.value
        steps = tf.where(overflow, zero, tf.cast(scaling.step_counter, tf.int32) + 1)
        grows = tf.equal(steps, scaling.dynamic_growth_steps)
        scaling.step_counter.assign(tf.where(grows, zero, steps))
        scaling.dynamic_scale.assign(
            tf.where(overflow, scale / 2, tf.where(grows, 2 * scale, scale))
        )
        self._inner.iterations.assign_add(tf.where(overflow, 0, 1))

    def apply_to_share(self, number: int, gradients: Sequence[tf.Tensor], update: int) -> None:
        """Updates what a device has of the rest.

        Args:
          number: of the device.
          gradients: of its shards, scaled as the loss is.
          update: which one of this step, counted from 0.
        """
        share = self._shares[number]
        steps = self._inner.iterations.value
        share.iterations.assign(steps * self.fc_updates_per_step + update)
        if self._is_loss_scaled:
            gradients = [gradient / self.loss_scale for gradient in gradients]
        for gradient, shard in zip(gradients, self._shards[number], strict=True):
            share.update_step(gradient, shard.value, self.learning_rate.value)


# What Keras does with the gradients of one device before it adds up those of all, or with weights
# after an update; a share has the gradients of all images, but for some units.
_OF_WHOLE_GRADIENTS = (
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)
_OF_WHOLE_WEIGHTS = ("weight_decay", "use_ema")
# What Keras calls once for all variables; a share calls what is called for each, `update_step`.
_OF_ALL_VARIABLES = ("apply", "_backend_apply_gradients", "_backend_update_step")


def _check_rule(optimizer: keras.optimizers.Optimizer) -> None:
    """Raises ValueError if parts of variables would not be updated as the whole ones are."""
    name = type(optimizer).__name__
    given = [
        option
        for option in (*_OF_WHOLE_GRADIENTS, *_OF_WHOLE_WEIGHTS)
        if getattr(optimizer, option, None)
    ]
    if given:
        raise ValueError(
            f"The optimizer {name} was made with {', '.join(given)}, which "
            "--distribution_strategy=hybrid cannot do: each device has a part of the weights' "
            "gradients. Leave that out, or take --distribution_strategy=mirrored."
        )
    if not getattr(optimizer, "is_elementwise", False):
        raise ValueError(
            f"The optimizer {name} does not say that it is elementwise. "
            "--distribution_strategy=hybrid gives each device a part of a variable, and so takes "
            "rules that update each number by its own gradient, without norms or means of the "
            f"whole variable. If this is one, write is_elementwise = True in the class {name}; "
            "otherwise take another --optimizer, or --distribution_strategy=mirrored."
        )
    own = [
        method
        for method in _OF_ALL_VARIABLES
        if getattr(type(optimizer), method) is not getattr(keras.optimizers.Optimizer, method)
    ]
    if own:
        raise ValueError(
            f"The optimizer {name} has a method {' and '.join(own)} of its own, which "
            "--distribution_strategy=hybrid does not call: it takes optimizers whose rule is in "
            "update_step or update_variable alone. Take another --optimizer, or "
            "--distribution_strategy=mirrored."
        )


class _RateFactors:
    """Those of some of the variables, and times a number."""

    def __init__(self, factors: tf.Variable | None, numbers: Sequence[int], times: int):
        self._factors = factors
        self._numbers = numbers
        self._times = times

    def __getitem__(self, index: int) -> Any:
        factor = 1.0 if self._factors is None else self._factors[self._numbers[index]]
        return factor * self._times
