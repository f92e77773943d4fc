"""Functions that XLA compiles into single loops."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf

# Thread-local, because MirroredStrategy traces each replica in a thread of its own.
_state = threading.local()


@contextlib.contextmanager
def without_xla() -> Iterator[None]:
    """Functions that are `fused` give their operations one by one to a graph that is made inside.

    For graphs that leave TensorFlow: converters know operations, and no functions of XLA's.
    """
    outer = getattr(_state, "operation_by_operation", False)
    _state.operation_by_operation = True
    try:
        yield
    finally:
        _state.operation_by_operation = outer


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
        if getattr(_state, "operation_by_operation", False):
            return function(*tensors)
        return compiled.get_concrete_function(*tensors)(*tensors)

    return call
