"""Functions that XLA compiles into single loops."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf


def fused(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Has XLA compile a function of tensors, once for each set of their shapes.

    As `tf.function(jit_compile=True)` does, but without its warnings of retracing. It counts the
    calls of all functions of the same code together, and new shapes are expected here: a few
    networks with response normalisation, or a few batch sizes, would be enough for one. Calls of
    what `get_concrete_function` returns are not counted.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> tf.Tensor:
        return compiled.get_concrete_function(*tensors)(*tensors)

    return call
