"""The original `alexnet_v2` of TF-Slim, in graph mode under today's TensorFlow."""

from __future__ import annotations

import tensorflow as tf
import tf_slim
from tf_slim.nets import alexnet

from workloads import Repetition, Workload

_WEIGHT_DECAY = 5e-4


def training_step(model: str, precision: str, mode: str, batch_size: int, steps: int) -> Workload:
    """What `train_image_classifier.py` of TF-Slim runs: L2 losses, momentum, create_train_op."""
    del model, precision, mode  # there is one of each
    session, logits = _start(batch_size, is_training=True)
    with session.graph.as_default():
        labels = tf.random.uniform([batch_size], maxval=1000, dtype=tf.int32, seed=0)
        tf.compat.v1.losses.sparse_softmax_cross_entropy(_held(labels), logits)
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
    del model, precision, mode
    session, logits = _start(batch_size, is_training=False)
    parameters = _initialize(session)

    def run() -> None:
        for _ in range(steps):
            session.run(logits)

    return Repetition(run, steps * batch_size, {"parameters": parameters})


def _start(batch_size: int, is_training: bool) -> tuple[tf.compat.v1.Session, tf.Tensor]:
    graph = tf.Graph()
    with graph.as_default():
        images = _held(tf.random.normal([batch_size, 224, 224, 3], stddev=60.0))
        with alexnet.arg_scope(alexnet.alexnet_v2_arg_scope(_WEIGHT_DECAY)):
            logits, _ = alexnet.alexnet_v2(images, 1000, is_training=is_training)
        return tf.compat.v1.Session(graph=graph), logits


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
