"""The layers that AlexNet needs and Keras lacks, or has in a form that is slow on the CPU."""

from __future__ import annotations

import contextlib
import functools
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="slimzoo")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` on TensorFlow's own kernels, grouped convolution included.

    A grouped convolution is one layer a group, side by side, so the activation must be element by
    element. Keras would send it through XLA on the CPU, several times slower; TensorFlow's grouped
    kernel has no gradient on a CPU without oneDNN, and is no faster than this with it. Takes and
    gives float [batch, height, width, channels].
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves, adds the bias and applies the activation."""
        kernel = tf.convert_to_tensor(self.kernel)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if self.groups == 1:
            return self._activate(inputs, kernel, bias)
        inputs = tf.split(inputs, self.groups, axis=-1)
        kernels = tf.split(kernel, self.groups, axis=-1)
        biases = [None] * self.groups if bias is None else tf.split(bias, self.groups)
        towers = zip(inputs, kernels, biases, strict=True)
        return tf.concat([self._activate(*tower) for tower in towers], axis=-1)

    def _activate(self, inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
        outputs = self._convolve(inputs, kernel)
        if bias is not None:
            # bias_add, unlike a broadcast addition, is fused with the convolution, and its gradient
            # with the kernel's.
            outputs = tf.nn.bias_add(outputs, bias)
        if self.activation is keras.activations.relu and outputs.dtype == tf.bfloat16:
            return _bfloat16_relu(outputs)
        return self.activation(outputs)

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.padding == "valid" and tuple(inputs.shape[1:3]) == tuple(kernel.shape[:2]):
            # A kernel as large as its input is a fully connected layer: one matrix product.
            inputs_per_output = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
            outputs = tf.matmul(
                tf.reshape(inputs, [-1, inputs_per_output]),
                tf.reshape(kernel, [inputs_per_output, -1]),
            )
            return outputs[:, tf.newaxis, tf.newaxis, :]
        if self._reads_few_channels_in_strides(inputs):
            return _convolve_blocks(inputs, kernel, self.strides[0])
        return tf.nn.conv2d(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )

    def _reads_few_channels_in_strides(self, inputs: tf.Tensor) -> bool:
        """Whether matrix units would idle: they multiply bfloat16 channels by the dozen."""
        return (
            inputs.dtype == tf.bfloat16
            and inputs.shape[1:].is_fully_defined()
            and inputs.shape[-1] <= 4
            and self.strides[0] == self.strides[1] > 1
            and self.dilation_rate == (1, 1)
            and self.padding == "valid"
        )


@tf.custom_gradient
def _bfloat16_relu(inputs: tf.Tensor):
    """`tf.nn.relu`, whose own gradient takes twice the time for bfloat16 on a CPU."""
    outputs = tf.nn.relu(inputs)
    return outputs, lambda upstream: _where_positive(upstream, outputs)


@tf.function(jit_compile=True, autograph=False)
def _where_positive(values: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """`values` where `condition` is positive, else 0: by the bits, the first of them the sign."""
    bits = tf.bitcast(values, tf.int16)
    kept = tf.where(tf.bitcast(condition, tf.int16) > 0, bits, tf.zeros_like(bits))
    return tf.bitcast(kept, tf.bfloat16)


def _convolve_blocks(inputs: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    """A VALID convolution in strides, as one of stride 1 over blocks of stride x stride pixels.

    A block's pixels become channels, and zeros fill the kernel up to whole blocks: AlexNet's first
    layer, 11x11 in strides of 4 over 3 channels, is 3x3 over 48.
    """
    kernel_size = kernel.shape[:2]
    blocks_in_kernel = [-(-size // stride) for size in kernel_size]
    blocks_in_inputs = [
        (size - extent) // stride + blocks
        for size, extent, blocks in zip(
            inputs.shape[1:3], kernel_size, blocks_in_kernel, strict=True
        )
    ]
    _, _, channels, filters = kernel.shape
    kernel_as_image = tf.reshape(kernel, [1, *kernel_size, channels * filters])
    return tf.nn.conv2d(
        _space_to_depth(inputs, stride, blocks_in_inputs),
        tf.reshape(
            _space_to_depth(kernel_as_image, stride, blocks_in_kernel),
            [*blocks_in_kernel, stride**2 * channels, filters],
        ),
        strides=1,
        padding="VALID",
    )


def _space_to_depth(images: tf.Tensor, block: int, blocks: list[int]) -> tf.Tensor:
    """`tf.nn.space_to_depth` to `blocks` rows and columns, past the edge zeros; faster on a CPU."""
    rows, columns = (count * block for count in blocks)
    inside = images[:, :rows, :columns]
    _, height, width, channels = inside.shape
    whole = tf.pad(inside, [[0, 0], [0, rows - height], [0, columns - width], [0, 0]])
    split = tf.reshape(whole, [-1, blocks[0], block, blocks[1], block * channels])
    return tf.reshape(tf.transpose(split, [0, 1, 3, 2, 4]), [-1, *blocks, block**2 * channels])


@keras.saving.register_keras_serializable(package="slimzoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by a power of its neighbours' energy across channels.

    `x / (bias + alpha * sum of x^2 over 2 * depth_radius + 1 channels) ^ beta`, section 3.3 of the
    2012 paper, in the convention of `tf.nn.local_response_normalization`: alpha multiplies the sum.
    (Caffe, PyTorch and cuda-convnet divide theirs by the number of channels.) The defaults are the
    paper's. Takes and gives float [batch, height, width, channels]. What is summed over neighbours
    is rounded to bfloat16 where the inputs are bfloat16, and all else is computed in float32:
    outputs are within 1e-2 of float32's, each relative to itself, and so is the gradient at each
    position.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises across the last axis."""
        return local_response_normalization(
            inputs, self.depth_radius, self.bias, self.alpha, self.beta
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
        }


def local_response_normalization(
    inputs: tf.Tensor,
    depth_radius: int = 2,
    bias: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
) -> tf.Tensor:
    """`LocalResponseNormalization` as a function, with a gradient of its own.

    Equal to `tf.nn.local_response_normalization`, but on the CPU three to six times as fast: its
    element-wise parts are fused by XLA, and the gradient keeps the squares of the forward pass.

    Args:
      inputs: float [batch, height, width, channels].
      depth_radius: channels on either side that count; clipped at the ends.
      bias: added to the sum; must keep the denominator positive.
      alpha: multiplies the sum of squares.
      beta: the power.

    Returns:
      A tensor of the shape and dtype of `inputs`.
    """
    inputs = tf.convert_to_tensor(inputs)
    normalize = _local_response_normalizer(depth_radius, bias, alpha, beta, inputs.dtype)
    rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
    return tf.reshape(normalize(rows), tf.shape(inputs))


@functools.lru_cache  # XLA compiles once for each set of constants and each shape
def _local_response_normalizer(
    depth_radius: int, bias: float, alpha: float, beta: float, dtype: tf.DType
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of [positions, channels].

    Memory is what limits it, so what passes between its loops is in `dtype`, and each loop ends
    where XLA would otherwise compute a term again for every channel that it reaches. Sums read
    from copies with zeros on both sides: a test for the edges would cost more than the sum.
    """
    fuse = functools.partial(tf.function, jit_compile=True, autograph=False)
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

    @fuse
    def square(x: tf.Tensor) -> tf.Tensor:
        return _narrow(pad(tf.square(_wide(x))), summed_dtype)

    @fuse
    def divide(x: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
        return _narrow(_wide(x) * _negative_power(denominator(x, squares), beta), dtype)

    @fuse
    def weigh(x: tf.Tensor, squares: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        return _narrow(weighed(x, denominator(x, squares), upstream), summed_dtype)

    # A loop of its own: within `weigh`, the test for the edges keeps XLA from vectorising it.
    pad_weighed = fuse(pad)

    @fuse
    def combine(
        x: tf.Tensor, squares: tf.Tensor, upstream: tf.Tensor, padded: tf.Tensor
    ) -> tf.Tensor:
        base = denominator(x, squares)
        direct = _wide(upstream) * _negative_power(base, beta)
        through_sums = _wide(x) * (weighed(x, base, upstream) + neighbours_sum(padded, x))
        return _narrow(direct - (2.0 * alpha * beta) * through_sums, dtype)

    @tf.custom_gradient
    def apply(x: tf.Tensor):
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


@keras.saving.register_keras_serializable(package="slimzoo")
class Dropout(keras.layers.Layer):
    """Zeroes activations in training, in today's form or in the 2012 paper's.

    Args:
      keep_prob: the probability that an activation is kept, in (0, 1].
      rescale_in_training: True divides what is kept by `keep_prob` in training (TF-Slim, Keras);
        False leaves it and multiplies by `keep_prob` at test time (section 4.2 of the paper).

    Raises:
      ValueError: if `keep_prob` is not in (0, 1].
    """

    def __init__(self, keep_prob: float = 0.5, rescale_in_training: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 < keep_prob <= 1:
            raise ValueError(f"dropout_keep_prob is {keep_prob}; it must be in (0, 1].")
        self.keep_prob = keep_prob
        self.rescale_in_training = rescale_in_training

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops activations if `training`; its draws come from `dropout_seed` where one is set."""
        if self.keep_prob == 1:
            return inputs
        if not training:
            return inputs if self.rescale_in_training else inputs * self.keep_prob
        seed = getattr(_dropout_state, "seed", None)
        if seed is None:
            seed = tf.random.uniform([2], tf.int32.min, tf.int32.max, dtype=tf.int32)
        # Each layer draws from a stream of its own, named by the layer rather than numbered, so
        # that adding one changes no other.
        seed = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(self.name.encode()) >> 1)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed) < self.keep_prob
        outputs = tf.where(kept, inputs, tf.zeros([], inputs.dtype))
        return outputs / self.keep_prob if self.rescale_in_training else outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "keep_prob": self.keep_prob,
            "rescale_in_training": self.rescale_in_training,
        }


# Thread-local, because MirroredStrategy traces each replica in a thread of its own.
_dropout_state = threading.local()


@contextlib.contextmanager
def dropout_seed(seed: tf.Tensor | None) -> Iterator[None]:
    """Makes the `Dropout` layers called inside draw from `seed` (int32 [2]); None: at random."""
    outer = getattr(_dropout_state, "seed", None)
    _dropout_state.seed = seed
    try:
        yield
    finally:
        _dropout_state.seed = outer


@keras.saving.register_keras_serializable(package="slimzoo")
class PadToWholeStrides(keras.layers.Layer):
    """Adds zero rows and columns at the bottom and right until a VALID window reads every pixel.

    The 2012 network gives 55 outputs from 224 pixels without padding: its last window reads three
    pixels past the edge, as zeros. At 227, nothing is added.

    Args:
      kernel_size: of the convolution that follows, in pixels.
      strides: of that convolution, in pixels.
    """

    def __init__(self, kernel_size: int, strides: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.strides = strides

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pads [batch, height, width, channels] at the end of height and width."""
        dynamic = tf.shape(inputs)
        height, width = (
            dynamic[axis] if inputs.shape[axis] is None else inputs.shape[axis] for axis in (1, 2)
        )
        return tf.pad(
            inputs, [[0, 0], [0, self._missing(height)], [0, self._missing(width)], [0, 0]]
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The padded shape."""
        batch, height, width, channels = input_shape
        padded = [None if n is None else n + self._missing(n) for n in (height, width)]
        return (batch, *padded, channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"kernel_size": self.kernel_size, "strides": self.strides}

    def _missing(self, size: Any) -> Any:
        return -(size - self.kernel_size) % self.strides


@keras.saving.register_keras_serializable(package="slimzoo")
class SpatialSqueeze(keras.layers.Layer):
    """Drops height and width of [batch, 1, 1, channels]."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Gives [batch, channels]."""
        return tf.squeeze(inputs, [1, 2])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, channels]; raises ValueError if height or width is known and not 1."""
        batch, height, width, channels = input_shape
        if any(size not in (1, None) for size in (height, width)):
            raise ValueError(
                f"The logits have {height}x{width} positions and cannot be squeezed to one. "
                "Give images of the network's default size, or ask for global_pool=True "
                "(their mean) or spatial_squeeze=False (all of them)."
            )
        return (batch, channels)
