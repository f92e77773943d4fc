"""Response normalisation forward and backward in each library; the unit is a pass over a batch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from workloads import LeftOutError, Repetition, Workload

# The paper's constants, section 3.3; PyTorch divides alpha by its size.
_DEPTH_RADIUS, _BIAS, _ALPHA, _BETA = 2, 2.0, 1e-4, 0.75


def ours(shape: Sequence[int], precision: str) -> Workload:
    """`nets.response_normalization.local_response_normalization`."""
    from slimzoo import environment

    environment.set_up()  # as the commands do, before TensorFlow is imported
    from nets.response_normalization import local_response_normalization

    return _in_tensorflow(local_response_normalization, shape, precision)


def tensorflow(shape: Sequence[int], precision: str) -> Workload:
    """`tf.nn.local_response_normalization`, through float32 as it lacks a bfloat16 gradient."""
    import tensorflow as tf

    def normalize(inputs: tf.Tensor, *constants: float) -> tf.Tensor:
        wide = tf.cast(inputs, tf.float32)
        return tf.cast(tf.nn.local_response_normalization(wide, *constants), inputs.dtype)

    return _in_tensorflow(normalize, shape, precision)


def pytorch(shape: Sequence[int], precision: str, mode: str) -> Workload:
    """`torch.nn.functional.local_response_norm`; `mode` is eager, channels_last or compiled."""
    if not importlib.util.find_spec("torch"):
        raise LeftOutError("torch is not installed")
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch, height, width, channels = shape
    inputs = torch.randn(batch, channels, height, width, device=device)
    inputs = inputs.to(getattr(torch, precision))
    if mode == "channels_last":
        inputs = inputs.to(memory_format=torch.channels_last)
    inputs.requires_grad_()
    upstream = torch.ones_like(inputs)
    size = 2 * _DEPTH_RADIUS + 1

    def normalize(inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.local_response_norm(inputs, size, size * _ALPHA, _BETA, _BIAS)

    if mode == "compiled":
        normalize = torch.compile(normalize)

    # Under autocast, as in training: eager PyTorch has no bfloat16 kernel of it on the CPU.
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")

    def there_and_back() -> float:
        inputs.grad = None
        with autocast:
            outputs = normalize(inputs)
        outputs.backward(upstream.to(outputs.dtype))
        assert inputs.grad is not None
        return inputs.grad[0, 0, 0, 0].item()

    return Repetition(there_and_back, 1, warm_up_calls=2)


def _in_tensorflow(normalize: Callable, shape: Sequence[int], precision: str) -> Workload:
    import tensorflow as tf

    inputs = tf.cast(tf.random.normal(shape), precision)
    upstream = tf.ones_like(inputs)

    @tf.function
    def there_and_back(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = normalize(inputs, _DEPTH_RADIUS, _BIAS, _ALPHA, _BETA)
        # Both are returned, so that neither is optimised away.
        return outputs, tape.gradient(outputs, inputs, upstream)

    return Repetition(lambda: there_and_back(inputs)[1][0, 0, 0, 0].numpy(), 1, warm_up_calls=2)
