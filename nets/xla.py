"""Functions that XLA compiles into single loops."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextvars import ContextVar

import tensorflow as tf

from nets.context_settings import holding

_operation_by_operation = ContextVar("operation_by_operation", default=False)


def without_xla() -> contextlib.AbstractContextManager[None]:
    """Functions that are `fused` give their operations one by one to a graph that is made inside.

    For graphs that leave TensorFlow: converters know operations, and no functions of XLA's.
    """
    return holding(_operation_by_operation, True)


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
        if _operation_by_operation.get():
            return function(*tensors)
        return compiled.get_concrete_function(*tensors)(*tensors)

    return call
