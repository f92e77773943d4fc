"""Several steps of training in one call, so that Python is asked once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from training.input_pipeline import Example
from training.train_step import TrainStep


class SeveralSteps:
    """Takes a fixed number of steps, one after the other, in one graph.

    Weights and outcomes are those of single steps. Whether it is worth while depends on how long a
    step is beside the milliseconds that Python takes for each. The batches of a call are in the
    device's memory together, twice.

    Args:
      step: takes each of them.
      strategy: the devices that share a batch.
      count: how many steps; at least 2.
    """

    def __init__(self, step: TrainStep, strategy: tf.distribute.Strategy, count: int):
        self.count = count
        self._step = step
        self._strategy = strategy

    @tf.function(autograph=False)
    def __call__(
        self, batches: Sequence[Example], rates: tf.Tensor, step: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Takes the steps.

        Args:
          batches: one for each step, as the strategy distributes them.
          rates: float32 [count], the learning rates.
          step: int32 [], steps taken before these.

        Returns:
          What `TrainStep` returns of each step, float32 [count].
        """
        # One body for all steps rather than a copy for each: a graph of ten Inceptions takes
        # minutes to make.
        stacked = self._strategy.run(_stack, (batches,))
        outcomes = {
            name: tf.TensorArray(tf.float32, self.count, element_shape=[])
            for name in ("loss", "right", "counted", "unread")
        }

        def take_step(
            number: tf.Tensor, outcomes: dict[str, tf.TensorArray]
        ) -> tuple[tf.Tensor, dict[str, tf.TensorArray]]:
            batch = self._strategy.run(_element, (stacked, number))
            outcome = self._step(batch, rates[number], step + number)
            return number + 1, {
                name: array.write(number, outcome[name]) for name, array in outcomes.items()
            }

        _, outcomes = tf.while_loop(
            lambda number, _: number < self.count, take_step, (tf.constant(0), outcomes)
        )
        return {name: array.stack() for name, array in outcomes.items()}


def _stack(batches: Sequence[Example]) -> Example:
    return {key: tf.stack([batch[key] for batch in batches]) for key in batches[0]}


def _element(stacked: Example, number: tf.Tensor) -> Example:
    return {key: values[number] for key, values in stacked.items()}
