"""A network whose convolutional stage is on every device, and whose other layers are divided."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from nets import drop_path, layers, scopes
from nets.nets_factory import NetworkFn
from nets.registry import networks
from training.hybrid.exchange import all_gather
from training.hybrid.fully_connected import FullyConnectedStage


class HybridModel(NamedTuple):
    """What is asked of a network's Keras model, of which there is none that is whole.

    Attributes:
      layers: of the convolutional stage, and of the rest those that the first device shares.
      compute_dtype: of activations.
      output_shape: of the logits.
      num_parameters: of all devices, each counted once.
    """

    layers: list[keras.layers.Layer]
    compute_dtype: str
    output_shape: tuple[int | None, ...]
    num_parameters: int

    def count_params(self) -> int:
        """As that of a Keras model."""
        return self.num_parameters


class HybridNetworkFn(NetworkFn):
    """A network over several devices, to be called in their replicas. See `make_hybrid_network`.

    Args:
      whole: the network, of which all but its weights is kept.
      convolutional: from images to the outputs of the convolutional stage; all of it on each
        device.
      fully_connected: the rest, of which each device has a part.

    Attributes:
      convolutional: as given.
      fully_connected: as given.
    """

    model: HybridModel

    def __init__(
        self, whole: NetworkFn, convolutional: keras.Model, fully_connected: FullyConnectedStage
    ):
        super().__init__(whole.network, whole.num_classes, is_training=False)
        self.heads = whole.heads
        self._decaying = whole.decaying
        self.convolutional = convolutional
        self.fully_connected = fully_connected
        self.model = HybridModel(
            [*convolutional.layers, *fully_connected.layers],
            whole.model.compute_dtype,
            whole.model.output_shape,
            whole.model.count_params(),
        )

    def _run(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """In evaluation, without end points; in training, the stages are called one by one."""
        if training:
            raise TypeError("A network over several devices is called in evaluation alone.")
        context = tf.distribute.get_replica_context()
        features = self.convolutional(images, training=False)
        own_logits = context.merge_call(self._logits, args=(features,))
        return own_logits[tf.get_static_value(context.replica_id_in_sync_group)], {}

    def activities(self, images: tf.Tensor, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Runs the convolutional stage in training.

        Args:
          images: those of this replica, as `NetworkFn` takes them.
          seed: int32 [2] that layers which drop draw from.
          step: an integer scalar, how many steps there were.
        """
        with layers.dropout_seed(seed), drop_path.training_step(step):
            return self.convolutional(self._checked(images), training=True)

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """Those of the convolutional stage."""
        return list(self.convolutional.layers)

    @property
    def variables(self) -> dict[str, Any]:
        """Every weight by its TF-Slim name; of those that are divided, a `ShardedVariable`."""
        placed: dict[str, Any] = scopes.variables_by_name(self.scope, self.layers)
        for layer in self.fully_connected.layers:
            names = scopes.variables_by_name(self.scope, [layer])
            placed |= zip(names, self.fully_connected.variables[layer.name], strict=True)
        return placed

    @property
    def decaying(self) -> list[str]:
        """The variables that weight decay is on."""
        return self._decaying

    def _ask_every_layer(self, shape: list[int]) -> None:
        self.fully_connected.check_shape(self.convolutional.compute_output_shape(shape))

    def _logits(self, strategy: tf.distribute.Strategy, features: tf.Tensor) -> list[tf.Tensor]:
        """The logits of each replica's images, on its device."""
        parts = strategy.experimental_local_results(features)
        devices = self.fully_connected.devices
        logits = self.fully_connected.logits(all_gather(parts, devices, axis=0))
        own_logits = []
        for number, device in enumerate(devices):
            with tf.device(device):
                sizes = [tf.shape(part)[0] for part in parts]
                own_logits.append(tf.split(logits[number], sizes, num=len(parts))[number])
        return own_logits


def make_hybrid_network(
    build_network: Callable[[], NetworkFn], strategy: tf.distribute.Strategy
) -> HybridNetworkFn:
    """Builds a network and divides it among the devices of a strategy.

    Args:
      build_network: of which the weights are copied.
      strategy: whose devices it is for.

    Raises:
      ValueError: if the network does not say where its convolutional stage ends, or there are
        layers after it that cannot be divided.
    """
    with tf.device("CPU:0"):
        whole = build_network()
    check_has_stages(whole.name, whole.convolutions_end)
    all_layers = whole.model.layers
    end = all_layers.index(whole.model.get_layer(whole.convolutions_end))
    _check_chain(all_layers[end:])
    stage = keras.Model(whole.model.inputs, all_layers[end].output)
    _check_weights(whole, stage.layers, all_layers[end + 1 :])
    with strategy.scope():
        convolutional = keras.models.clone_model(stage)
        convolutional.set_weights(stage.get_weights())
    devices = strategy.extended.worker_devices
    fully_connected = FullyConnectedStage(all_layers[end + 1 :], devices)
    return HybridNetworkFn(whole, convolutional, fully_connected)


def check_has_stages(name: str, convolutions_end: str | None) -> None:
    """Raises ValueError if a network does not say where its convolutional stage ends.

    Args:
      name: of the network.
      convolutions_end: as it was registered.
    """
    if convolutions_end is None:
        names = [other for other in networks if networks[other].convolutions_end]
        raise ValueError(
            f"--distribution_strategy=hybrid divides fully connected layers, and {name} has none "
            f"behind a convolutional stage. These have: {', '.join(names)}. Take one of them, or "
            "--distribution_strategy=mirrored, which is for every network."
        )


def _check_weights(
    whole: NetworkFn,
    convolutional: Sequence[keras.layers.Layer],
    others: Sequence[keras.layers.Layer],
) -> None:
    """Raises ValueError if no weights are behind the first stage, or some in neither stage."""
    if not any(layer.weights for layer in others):
        raise ValueError(
            f"{whole.name} is registered with {whole.convolutions_end!r} as its convolutions_end, "
            "and no layer behind that has weights which --distribution_strategy=hybrid could "
            "divide. Name the last layer before the fully connected ones; without any, leave "
            "convolutions_end out and take --distribution_strategy=mirrored."
        )
    placed = [*convolutional, *others]
    beside = [layer.name for layer in whole.layers if layer.weights and layer not in placed]
    if beside:
        raise ValueError(
            f"{whole.name} has layers beside those that give its logits: {', '.join(beside)}. "
            "--distribution_strategy=hybrid trains no auxiliary logits: build the network without "
            "them (--network_options), or take --distribution_strategy=mirrored."
        )


def _check_chain(layers_in_order: Sequence[keras.layers.Layer]) -> None:
    """Raises ValueError if a layer does not take what the one before it gives, and that alone."""
    for before, after in itertools.pairwise(layers_in_order):
        if after.input is not before.output:
            raise ValueError(
                f"--distribution_strategy=hybrid takes layers one after the other behind the "
                f"convolutional stage, and {after.name} does not take the outputs of "
                f"{before.name} alone. mirrored is for every network."
            )
