"""Local response normalisation, across channels and across positions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from nets.device_forms import traced_for_gpu
from nets.xla import fused


@keras.saving.register_keras_serializable(package="slimzoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by a power of its neighbours' energy across channels.

    `x / (bias + alpha * sum of x^2 over 2 * depth_radius + 1 channels) ^ beta`, section 3.3 of the
    2012 paper, in the convention of `tf.nn.local_response_normalization`: alpha multiplies the sum.
    (Caffe, PyTorch and cuda-convnet divide theirs by the number of channels.) The defaults are the
    paper's. Takes and gives float [batch, height, width, channels]. On a CPU, what is summed over
    neighbours is rounded to bfloat16 where the inputs are bfloat16, and all else is computed in
    float32: outputs are within 1e-2 of float32's, each relative to itself, and so is the gradient
    at each position.

    Args:
      depth_radius: channels on either side that count; clipped at the ends.
      bias: added to the sum; must keep the denominator positive.
      alpha: multiplies the sum of squares.
      beta: the power.
      groups: of channels, each normalised by itself, as each GPU of 2012 had half of them.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        groups: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises across the last axis."""
        return local_response_normalization(
            inputs, self.depth_radius, self.bias, self.alpha, self.beta, self.groups
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "depth_radius": self.depth_radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
            "groups": self.groups,
        }


def local_response_normalization(
    inputs: tf.Tensor,
    depth_radius: int = 2,
    bias: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
    groups: int = 1,
) -> tf.Tensor:
    """`LocalResponseNormalization` as a function, with a gradient of its own.

    Equal to `tf.nn.local_response_normalization`, but on the CPU three to six times as fast: its
    element-wise parts are fused by XLA, in the form that `device_forms` names.

    Args:
      inputs: float [batch, height, width, channels].
      depth_radius: channels on either side that count; clipped at the ends.
      bias: added to the sum; must keep the denominator positive.
      alpha: multiplies the sum of squares.
      beta: the power.
      groups: of channels, each normalised by itself; must divide their number.

    Returns:
      A tensor of the shape and dtype of `inputs`.
    """
    inputs = tf.convert_to_tensor(inputs)
    form = _in_two_kernels if traced_for_gpu() else _in_loops
    normalize = form(depth_radius, bias, alpha, beta, inputs.dtype)
    rows = tf.reshape(inputs, [-1, inputs.shape[-1] // groups])
    return tf.reshape(normalize(rows), tf.shape(inputs))


@functools.lru_cache  # XLA compiles once for each set of constants and each shape
def _in_two_kernels(
    depth_radius: int, bias: float, alpha: float, beta: float, dtype: tf.DType
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of [positions, channels] in the form for a GPU.

    A kernel reads its inputs and writes its result, and nothing lies in memory between: what a
    neighbour adds is computed anew for each channel that it reaches. The gradient is a function of
    the inputs alone, so the forward pass keeps nothing for it.
    """

    def window_sum(values: tf.Tensor) -> tf.Tensor:
        # Pads and slices, unlike a cumulative sum or a product, are part of an elementwise kernel.
        padded = tf.pad(values, [[0, 0], [depth_radius, depth_radius]])
        offsets = range(2 * depth_radius + 1)
        return sum((padded[:, i : i + values.shape[1]] for i in offsets), tf.zeros(()))

    def denominator(x: tf.Tensor) -> tf.Tensor:
        return bias + alpha * window_sum(tf.square(x))

    @fused
    def normalize(x: tf.Tensor) -> tf.Tensor:
        x = _wide(x)
        return tf.cast(x * _negative_power(denominator(x), beta), dtype)

    @fused
    def gradient_of_inputs(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        x, upstream = _wide(x), _wide(upstream)
        base = denominator(x)
        direct = upstream * _negative_power(base, beta)
        through_sums = x * window_sum(x * direct / base)
        return tf.cast(direct - (2.0 * alpha * beta) * through_sums, dtype)

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return normalize(x), lambda upstream: gradient_of_inputs(x, upstream)

    return apply


@functools.lru_cache
def _in_loops(
    depth_radius: int, bias: float, alpha: float, beta: float, dtype: tf.DType
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of [positions, channels] in the form for a CPU.

    Memory is what limits it, so what passes between its loops is in `dtype`, and each loop ends
    where XLA would otherwise compute a term again for every channel that it reaches. Sums read
    from copies with zeros on both sides: a test for the edges would cost more than the sum.
    """
    # The squares of float16 would overflow.
    summed_dtype = tf.float32 if dtype == tf.float16 else dtype

    def neighbours_sum(padded: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        padded = _wide(padded)  # before it is sliced: then XLA's loop is vectorised
        offsets = [i for i in range(2 * depth_radius + 1) if i != depth_radius]
        return sum((padded[:, i : i + x.shape[1]] for i in offsets), tf.zeros(()))

    # What a channel adds to its own sum is not among what is rounded: where it is the largest by
    # far, the two terms of the gradient nearly cancel.
    def denominator(x: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
        return bias + alpha * (tf.square(_wide(x)) + neighbours_sum(squares, x))

    def weighed(x: tf.Tensor, base: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        return _wide(upstream) * _wide(x) * _negative_power(base, beta) / base

    def pad(values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values, [[0, 0], [depth_radius, depth_radius]])

    @fused
    def square(x: tf.Tensor) -> tf.Tensor:
        return _narrow(pad(tf.square(_wide(x))), summed_dtype)

    @fused
    def divide(x: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
        return _narrow(_wide(x) * _negative_power(denominator(x, squares), beta), dtype)

    @fused
    def weigh(x: tf.Tensor, squares: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        return _narrow(weighed(x, denominator(x, squares), upstream), summed_dtype)

    # A loop of its own: within `weigh`, the test for the edges keeps XLA from vectorising it.
    pad_weighed = fused(pad)

    @fused
    def combine(
        x: tf.Tensor, squares: tf.Tensor, upstream: tf.Tensor, padded: tf.Tensor
    ) -> tf.Tensor:
        base = denominator(x, squares)
        direct = _wide(upstream) * _negative_power(base, beta)
        through_sums = _wide(x) * (weighed(x, base, upstream) + neighbours_sum(padded, x))
        return _narrow(direct - (2.0 * alpha * beta) * through_sums, dtype)

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        squares = square(x)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return combine(x, squares, upstream, pad_weighed(weigh(x, squares, upstream)))

        return divide(x, squares), gradient

    return apply


def _wide(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32)


def _narrow(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts float32 to `dtype`.

    To bfloat16 by the bits, to the nearest and of two to the even one. With XLA's own cast, which
    looks for NaNs that would overflow, a loop takes up to twice the time on the CPU; arithmetic
    makes none of those.
    """
    if dtype != tf.bfloat16:
        return tf.cast(values, dtype)
    bits = tf.bitcast(values, tf.uint32)
    number = functools.partial(tf.constant, dtype=tf.uint32)
    last_kept = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, number(16)), number(1))
    rounded = tf.bitwise.right_shift(bits + number(0x7FFF) + last_kept, number(16))
    return tf.bitcast(tf.cast(rounded, tf.uint16), tf.bfloat16)


def _negative_power(base: tf.Tensor, exponent: float) -> tf.Tensor:
    if exponent == 0.75:
        # A reciprocal root and the root of it are several times cheaper than a general power.
        root = tf.math.rsqrt(base)
        return root * tf.sqrt(root)
    return tf.pow(base, -exponent)


@keras.saving.register_keras_serializable(package="slimzoo")
class SpatialResponseNormalization(keras.layers.Layer):
    """Divides each activation by a power of its neighbours' energy within its own channel.

    `x / (bias + alpha * sum of x^2 over window x window positions) ^ beta`, with zeros past the
    edges: cuda-convnet's `rnorm` layer, which divides its own alpha by window^2. Takes and gives
    float [batch, height, width, channels]; computes in float32 whatever the dtype.

    Args:
      window: height and width of the neighbourhood, odd, in pixels.
      alpha: multiplies the sum of squares.
      bias: added to the sum; must keep the denominator positive.
      beta: the power.

    Raises:
      ValueError: if `window` is not odd, and so has no centre.
    """

    def __init__(
        self, window: int, alpha: float, bias: float = 1.0, beta: float = 0.75, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window is {window}; it must be an odd number of pixels.")
        self.window = window
        self.alpha = alpha
        self.bias = bias
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises over height and width."""
        wide = tf.cast(inputs, tf.float32)
        # A depthwise convolution with ones: an average pool would count only what is inside.
        ones = tf.ones([self.window, self.window, inputs.shape[-1], 1])
        window_sum = tf.nn.depthwise_conv2d(tf.square(wide), ones, [1, 1, 1, 1], "SAME")
        scale = _negative_power(self.bias + self.alpha * window_sum, self.beta)
        return tf.cast(wide * scale, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "window": self.window,
            "alpha": self.alpha,
            "bias": self.bias,
            "beta": self.beta,
        }
