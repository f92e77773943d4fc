"""Layers that Keras lacks, or has in a form that is slow."""

from __future__ import annotations

import contextlib
import zlib
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from nets.activations import bfloat16_relu, compares_bits
from nets.context_settings import holding
from nets.device_forms import traced_for_gpu


@keras.saving.register_keras_serializable(package="slimzoo")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` on TensorFlow's own kernels, grouped convolution included.

    On a CPU, a grouped convolution is one layer a group, side by side, so the activation must be
    element by element. Keras would send it through XLA there, several times slower. `device_forms`
    says what a GPU does instead. Takes and gives float [batch, height, width, channels].
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves, adds the bias and applies the activation."""
        kernel = tf.convert_to_tensor(self.kernel)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if self.groups == 1 or traced_for_gpu():
            return self._activate(inputs, kernel, bias)
        return self._side_by_side(inputs, kernel, bias)

    def _side_by_side(
        self, inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None
    ) -> tf.Tensor:
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
        if self.activation is keras.activations.relu and compares_bits(outputs):
            return bfloat16_relu(outputs)
        return self.activation(outputs)

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # A group's kernel reads a part of the channels.
        in_groups = inputs.shape[-1] != kernel.shape[2]
        is_whole = self.padding == "valid" and tuple(inputs.shape[1:3]) == tuple(kernel.shape[:2])
        if is_whole and not in_groups:
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
        """Whether a CPU's matrix units would idle: they multiply bfloat16 channels by the dozen."""
        return (
            inputs.dtype == tf.bfloat16
            and inputs.shape[1:].is_fully_defined()
            and inputs.shape[-1] <= 4
            and self.strides[0] == self.strides[1] > 1
            and self.dilation_rate == (1, 1)
            and self.padding == "valid"
            and not traced_for_gpu()
        )


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
class LocallyConnected2D(keras.layers.Layer):
    """A convolution that shares no weights: each position has a kernel and a bias of its own.

    cuda-convnet's `local` layer, of stride 1 and as many positions as its inputs have, with zeros
    past the edges. Takes and gives float [batch, height, width, channels] of one size.

    Args:
      filters: channels of the output.
      kernel_size: height and width of the window, odd, in pixels.
      activation: applied last.
      kernel_initializer: of weights [height, width, kernel_size^2 * channels, filters].
      bias_initializer: of biases [height, width, filters].
      kernel_regularizer: of the weights, as `keras.layers.Conv2D` has it; so are the others.
      bias_regularizer: of the biases.
      kernel_constraint: of the weights.
      bias_constraint: of the biases.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights, of which there are as many as positions."""
        height, width, channels = input_shape[1:]
        if height is None or width is None or channels is None:
            raise ValueError(
                f"{self.name} has weights for each position and needs to know how many there are; "
                f"its inputs are {input_shape}."
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(height, width, self.kernel_size**2 * channels, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(height, width, self.filters),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Multiplies each position's window with its own kernel."""
        _, height, width, _ = inputs.shape
        margin = self.kernel_size // 2
        padded = tf.pad(inputs, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
        offsets = range(self.kernel_size)
        # Slices rather than tf.image.extract_patches, whose gradient is a sparse product.
        windows = [padded[:, i : i + height, j : j + width] for i in offsets for j in offsets]
        windows = tf.concat(windows, axis=-1)
        outputs = tf.einsum("bhwi,hwio->bhwo", windows, tf.convert_to_tensor(self.kernel))
        return self.activation(outputs + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape, with as many channels as there are filters."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
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
        kept = draw_uniform(tf.shape(inputs), self.name) < self.keep_prob
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


_dropout_seed = ContextVar[tf.Tensor | None]("dropout_seed", default=None)


def dropout_seed(seed: tf.Tensor | None) -> contextlib.AbstractContextManager[None]:
    """Makes the layers that drop, called inside, draw from `seed` (int32 [2]); None: at random."""
    return holding(_dropout_seed, seed)


def draw_uniform(shape: Any, layer: str) -> tf.Tensor:
    """Draws from [0, 1) in float32 for a layer, by its name; from `dropout_seed` if one is set."""
    seed = _dropout_seed.get()
    if seed is None:
        seed = tf.random.uniform([2], tf.int32.min, tf.int32.max, dtype=tf.int32)
    # Each layer draws from a stream of its own, named by the layer rather than numbered, so that
    # adding one changes no other.
    seed = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(layer.encode()) >> 1)
    return tf.random.stateless_uniform(shape, seed)


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
class AdaptiveAveragePooling2D(keras.layers.Layer):
    """Averages [batch, height, width, channels] over `size` x `size` windows that cover the map.

    Window i reaches from floor(i * n / size) to ceil((i + 1) * n / size), as PyTorch's do: they
    overlap where n is no multiple of `size`, and repeat positions where it is less. Keras' layer
    of this name does not take sizes that are unknown until the graph runs.

    Args:
      size: height and width of the output, in positions.
    """

    def __init__(self, size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Averages over height, then over width."""
        if tuple(inputs.shape[1:3]) == (self.size, self.size):
            return inputs
        rows, columns = (self._weights(tf.shape(inputs)[axis], inputs.dtype) for axis in (1, 2))
        return tf.einsum("bhwc,ih,jw->bijc", inputs, rows, columns)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, size, size, channels]."""
        return (input_shape[0], self.size, self.size, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return super().get_config() | {"size": self.size}

    def _weights(self, n: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The share of each of `n` positions in each window, [size, n]."""
        windows, positions = tf.range(self.size)[:, tf.newaxis], tf.range(n)[tf.newaxis]
        starts, ends = windows * n // self.size, -(-(windows + 1) * n // self.size)
        inside = tf.cast((positions >= starts) & (positions < ends), dtype)
        return inside / tf.cast(ends - starts, dtype)


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
                f"Its logits have {height}x{width} positions and cannot be squeezed to one. (In "
                "Python, get_network_fn takes global_pool=True, which is their mean, and "
                "spatial_squeeze=False, which keeps all.)"
            )
        return (batch, channels)

    def get_config(self) -> dict[str, Any]:
        """What any layer has: without this, Keras takes no regularizer of the outputs."""
        return super().get_config()
