"""Updates of a weight and of an optimizer's state, each compiled by XLA into a loop over memory.

Reading memory is what takes the time. On a CPU XLA makes a loop for each result and reads
everything again, unless it is told to share loops (`slimzoo.environment` does so), and then too
only for results of which none is made from another, or from something that both need. So each
result is computed from the inputs alone, and gets inputs of its own, which keeps XLA from finding
what is common. The loop then reads every number once: 10 bytes a weight instead of 18 for momentum
with bfloat16 gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nets.device_forms import traced_for_gpu

# (values of the weight and its state, *arguments) -> their new values.
Rule = Callable[..., Sequence[tf.Tensor]]


class CompiledUpdate:
    """Decorates a rule, which makes of it a function that updates variables.

    Attributes:
      rule: as it was written.
    """

    def __init__(self, rule: Rule):
        self.rule = rule
        self._compiled = tf.function(self._update_weights, jit_compile=True, autograph=False)

    def __call__(self, handles: Sequence[tf.Tensor], dtype: tf.DType, *arguments: Any) -> None:
        """Updates the variables of these handles, all of this dtype, by the rule's arguments."""
        own_arguments = len(handles) if not traced_for_gpu() and shares_loops() else 1
        self._compiled(handles, dtype, [list(arguments) for _ in range(own_arguments)])

    def _update_weights(
        self, handles: Sequence[tf.Tensor], dtype: tf.DType, arguments: Sequence[Any]
    ) -> None:
        values = [tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype) for handle in handles]
        results = [self.rule(values, *own) for own in arguments]
        for index, handle in enumerate(handles):
            # Of its own arguments, if each result has some; what else they give is not computed.
            value = results[index % len(results)][index]
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)


@functools.cache
def shares_loops() -> bool:
    """Whether XLA on a CPU computes two results of the same inputs in one loop.

    Asked of the compiler, because its option may come from anywhere, or go with a version.
    """
    with tf.init_scope():
        two_results = tf.function(
            lambda x, y: (x + y, x * y), jit_compile=True, autograph=False
        ).experimental_get_compiler_ir(tf.TensorSpec([1024]), tf.TensorSpec([1024]))
        program = two_results(stage="optimized_hlo", platform_name="CPU")
    return str(program).count(" fusion(") == 1


@CompiledUpdate
def update_by_momentum(
    values: Sequence[tf.Tensor],
    lr: tf.Tensor,
    momentum: tf.Tensor,
    grad: tf.Tensor,
    decay: tf.Tensor,
) -> Sequence[tf.Tensor]:
    """`ResourceApplyKerasMomentum` of a weight and its velocity, with weight decay.

    The gradient may have any float dtype. TensorFlow's kernel knows no decay, and to add it
    beforehand is one more pass over all weights.
    """
    weights, velocity = values
    velocity = momentum * velocity - lr * (tf.cast(grad, lr.dtype) + decay * weights)
    return weights + velocity, velocity


@CompiledUpdate
def update_by_adam(
    values: Sequence[tf.Tensor],
    lr: tf.Tensor,
    beta1: tf.Tensor,
    beta2: tf.Tensor,
    epsilon: tf.Tensor,
    grad: tf.Tensor,
    decay: tf.Tensor,
) -> Sequence[tf.Tensor]:
    """`ResourceApplyAdam` of a weight and its two moments, with weight decay.

    `lr` holds the corrections of the moments' bias.
    """
    weights, first, second = values
    gradient = tf.cast(grad, lr.dtype) + decay * weights
    first += (gradient - first) * (1 - beta1)
    second += (tf.square(gradient) - second) * (1 - beta2)
    return weights - lr * first / (tf.sqrt(second) + epsilon), first, second
