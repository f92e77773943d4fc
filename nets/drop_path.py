"""Drop path, NASNet's: whole examples dropped, the more of them the later in training.

Source: Zoph and others, "Learning Transferable Architectures for Scalable Image Recognition"
(https://arxiv.org/abs/1707.07012), appendix A; TF-Slim, `nets/nasnet/nasnet_utils.py`.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from nets.context_settings import holding
from nets.layers import draw_uniform


@keras.saving.register_keras_serializable(package="slimzoo")
class DropPath(keras.layers.Layer):
    """Zeroes whole examples in training, the more of them the later the step (NASNet's).

    At the first step all are kept; from step `total_training_steps` on, `keep_prob` of them are.
    What is kept is divided by the probability. The step is that of `training_step`; where none is
    set, nothing is dropped. Takes and gives float [batch, height, width, channels].

    Args:
      keep_prob: the probability at the end of training that an example is kept, in (0, 1].
      total_training_steps: after how many steps it is reached.

    Raises:
      ValueError: if `keep_prob` is not in (0, 1], or the steps are not positive.
    """

    def __init__(self, keep_prob: float, total_training_steps: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 < keep_prob <= 1:
            raise ValueError(f"drop_path_keep_prob is {keep_prob}; it must be in (0, 1].")
        if not total_training_steps > 0:
            raise ValueError(
                f"total_training_steps is {total_training_steps}; it must be positive."
            )
        self.keep_prob = keep_prob
        self.total_training_steps = total_training_steps

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops examples if `training`; its draws come from `layers.dropout_seed`."""
        step = _step.get()
        if not training or step is None:
            return inputs
        done = tf.minimum(tf.cast(step, tf.float32) / self.total_training_steps, 1)
        keep_prob = 1 - done * (1 - self.keep_prob)
        kept = draw_uniform([tf.shape(inputs)[0], 1, 1, 1], self.name) < keep_prob
        return inputs * tf.cast(tf.where(kept, 1 / keep_prob, 0), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "keep_prob": self.keep_prob,
            "total_training_steps": self.total_training_steps,
        }


_step = ContextVar[tf.Tensor | int | None]("training_step", default=None)


def training_step(step: tf.Tensor | int | None) -> contextlib.AbstractContextManager[None]:
    """Tells the `DropPath` layers called inside how many steps were trained; None: drop nothing."""
    return holding(_step, step)
