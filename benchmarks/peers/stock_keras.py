"""The two AlexNets from Keras' own layers, as users write them, and `keras.applications`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from workloads import Repetition, Workload

_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "bfloat16_weights": "bfloat16",
}


def alexnet() -> keras.Model:
    """The network of the 2012 paper: 60,965,224 parameters."""
    return keras.Sequential(
        [
            keras.Input([224, 224, 3]),
            layers.ZeroPadding2D(((0, 3), (0, 3))),
            layers.Conv2D(96, 11, 4, activation="relu"),
            _response_normalization(),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(256, 5, padding="same", groups=2, activation="relu"),
            _response_normalization(),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(384, 3, padding="same", groups=2, activation="relu"),
            layers.Conv2D(256, 3, padding="same", groups=2, activation="relu"),
            layers.MaxPooling2D(3, 2),
            *_classifier(),
        ]
    )


def alexnet_v2() -> keras.Model:
    """TF-Slim's network: 50,303,912 parameters."""
    return keras.Sequential(
        [
            keras.Input([224, 224, 3]),
            layers.Conv2D(64, 11, 4, activation="relu"),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(192, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(256, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(3, 2),
            *_classifier(),
        ]
    )


def _application(name: str) -> Callable[[], keras.Model]:
    """One of `keras.applications`, without weights, that gives logits."""
    make = getattr(keras.applications, name)
    return functools.partial(make, weights=None, classifier_activation=None)


# Its Inception has no auxiliary logits.
NETWORKS = {
    "alexnet": alexnet,
    "alexnet_v2": alexnet_v2,
    "vgg_16": _application("VGG16"),
    "resnet_v1_50": _application("ResNet50"),
    "inception_v3": _application("InceptionV3"),
    "mobilenet_v1": _application("MobileNet"),
    "mobilenet_v2": _application("MobileNetV2"),
}


def training_step(model: str, precision: str, mode: str, batch_size: int, steps: int) -> Workload:
    """Keras' SGD with momentum .9 and weight decay 5e-4; `mode` is own_loop or fit."""
    network = _build(model, precision)
    optimizer = keras.optimizers.SGD(1e-4, momentum=0.9, weight_decay=5e-4)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    images, labels = _batch(network, batch_size)
    amount, facts = steps * batch_size, _facts(network)

    if mode == "fit":
        network.compile(optimizer, loss_fn)
        batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
        return Repetition(
            lambda: network.fit(batches, epochs=1, steps_per_epoch=steps, verbose=0), amount, facts
        )

    optimizer.build(network.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_fn(labels, network(images, training=True))
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def take_steps() -> None:
        for _ in range(steps):
            loss = step()
        float(loss)

    return Repetition(take_steps, amount, facts)


def forward_pass(model: str, precision: str, mode: str, batch_size: int, steps: int) -> Workload:
    """The network in evaluation mode on floats that are preprocessed already."""
    del mode
    network = _build(model, precision)
    images, _ = _batch(network, batch_size)
    if precision == "bfloat16_weights":
        images = tf.cast(images, tf.bfloat16)
    forward = tf.function(lambda images: network(images, training=False))

    def run() -> None:
        for _ in range(steps):
            logits = forward(images)
        logits.numpy()

    return Repetition(run, steps * batch_size, _facts(network))


def _build(model: str, precision: str) -> keras.Model:
    keras.config.set_dtype_policy(_POLICIES[precision])
    return NETWORKS[model]()


def _batch(network: keras.Model, batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    images = tf.random.normal([batch_size, *network.input_shape[1:]], stddev=60.0)
    return images, tf.random.uniform([batch_size], maxval=1000, dtype=tf.int32)


def _response_normalization() -> keras.Layer:
    def normalize(images: tf.Tensor) -> tf.Tensor:
        # TensorFlow has no bfloat16 kernel of it for every device.
        wide = tf.nn.local_response_normalization(
            tf.cast(images, tf.float32), depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75
        )
        return tf.cast(wide, images.dtype)

    return layers.Lambda(normalize)


def _classifier() -> list[keras.Layer]:
    return [
        layers.Flatten(),
        layers.Dense(4096, "relu"),
        layers.Dropout(0.5),
        layers.Dense(4096, "relu"),
        layers.Dropout(0.5),
        layers.Dense(1000, dtype="float32"),
    ]


def _facts(network: keras.Model) -> dict[str, Any]:
    trained = sum(variable.value.shape.num_elements() for variable in network.trainable_variables)
    return {"parameters": trained}
