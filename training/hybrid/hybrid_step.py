"""A step of training with data parallelism and model parallelism, in the paper's three schemes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nets import layers
from preprocessing.base import Preprocessing
from training.hybrid.exchange import all_gather, reduce_scatter
from training.hybrid.fully_connected import StageGradients
from training.hybrid.hybrid_network import HybridNetworkFn
from training.hybrid.hybrid_optimizer import HybridOptimizer
from training.hybrid.schemes import HybridSettings, Rows, check_hybrid, passes
from training.hybrid.sharded_variable import ShardedVariable
from training.input_pipeline import Example
from training.train_step import TrainStep, made_infinite, overflows_anywhere
from training.training_state import TrainingState

# The scope, in the graph, of what devices send each other before a pass; later ones have numbers.
ACTIVITIES = "activities"


class _Passed(NamedTuple):
    """What a device has once all images have passed the fully connected layers.

    Attributes:
      logits: of its images, float32.
      upstream: the gradients of their features.
      of_share: those of its share of the weights, for the last update.
      overflow: whether one was not finite before, bool [].
    """

    logits: tf.Tensor
    upstream: tf.Tensor
    of_share: list[tf.Tensor]
    overflow: tf.Tensor


class HybridTrainStep(TrainStep):
    """As `TrainStep`, of a network that is divided among the devices.

    Each replica takes its images through the convolutions. Then, outside of the replicas, the
    fully connected layers pass all of them forward and back; and each replica takes the gradients
    of its images back through the convolutions.

    Args:
      state: made by `make_training_state` with these settings.
      preprocessing: as there.
      strategy: as there.
      settings: how the devices share the work.
      **options: as `TrainStep` takes them.

    Raises:
      ValueError: if the devices cannot share it so; see `check_hybrid`.
    """

    _network_fn: HybridNetworkFn
    _optimizer: HybridOptimizer

    def __init__(
        self,
        state: TrainingState,
        preprocessing: Preprocessing,
        strategy: tf.distribute.Strategy,
        settings: HybridSettings,
        **options: Any,
    ):
        super().__init__(state, preprocessing, strategy, **options)
        self._stage = self._network_fn.fully_connected
        self._devices = self._stage.devices
        check_hybrid(
            settings, self._batch_size, len(self._devices), self._optimizer.clip_global_norm
        )
        self._passes = passes(
            settings.hybrid_scheme, len(self._devices), self._batch_size // len(self._devices)
        )
        self._updates = settings.fc_updates_per_step
        # Both in the order in which the optimizer has them.
        trainable = state.trainable.values()
        self._divided = [one for one in trainable if isinstance(one, ShardedVariable)]
        self._trainable = [one for one in trainable if not isinstance(one, ShardedVariable)]
        if self._updates > 1 and not self._divided:
            raise ValueError(
                f"--fc_updates_per_step={self._updates} is for fully connected layers that are "
                "trained, and none is. Leave it out, or give other --trainable_scopes."
            )

    def _replica_step(self, batch: Example, step: tf.Tensor) -> dict[str, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        number = tf.get_static_value(context.replica_id_in_sync_group)
        seed = tf.random.experimental.stateless_fold_in([self._seed, step], number)
        images = self._device_half(batch)
        with tf.GradientTape() as tape:
            features = self._network_fn.activities(images, seed, step)
        of_devices = context.merge_call(
            self._pass_fully_connected, args=(features, batch["label"], batch["weight"], step)
        )
        own = of_devices[number]
        gradients = tape.gradient(
            features, [one.value for one in self._trainable], output_gradients=own.upstream
        )
        overflow = None
        if self._is_loss_scaled:
            overflow = own.overflow | overflows_anywhere([*gradients, *own.of_share])
        gradients, of_share = self._clipped(gradients, own.of_share)
        if overflow is not None:
            gradients = made_infinite(gradients, overflow)
        self._update_share(number, of_share, self._updates - 1, overflow)
        self._optimizer.apply(gradients, self._trainable, overflow)
        losses = self._cross_entropy(batch["label"], own.logits)
        return self._outcome(batch, own.logits, tf.reduce_sum(losses * batch["weight"]))

    def _clipped(
        self, gradients: list[tf.Tensor], of_share: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Scales the gradients of a replica and of its share, by the norm of all of all devices."""
        if self._optimizer.clip_global_norm is None:
            return gradients, of_share
        context = tf.distribute.get_replica_context()
        # Every replica has the same sums, and a share of its own.
        sums = context.all_reduce("SUM", gradients) if gradients else []
        squares = _squares(sums) / len(self._devices) + _squares(of_share)
        norm = tf.sqrt(context.all_reduce("SUM", squares))
        clipped, _ = tf.clip_by_global_norm(
            [*gradients, *of_share],
            self._optimizer.clip_global_norm * self._optimizer.loss_scale,
            use_norm=norm,
        )
        return clipped[: len(gradients)], clipped[len(gradients) :]

    def _pass_fully_connected(
        self,
        strategy: tf.distribute.Strategy,
        features: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        step: tf.Tensor,
    ) -> list[_Passed]:
        """Passes all images forward and back, and makes all updates but the last."""
        features, labels, weights = map(
            strategy.experimental_local_results, (features, labels, weights)
        )
        seed = tf.random.experimental.stateless_fold_in([self._seed, step], 0)
        logits: list[list[tf.Tensor]] = [[] for _ in self._devices]
        upstream: list[list[tf.Tensor]] = [[] for _ in self._devices]
        of_shares: list[list[tf.Tensor]] = []
        overflows: list[tf.Tensor | None] = []
        passes_an_update = len(self._passes) // self._updates
        share_weights = self._stage.weights_now()
        arrived: list[tf.Tensor] = []
        for number, rows in enumerate(self._passes):
            if number and number % passes_an_update == 0:
                overflow = self._overflows(of_shares)
                for device, gradients in enumerate(of_shares):
                    update = number // passes_an_update - 1
                    self._update_share(device, gradients, update, overflow)
                overflows.append(overflow)
                of_shares = []
                share_weights = self._stage.weights_now()
            # What a pass needs is sent once that of the pass before has arrived. Otherwise all is
            # sent at once, and the first pass waits for what only the last one needs.
            with tf.control_dependencies(arrived), tf.name_scope(ACTIVITIES):
                arrived = self._gathered(features, rows)
            sent = [arrived, *(self._gathered(values, rows) for values in (labels, weights))]
            # As one device would draw them, in the first pass.
            pass_seed = tf.random.experimental.stateless_fold_in(seed, number) if number else seed
            with layers.dropout_seed(pass_seed):
                found = self._stage.gradients(
                    sent[0], self._losses(*sent[1:]), share_weights, self._divided
                )
            of_shares = self._added(of_shares, found.of_weights)
            for one, own_logits, own_upstream in self._scattered(rows, found):
                logits[one.device].append(own_logits)
                upstream[one.device].append(own_upstream)
        outcome = []
        for place, *of_device in zip(self._devices, logits, upstream, of_shares, strict=True):
            with tf.device(place):
                own_logits, own_upstream = (tf.concat(parts, axis=0) for parts in of_device[:2])
                # Logits in float32, as a network gives them; gradients of the loss of a whole step.
                own_logits = tf.cast(own_logits, tf.float32)
                own_upstream /= self._updates
                found_before = tf.reduce_any([one for one in overflows if one is not None])
                outcome.append(_Passed(own_logits, own_upstream, of_device[2], found_before))
        return outcome

    def _overflows(self, of_shares: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor | None:
        """Whether a gradient of any device is not finite; None if the loss is not scaled."""
        if not self._is_loss_scaled:
            return None
        finite = []
        for device, gradients in zip(self._devices, of_shares, strict=True):
            with tf.device(device):
                finite += [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
        with tf.device(self._devices[0]):
            return tf.logical_not(tf.reduce_all(finite))

    def _scattered(
        self, rows: Sequence[Rows], found: StageGradients
    ) -> Iterator[tuple[Rows, tf.Tensor, tf.Tensor]]:
        """The logits of some images, and the gradients of their features, where they came from."""
        sizes = [one.stop - one.start for one in rows]
        owners = [self._devices[one.device] for one in rows]
        upstream = reduce_scatter(found.of_inputs, self._devices, sizes, owners, axis=0)
        for index, one in enumerate(rows):
            with tf.device(owners[index]):
                logits = tf.split(found.logits[one.device], sizes, axis=0)[index]
            yield one, logits, upstream[index]

    def _gathered(self, values: Sequence[tf.Tensor], rows: Sequence[Rows]) -> list[tf.Tensor]:
        """The values of some images, on each device."""
        sent = []
        for one in rows:
            with tf.device(self._devices[one.device]):
                sent.append(values[one.device][one.start : one.stop])
        return all_gather(sent, self._devices, axis=0)

    def _losses(
        self, labels: Sequence[tf.Tensor], weights: Sequence[tf.Tensor]
    ) -> list[Callable[[tf.Tensor], tf.Tensor]]:
        """The loss of the images of an update, for each device."""
        num_images = self._batch_size / self._updates

        def loss(labels: tf.Tensor, weights: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            losses = self._cross_entropy(labels, tf.cast(logits, tf.float32))
            return self._optimizer.scale_loss(tf.reduce_sum(losses * weights) / num_images)

        return [functools.partial(loss, *own) for own in zip(labels, weights, strict=True)]

    def _added(
        self, sums: list[list[tf.Tensor]], gradients: list[list[tf.Tensor]]
    ) -> list[list[tf.Tensor]]:
        """Adds up, for each device, the gradients of its shards."""
        if not sums:
            return gradients
        added = []
        for device, *pair in zip(self._devices, sums, gradients, strict=True):
            with tf.device(device):
                added.append([one + other for one, other in zip(*pair, strict=True)])
        return added

    def _update_share(
        self,
        device: int,
        gradients: Sequence[tf.Tensor],
        update: int,
        overflow: tf.Tensor | None,
    ) -> None:
        """Updates what a device has, unless gradients of any device overflow."""

        def apply() -> None:
            self._optimizer.apply_to_share(device, gradients, update)

        with tf.device(self._devices[device]):
            if overflow is None:
                apply()
            else:
                tf.cond(overflow, lambda: None, apply)

    def _follow(self, average: Any, variable: Any, decay: tf.Tensor) -> None:
        if not isinstance(average, ShardedVariable):
            super()._follow(average, variable, decay)
            return
        for own_average, own in zip(average.shards, variable.shards, strict=True):
            with tf.device(own.value.device):
                super()._follow(own_average, own, decay)


def _squares(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum of the squares of all numbers, float32 []."""
    return sum((2 * tf.nn.l2_loss(value) for value in values), tf.zeros([]))


def make_train_step(
    state: TrainingState,
    preprocessing: Preprocessing,
    strategy: tf.distribute.Strategy,
    hybrid: HybridSettings | None = None,
    **options: Any,
) -> TrainStep:
    """Makes the step that fits a state.

    Args:
      state: made by `make_training_state` with the same `hybrid`.
      preprocessing: whose device half is applied.
      strategy: the devices that share a batch.
      hybrid: how they share the fully connected layers; None if they do not.
      **options: as `TrainStep` takes them.

    Raises:
      ValueError: if the devices cannot share them so.
    """
    if hybrid is None:
        return TrainStep(state, preprocessing, strategy, **options)
    return HybridTrainStep(state, preprocessing, strategy, hybrid, **options)
