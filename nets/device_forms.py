"""Which form a layer takes: that for a CPU, or that for a GPU.

Weights, their names and values are the same in both. A layer asks when it is called, not when it is
made: a model is made once and traced for whatever device runs it. These have two forms:

layers: grouped convolution
    CPU: `Conv2D._side_by_side`. Without oneDNN TensorFlow's grouped kernel has no gradient, and
        with it, it is no faster.
    GPU: `tf.nn.conv2d`. cuDNN's is one kernel, and nothing is split or joined around it.

layers: a convolution in strides over few channels of bfloat16, as AlexNet's first
    CPU: `_convolve_blocks`. Matrix units idle with 3 channels; blocks of pixels have 48.
    GPU: `tf.nn.conv2d`. Blocks would be passes over memory before and after cuDNN's kernel.

activations: ReLU of bfloat16
    CPU: `bfloat16_relu`. TensorFlow's gradient takes twice the time of one that compares bits.
    GPU: `tf.nn.relu`. It moves as little memory as any.

activations: ReLU6 of bfloat16
    CPU: `_bfloat16_relu6`. As above.
    GPU: `tf.nn.relu6`. As above.

response_normalization: response normalisation across channels
    CPU: `_in_loops`. Five loops that XLA vectorises; what each neighbour would compute anew lies in
        memory between them, rounded by its bits.
    GPU: `_in_two_kernels`. Arithmetic costs less than memory: one kernel forward and one backward
        compute it anew, and round by an ordinary cast.

separable: depthwise convolution of bfloat16
    CPU: `_bfloat16_depthwise`. The gradient in float32 takes half the time.
    GPU: `tf.nn.depthwise_conv2d`. Its gradient has kernels for bfloat16.

batch_normalization: normalisation in evaluation, float32
    CPU: `tf.compat.v1.nn.fused_batch_norm`. TensorFlow fuses it with the convolution before, but
        for a few networks' (`folds_in_float32`).
    GPU: `BatchNormalization._folded_into`. Nothing fuses it; in the weights it costs no pass.

compiled_updates: the update of a weight and of an optimizer's state
    CPU: each result from inputs of its own. Then XLA computes all in one loop over memory.
    GPU: one result from another. XLA makes one kernel of it as it is.

One form serves both where XLA compiles it, on a GPU into one kernel: the device half of a
preprocessing (`training.input_pipeline`). So does the matrix product that a kernel as large as its
input is (`layers`).

The forms for a GPU were chosen by which kernels TensorFlow has, and are tested on a CPU against the
others. Their speed has not been measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

KINDS = ("CPU", "GPU")

# For all threads: MirroredStrategy traces each replica in one of its own.
_set_by_hand: list[str] = []


def traced_for_gpu() -> bool:
    """Whether what is called now, or traced, is for a GPU.

    That is where TensorFlow puts an operation here: on the device of the innermost `tf.device`
    scope, which a strategy enters for each replica; without one, on a GPU if it sees one.
    """
    if _set_by_hand:
        return _set_by_hand[-1] == "GPU"
    with tf.init_scope():  # within a function, a scope around the function counts as well
        kind = tf.DeviceSpec.from_string(tf.negative(1.0).device).device_type
    if kind in KINDS:
        return bool(kind == "GPU")
    # Operations of DTensor are put on all devices of its mesh, those of a graph of TensorFlow 1
    # somewhere later.
    return bool(tf.config.list_logical_devices("GPU"))


@contextlib.contextmanager
def traced_for(kind: str) -> Iterator[None]:
    """Makes the layers that are called inside take the forms for a kind of device.

    For graphs that another device will run, for tests and for benchmarks. A `tf.function` keeps
    the forms that it was first traced with.

    Args:
      kind: CPU or GPU.

    Raises:
      ValueError: if it is neither.
    """
    if kind not in KINDS:
        raise ValueError(f"The kind of device is {kind!r}; layers have forms for CPU and GPU.")
    _set_by_hand.append(kind)
    try:
        yield
    finally:
        _set_by_hand.pop()
