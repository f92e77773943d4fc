"""Updates of one large weight in each library; the unit is a weight.

All add weight decay to the gradient or, Keras, shrink the weight by it. A gradient in bfloat16 is
cast to float32 by PyTorch and Keras, in which mixed precision hands it over so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from unittest import mock

from workloads import LeftOutError, Repetition, Workload

_LEARNING_RATE, _DECAY = 1e-4, 5e-4


def ours(
    shape: Sequence[int], optimizer: str, gradient_dtype: str, in_one_loop: bool = True
) -> Workload:
    """`training.optimizers`, in the form of one loop or in that of one for each result."""
    from slimzoo import environment

    environment.set_up()  # as the commands do, before TensorFlow is imported
    import keras
    import tensorflow as tf

    from training import compiled_updates
    from training.optimizers import OptimizerSettings, make_optimizer

    if in_one_loop and not compiled_updates.shares_loops():
        raise LeftOutError("this version of XLA makes a loop for each result")
    weight = keras.Variable(tf.random.normal(shape), name="kernel")
    gradient = tf.cast(tf.random.normal(shape), gradient_dtype)
    made = make_optimizer(
        OptimizerSettings(optimizer=optimizer, learning_rate=_LEARNING_RATE, weight_decay=_DECAY)
    )
    made.build([weight])
    update = tf.function(
        lambda: made.update_step(gradient, weight.value, tf.constant(_LEARNING_RATE)),
        autograph=False,
    )
    with mock.patch.object(compiled_updates, "shares_loops", return_value=in_one_loop):
        update()  # is traced, once and for all
    return _in_tensorflow(update, shape)


def keras(shape: Sequence[int], optimizer: str, gradient_dtype: str) -> Workload:
    """Keras' own optimizer."""
    import keras as keras_library
    import tensorflow as tf

    made = {
        "momentum": lambda: keras_library.optimizers.SGD(
            _LEARNING_RATE, momentum=0.9, weight_decay=_DECAY
        ),
        "adam": lambda: keras_library.optimizers.Adam(_LEARNING_RATE, weight_decay=_DECAY),
    }[optimizer]()
    weight = keras_library.Variable(tf.random.normal(shape), name="kernel")
    gradient = tf.cast(tf.random.normal(shape), gradient_dtype)
    made.build([weight])
    update = tf.function(
        lambda: made.apply([tf.cast(gradient, tf.float32)], [weight]), autograph=False
    )
    return _in_tensorflow(update, shape)


def pytorch(shape: Sequence[int], optimizer: str, gradient_dtype: str) -> Workload:
    """PyTorch's fused optimizer."""
    try:
        import torch
    except ImportError as error:
        raise LeftOutError("torch is not installed") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weight = torch.nn.Parameter(torch.randn(*shape, device=device))
    gradient = torch.randn(*shape, device=device).to(getattr(torch, gradient_dtype))
    constants = {"lr": _LEARNING_RATE, "weight_decay": _DECAY, "fused": True}
    made = {
        "momentum": lambda: torch.optim.SGD([weight], momentum=0.9, **constants),
        "adam": lambda: torch.optim.Adam([weight], **constants),
    }[optimizer]()

    def update() -> float:
        weight.grad = gradient.float()
        made.step()
        return weight.view(-1)[0].item()  # waits for a GPU

    return Repetition(update, weight.numel(), warm_up_calls=2)


def _in_tensorflow(update: Callable[[], None], shape: Sequence[int]) -> Workload:
    # On a CPU a call returns when all is done.
    return Repetition(update, math.prod(shape), warm_up_calls=2)
