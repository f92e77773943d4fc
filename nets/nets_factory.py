"""The registry of networks.

    network_fn = nets_factory.get_network_fn("alexnet", num_classes=10)
    logits, end_points = network_fn(images)

`register_network` adds one, from any package.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import fnmatch
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

import nets
from nets import drop_path, layers, scopes, tf_slim_names
from nets.batch_normalization import folded_into_convolutions
from nets.registry import Network, networks, register_network
from slimzoo_registry import unknown_name_message

__all__ = [
    "NetworkFn",
    "NumClasses",
    "WholeNetworkFn",
    "get_network_fn",
    "networks",
    "parameter_counts",
    "register_network",
]

# Families register their networks when they are imported; each is a file of this folder.
for _module in pkgutil.iter_modules(nets.__path__):
    importlib.import_module(f"nets.{_module.name}")

# The weights that decay, and what layers call that. A separable convolution has two.
_KERNELS = {
    "kernel": "kernel_regularizer",
    "depthwise_kernel": "depthwise_regularizer",
    "pointwise_kernel": "pointwise_regularizer",
}


class NumClasses(enum.Enum):
    """A number of classes that is no number and not None, which asks for features."""

    OWN = "the network's own"


class NetworkFn(abc.ABC):
    """A network with its variables, to be called on images; `WholeNetworkFn` is the usual one.

    Args:
      network: what is registered of it.
      num_classes: of the logits; None if it ends in features.
      is_training: the mode in which calls run that do not say it themselves.

    Attributes:
      network: as given.
      name: the network's name in the registry.
      scope: what the names of its variables begin with; often the same.
      first_layer: the scope of the layer that sees the images, such as `alexnet_v2/conv1`.
      heads: the scopes of the layers that give one number a class, such as `alexnet_v2/fc8`, those
        of auxiliary logits last; none if it ends in features.
      default_image_size: in pixels.
      channels: of its images: 3 for RGB, 1 for grey.
      convolutions_end: the last layer of its convolutional stage, by its name in `model`; None if
        no fully connected layers follow it.
      preprocessing_name: the pipeline that feeds it.
      num_classes: as given.
      model: the Keras functional model from images to logits.
    """

    heads: tuple[str, ...]
    model: keras.Model

    def __init__(self, network: Network, num_classes: int | None, is_training: bool):
        self.network = network
        self.name = network.name
        self.scope = network.scope
        self.first_layer = scopes.joined(self.scope, network.first_layer)
        self.default_image_size = network.default_image_size
        self.channels = network.channels
        self.convolutions_end = network.convolutions_end and scopes.layer_name(
            network.convolutions_end
        )
        self.preprocessing_name = network.preprocessing_name
        self.num_classes = num_classes
        self._is_training = is_training
        self._minimum_image_size = network.minimum_image_size
        self._takes_one_size = network.takes_one_size
        self._sizes_that_fit: set[tuple[int, int]] = set()

    def __call__(
        self,
        images: tf.Tensor,
        is_training: bool | None = None,
        seed: tf.Tensor | None = None,
        step: tf.Tensor | None = None,
        **options: Any,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Runs the network.

        Args:
          images: float [batch, height, width, channels], preprocessed; height and width at least
            the network's receptive field, or unknown until the graph runs.
          is_training: whether dropout drops; None is what `get_network_fn` was told.
          seed: int32 [2] that dropout draws from, for a step that can be repeated; None draws
            anew at each call.
          step: an integer scalar, how many steps of training there were: paths are dropped the
            more often the later it is (`drop_path.DropPath`). None drops none.
          **options: none are taken; the error says where they go.

        Returns:
          Logits in float32, [batch, num_classes] or as the network's options say (features
          if `num_classes` is None), and the ordered end points, by TF-Slim's names.

        Raises:
          TypeError: if there are options, which TF-Slim's functions took at each call, and which
            these have from `get_network_fn`.
          ValueError: if rank, channels, dtype or size of `images` do not fit.
        """
        if options:
            raise TypeError(self._where_options_go(options))
        images = self._checked(images)
        training = self._is_training if is_training is None else is_training
        with (
            layers.dropout_seed(seed),
            drop_path.training_step(step),
            folded_into_convolutions(not training),
        ):
            outputs, end_points = self._run(images, training)
        return tf.cast(outputs, tf.float32), end_points

    @abc.abstractmethod
    def _run(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The outputs for images that fit, and the end points."""

    @property
    @abc.abstractmethod
    def layers(self) -> list[keras.layers.Layer]:
        """Every layer that the network is computed with."""

    @property
    @abc.abstractmethod
    def variables(self) -> dict[str, Any]:
        """Every weight by its TF-Slim name, for example `alexnet_v2/conv1/weights`."""

    @property
    @abc.abstractmethod
    def decaying(self) -> list[str]:
        """The variables that weight decay is on."""

    @abc.abstractmethod
    def _ask_every_layer(self, shape: list[int]) -> None:
        """Raises ValueError if a layer cannot take what images of a shape become."""

    def _where_options_go(self, options: Mapping[str, Any]) -> str:
        """What to answer to a call with options, which TF-Slim's functions took."""
        if "reuse" in options:
            return "Every call of a network uses the same variables: leave out reuse."
        known = self.network.options
        for name in options:
            if name not in known:
                return unknown_name_message(f"option of {self.name}", name, known)
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return (
            f"A network takes its options where it is built: get_network_fn({self.name!r}, ..., "
            f"{given}), and not where it is called."
        )

    def _checked(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if not images.dtype.is_floating:
            raise ValueError(
                f"{self.name} was given {images.dtype.name} images; it takes float ones, as "
                f"the preprocessing {self.preprocessing_name!r} makes of uint8 images."
            )
        if images.shape.rank != 4 or images.shape[3] != self.channels:
            raise ValueError(
                f"{self.name} was given images of shape {images.shape}; "
                f"it takes [batch, height, width, {self.channels}]"
                f"{', grey' if self.channels == 1 else ''}."
            )
        sizes = images.shape[1:3]
        own = self.default_image_size
        if self._takes_one_size and any(size not in (None, own) for size in sizes):
            raise ValueError(
                f"{self.name} was given images of {images.shape[1]}x{images.shape[2]} pixels; it "
                f"takes {own}x{own} alone, because it has weights for each position."
            )
        if any(size is not None and size < self._minimum_image_size for size in sizes):
            raise ValueError(
                f"{self.name} was given images of {images.shape[1]}x{images.shape[2]} pixels; it "
                f"takes {self._minimum_image_size}x{self._minimum_image_size} or more."
            )
        if sizes.is_fully_defined():
            self._check_size(*sizes)
        if self._takes_one_size:
            images = tf.ensure_shape(images, [None, own, own, self.channels])
        return images

    def _check_size(self, height: int, width: int) -> None:
        """Asks every layer once; ValueError without the frames of Keras' call stack."""
        if (height, width) in self._sizes_that_fit:
            return
        own = self.default_image_size
        is_own = (height, width) == (own, own)
        try:
            # Options can be such that the network's own size does not fit either.
            self._ask_every_layer([1, height, width, self.channels])
        except ValueError as error:
            made_for = ", its own size" if is_own else f"; it is made for {own}x{own}"
            raise ValueError(
                f"{self.name} was given images of {height}x{width} pixels{made_for}. {error}"
            ) from error
        self._sizes_that_fit.add((height, width))


class WholeNetworkFn(NetworkFn):
    """A network that is one Keras model. Made by `get_network_fn`.

    Args:
      network: what is registered of it.
      num_classes: of the logits; None ends in features.
      is_training: the mode that it is built for, and in which calls run that do not say it.
      **options: of the network.

    Raises:
      ValueError: if it is not as it was registered.
    """

    def __init__(
        self, network: Network, num_classes: int | None, is_training: bool, **options: Any
    ):
        super().__init__(network, num_classes, is_training)
        self._decays_biases = network.decays_biases
        self._without_decay = network.without_decay
        if network.differs_in_training:
            options["is_training"] = is_training
        # In the dtype of the layers, so that images which have it already are not widened.
        dtype = keras.config.dtype_policy().compute_dtype
        size = network.default_image_size if network.takes_one_size else None
        images = keras.Input([size, size, self.channels], dtype=dtype, name="images")
        outputs, end_points = network.build(images, num_classes=num_classes, **options)
        self.model = keras.Model(images, outputs, name=self.name)
        self._end_point_names = list(end_points)
        # The same layers, with every end point as an output.
        self._model_with_end_points = keras.Model(images, [outputs, *end_points.values()])
        self.heads = () if num_classes is None else self._find_heads(network)
        self._check_end_points(end_points)
        self._check_layers(self.heads[:1] if options else self.heads)
        self._check_convolutions_end()
        found = self._scopes_with_variables()
        self.heads = tuple(head for head in self.heads if head in found)

    def _run(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        outputs, *values = self._model_with_end_points(images, training=training)
        return outputs, dict(zip(self._end_point_names, values, strict=True))

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """Every layer, those of auxiliary logits included, which `model` leaves out."""
        return self._model_with_end_points.layers

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """Every weight by its TF-Slim name, for example `alexnet_v2/conv1/weights`."""
        return scopes.variables_by_name(self.scope, self.layers)

    @property
    def decaying(self) -> list[str]:
        """The variables that weight decay is on: weights, but for those of layers without it."""
        names = {id(variable): name for name, variable in self.variables.items()}
        return [
            names[id(weight)]
            for layer in self.layers
            for weight in layer.weights
            if self.decays(layer)
            # Biases are vectors, or have one at each position.
            and (self._decays_biases if weight.name == "bias" else len(weight.shape) > 1)
        ]

    def decays(self, layer: keras.layers.Layer) -> bool:
        """Whether weight decay is on the weights of one of its layers."""
        listed = scopes.scope_of(layer) in self._without_decay
        return not listed and getattr(layer, "decays", True)

    def regularization_loss(self) -> tf.Tensor:
        """`weight_decay / 2 * sum of squares` over what decays, seldom biases; a scalar."""
        losses = self._model_with_end_points.losses
        return tf.add_n(losses) if losses else tf.zeros([])

    def _find_heads(self, network: Network) -> tuple[str, ...]:
        """The registered heads, and the auxiliary one if the network was built with it."""
        heads = [scopes.joined(self.scope, head) for head in network.heads]
        if network.auxiliary_head is not None:
            pattern = scopes.joined(self.scope, network.auxiliary_head)
            layer_scopes = dict.fromkeys(name.rpartition("/")[0] for name in self.variables)
            heads += fnmatch.filter(layer_scopes, pattern)
        return tuple(heads)

    def _check_end_points(self, names: Iterable[str]) -> None:
        """Those that are called like layers must have the scope of these; ValueError if not."""
        layer_scopes = set(map(scopes.scope_of, self.layers))
        for name in names:
            _, _, below = name.partition("/")
            if self.scope and below in layer_scopes and not name.startswith(f"{self.scope}/"):
                raise ValueError(
                    f"{self.name} has the end point {name!r}, and its variables have the scope "
                    f"{self.scope!r}. Give register_network the scope that the end points have."
                )

    def _check_layers(self, heads: Iterable[str]) -> None:
        """The first layer and these heads must have variables; ValueError if not."""
        found = self._scopes_with_variables()
        layers_by_role = [("first_layer", self.first_layer), *(("head", head) for head in heads)]
        for role, scope in layers_by_role:
            if scope not in found:
                raise ValueError(
                    f"{self.name} is registered with {scope!r} as its {role}, which has no "
                    f"variables. These have: {', '.join(found)}."
                )

    def _check_convolutions_end(self) -> None:
        """ValueError if it is no layer from images to logits."""
        names = [layer.name for layer in self.model.layers]
        if self.convolutions_end is not None and self.convolutions_end not in names:
            raise ValueError(
                f"{self.name} is registered with {self.convolutions_end!r} as its "
                f"convolutions_end, which is none of its layers. These are: {', '.join(names)}."
            )

    def _scopes_with_variables(self) -> list[str]:
        return list(dict.fromkeys(name.rpartition("/")[0] for name in self.variables))

    def _ask_every_layer(self, shape: list[int]) -> None:
        """Raises ValueError if a layer cannot take what images of a shape become."""
        self._model_with_end_points.compute_output_shape(shape)


def get_network_fn(
    name: str,
    num_classes: int | NumClasses | None = NumClasses.OWN,
    weight_decay: float | None = None,
    is_training: bool = False,
    dtype_policy: str | None = None,
    **network_options: Any,
) -> WholeNetworkFn:
    """Builds a network and returns it as a function of images.

    Args:
      name: a name in `networks`.
      num_classes: outputs of the last layer, by default as many as the network has by itself
        (10 for CIFAR-10's, 1000 for ImageNet's); None or 0 leaves that layer out and returns
        features.
      weight_decay: the factor of `regularization_loss()`, on weights, and on biases where the
        network says so; None is none, as in TF-Slim.
      is_training: the mode in which calls run that do not say it themselves.
      dtype_policy: a Keras policy such as `mixed_bfloat16`; None is Keras' current one.
      **network_options: of that network: `dropout_keep_prob`, `spatial_squeeze`, `global_pool`...

    Returns:
      A `WholeNetworkFn`; calling it again uses the same variables.

    Raises:
      ValueError: if the name or an option is unknown, or a number is out of its range.
    """
    network = networks[name]
    for option in network_options:
        if option not in network.options:
            raise ValueError(unknown_name_message(f"option of {name}", option, network.options))
    if isinstance(num_classes, NumClasses):
        num_classes = network.num_classes
    if num_classes is not None and (not isinstance(num_classes, Integral) or num_classes < 0):
        raise ValueError(
            f"num_classes is {num_classes!r}; it must be a positive integer, or None for features."
        )
    if weight_decay is not None and not weight_decay >= 0:  # nor NaN
        raise ValueError(f"weight_decay is {weight_decay}; it must not be negative.")

    with _keras_settings(dtype_policy):
        network_fn = WholeNetworkFn(network, num_classes or None, is_training, **network_options)
    if weight_decay:
        # Keras' L2(c) adds c * |w|^2, whose gradient is 2cw: half of it is weight decay.
        penalty = keras.regularizers.L2(weight_decay / 2)
        for layer in network_fn.layers:
            if not network_fn.decays(layer):
                continue
            for kernel, regularizer in _KERNELS.items():
                if hasattr(layer, kernel):
                    getattr(layer, kernel).regularizer = penalty
                    setattr(layer, regularizer, penalty)
            if network.decays_biases and getattr(layer, "bias", None) is not None:
                layer.bias_regularizer = layer.bias.regularizer = penalty
    return network_fn


@contextlib.contextmanager
def _keras_settings(dtype_policy: str | None) -> Iterator[None]:
    """What Keras' layers are made with inside: a dtype policy, and channels last as ours have."""
    outer_policy, outer_format = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy(dtype_policy or outer_policy)
        keras.config.set_image_data_format("channels_last")
        yield
    finally:
        keras.config.set_dtype_policy(outer_policy)
        keras.config.set_image_data_format(outer_format)


if not TYPE_CHECKING:  # which would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Raises AttributeError; for what TF-Slim's module had, with what takes its place."""
        raise tf_slim_names.not_in_the_factory(__name__, name)


def parameter_counts(network_fn: NetworkFn) -> dict[str, int]:
    """How many numbers are trained of each layer that has any, by its scope in the network."""
    return {
        scopes.scope_of(layer): sum(
            int(np.prod(weight.shape)) for weight in layer.trainable_weights
        )
        for layer in network_fn.layers
        if layer.trainable_weights
    }
