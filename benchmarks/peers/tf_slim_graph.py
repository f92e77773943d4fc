"""TF-Slim's original networks, in graph mode under today's TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras.src.legacy_tf_layers

# Its batch normalisation looks for this module where tf_keras no longer has it.
sys.modules.setdefault("tf_keras.legacy_tf_layers", tf_keras.src.legacy_tf_layers)

# isort: split
import tf_slim
from tf_slim.nets import alexnet, inception, resnet_v1, vgg

from workloads import Repetition, Workload


class _Original(NamedTuple):
    build: Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]]
    arg_scope: Callable[..., Any]
    weight_decay: float = 5e-4
    image_size: int = 224


_ORIGINALS = {
    "alexnet_v2": _Original(alexnet.alexnet_v2, alexnet.alexnet_v2_arg_scope),
    "vgg_16": _Original(vgg.vgg_16, vgg.vgg_arg_scope),
    "resnet_v1_50": _Original(resnet_v1.resnet_v1_50, resnet_v1.resnet_arg_scope, 1e-4),
    "inception_v3": _Original(
        inception.inception_v3, inception.inception_v3_arg_scope, 4e-5, image_size=299
    ),
}


def training_step(model: str, precision: str, mode: str, batch_size: int, steps: int) -> Workload:
    """What `train_image_classifier.py` of TF-Slim runs: L2 losses, momentum, create_train_op."""
    del precision, mode  # there is one of each
    session, logits, end_points = _start(model, batch_size, is_training=True)
    with session.graph.as_default():
        labels = _held(tf.random.uniform([batch_size], maxval=1000, dtype=tf.int32, seed=0))
        tf.compat.v1.losses.sparse_softmax_cross_entropy(labels, logits)
        if "AuxLogits" in end_points:
            tf.compat.v1.losses.sparse_softmax_cross_entropy(
                labels, end_points["AuxLogits"], weights=0.4
            )
        optimizer = tf.compat.v1.train.MomentumOptimizer(1e-4, 0.9)
        train = tf_slim.training.create_train_op(
            tf.compat.v1.losses.get_total_loss(), optimizer, summarize_gradients=False
        )
    parameters = _initialize(session)

    def take_steps() -> None:
        for _ in range(steps):
            session.run(train)  # gives the loss, so the step is over

    return Repetition(take_steps, steps * batch_size, {"parameters": parameters})


def forward_pass(model: str, precision: str, mode: str, batch_size: int, steps: int) -> Workload:
    """The network in evaluation mode on floats that are preprocessed already."""
    del precision, mode
    session, logits, _ = _start(model, batch_size, is_training=False)
    parameters = _initialize(session)

    def run() -> None:
        for _ in range(steps):
            session.run(logits)

    return Repetition(run, steps * batch_size, {"parameters": parameters})


def _start(
    model: str, batch_size: int, is_training: bool
) -> tuple[tf.compat.v1.Session, tf.Tensor, dict[str, tf.Tensor]]:
    original = _ORIGINALS[model]
    graph = tf.Graph()
    with graph.as_default():
        size = original.image_size
        images = _held(tf.random.normal([batch_size, size, size, 3], stddev=60.0))
        with tf_slim.arg_scope(original.arg_scope(weight_decay=original.weight_decay)):
            logits, end_points = original.build(images, 1000, is_training=is_training)
        logits = tf.reshape(logits, [batch_size, 1000])  # ResNets do not squeeze by default
        return tf.compat.v1.Session(graph=graph), logits, end_points


def _held(value: tf.Tensor) -> tf.Tensor:
    """A variable of that value: a constant is what TensorFlow might fold a pass into."""
    return tf.compat.v1.get_variable(
        f"held_{value.op.name}",
        initializer=value,
        trainable=False,
        collections=[tf.compat.v1.GraphKeys.LOCAL_VARIABLES],
    )


def _initialize(session: tf.compat.v1.Session) -> int:
    """Initialises all variables and counts the numbers that are trained."""
    with session.graph.as_default():
        session.run(
            [
                tf.compat.v1.local_variables_initializer(),
                tf.compat.v1.global_variables_initializer(),
            ]
        )
        return sum(variable.shape.num_elements() for variable in tf.compat.v1.trainable_variables())
