"""One step of training, on one device or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from preprocessing.base import Preprocessing
from training.input_pipeline import Example, compiled_device_half
from training.training_state import TrainingState

# --mixed_precision -> Keras' name.
DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

# As TF-Slim's networks call them, and as its driver weights them.
AUXILIARY_LOGITS = "AuxLogits"
AUXILIARY_WEIGHT = 0.4


class TrainStep:
    """Device half of the preprocessing, forward, backward and update, as one graph.

    Args:
      state: what the step changes; made in the scope of `strategy`.
      preprocessing: whose device half is applied.
      strategy: the devices that share a batch.
      batch_size: images in a batch, over all replicas.
      label_smoothing: share of each label that is spread over all classes, in [0, 1).
      moving_average_decay: of the averages, where `state` keeps them.
      seed: of dropout.
    """

    def __init__(
        self,
        state: TrainingState,
        preprocessing: Preprocessing,
        strategy: tf.distribute.Strategy,
        *,
        batch_size: int,
        label_smoothing: float = 0.0,
        moving_average_decay: float = 0.0,
        seed: int = 0,
    ):
        self._strategy = strategy
        self._network_fn = state.network_fn
        self._trainable = list(state.trainable.values())
        self._optimizer = state.optimizer
        self._averages = state.averages
        compute_dtype = tf.as_dtype(self._network_fn.model.compute_dtype)
        self._device_half = compiled_device_half(preprocessing, compute_dtype)
        self._is_loss_scaled = compute_dtype == tf.float16
        self._batch_size = batch_size
        self._label_smoothing = label_smoothing
        self._moving_average_decay = moving_average_decay
        self._seed = seed

    @tf.function(autograph=False)
    def __call__(
        self, batch: Example, rate: tf.Tensor, step: tf.Tensor, wishes: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Takes a step.

        Args:
          batch: of `input_pipeline.training_batches`, as the strategy distributes it.
          rate: float32 [], the learning rate.
          step: int32 [], steps taken before this one; with the seed it decides what is dropped.
          wishes: float32 [n], what this host tells the others; see `Agreement`.

        Returns:
          Sums over the batch, float32 []: "loss", the cross-entropy in nats; "right", how many
          times the likeliest class was right; "counted", of how many examples; "unread", how many
          files could not be read. With `wishes` also their sum over all replicas.
        """
        self._optimizer.learning_rate.assign(rate)
        outcome = self._strategy.run(self._replica_step, (batch, step))
        if wishes is not None:
            outcome["wishes"] = self._strategy.run(lambda value: value, (wishes,))
        self._update_averages(step)
        return {
            key: self._strategy.reduce("SUM", value, axis=None) for key, value in outcome.items()
        }

    def _replica_step(self, batch: Example, step: tf.Tensor) -> dict[str, tf.Tensor]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Replicas must not drop the same activations.
        seed = tf.random.experimental.stateless_fold_in([self._seed, step], replica)
        images = self._device_half(batch)
        with tf.GradientTape() as tape:
            logits, end_points = self._network_fn(images, is_training=True, seed=seed, step=step)
            loss = tf.reduce_sum(self._cross_entropy(batch["label"], logits) * batch["weight"])
            auxiliary = self._auxiliary_loss(batch, end_points)
            # Replicas' gradients are added up, so each divides by the batch of all of them.
            scaled_loss = self._optimizer.scale_loss((loss + auxiliary) / self._batch_size)
        gradients = tape.gradient(scaled_loss, [variable.value for variable in self._trainable])
        if self._is_loss_scaled:
            gradients = made_infinite(gradients, overflows_anywhere(gradients))
        self._optimizer.apply(gradients, self._trainable)
        return self._outcome(batch, logits, loss)

    def _outcome(self, batch: Example, logits: tf.Tensor, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        """What a replica has to say of its images."""
        right = tf.cast(tf.argmax(logits, axis=-1) == batch["label"], tf.float32)
        return {
            "loss": loss,
            "right": tf.reduce_sum(right * batch["weight"]),
            "counted": tf.reduce_sum(batch["weight"]),
            "unread": tf.reduce_sum(batch.get("unread", 0.0)),
        }

    def _cross_entropy(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        smoothing = self._label_smoothing
        if not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        num_classes = logits.shape[-1]
        targets = tf.one_hot(labels, num_classes) * (1 - smoothing) + smoothing / num_classes
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    def _auxiliary_loss(self, batch: Example, end_points: dict[str, tf.Tensor]) -> tf.Tensor:
        """That of the logits beside a network's last, which help to train its lower layers."""
        if AUXILIARY_LOGITS not in end_points:
            return tf.zeros([])
        logits = tf.cast(end_points[AUXILIARY_LOGITS], tf.float32)
        losses = self._cross_entropy(batch["label"], logits)
        return AUXILIARY_WEIGHT * tf.reduce_sum(losses * batch["weight"])

    def _update_averages(self, step: tf.Tensor) -> None:
        # Young averages follow faster, as those of tf.train.ExponentialMovingAverage do.
        steps = tf.cast(step, tf.float32)
        decay = tf.minimum(self._moving_average_decay, (1 + steps) / (10 + steps))
        for name, average in self._averages.items():
            self._follow(average, self._network_fn.variables[name], decay)

    def _follow(self, average: Any, variable: Any, decay: tf.Tensor) -> None:
        """Moves an average towards its variable."""
        average.assign(average + (1 - decay) * (variable.value - average))


def overflows_anywhere(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether a gradient of any replica is not finite, bool []; in a replica."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
    overflows: tf.Tensor = tf.distribute.get_replica_context().merge_call(
        lambda strategy, value: strategy.reduce("SUM", value, axis=None),
        args=(tf.cast(tf.logical_not(finite), tf.float32),),
    )
    return overflows > 0


def made_infinite(gradients: Sequence[tf.Tensor], overflow: tf.Tensor) -> list[tf.Tensor]:
    """The gradients, or infinity if those of any replica overflow.

    Keras' loss scaling skips a step by the first replica's gradients, before they are added up.
    """
    return [
        tf.where(overflow, tf.constant(float("inf"), gradient.dtype), gradient)
        for gradient in gradients
    ]
