"""Checkpoints that tf-slim writes, in both formats (`pip install tf-slim tf-keras`)."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from training.checkpoints.restoring import restore_network

legacy_layers = pytest.importorskip("tf_keras.src.legacy_tf_layers")
# tf-slim's batch normalisation looks for this module where tf_keras no longer has it.
sys.modules.setdefault("tf_keras.legacy_tf_layers", legacy_layers)
tf_slim = pytest.importorskip("tf_slim")
slim_nets = pytest.importorskip("tf_slim.nets")

V1, V2 = tf.compat.v1.train.SaverDef.V1, tf.compat.v1.train.SaverDef.V2
# Of each family that tf-slim 1.1 has: its module there, the function for its layers' arguments, the
# size of images, and the format that its published checkpoint has.
ORIGINALS = {
    "vgg_a": ("vgg", "vgg_arg_scope", 224, V1),
    "overfeat": ("overfeat", "overfeat_arg_scope", 231, V2),
    "inception_v1": ("inception", "inception_v1_arg_scope", 224, V1),
    "inception_v2": ("inception", "inception_v2_arg_scope", 224, V1),
    "inception_v3": ("inception", "inception_v3_arg_scope", 299, V1),
    "resnet_v1_50": ("resnet_v1", "resnet_arg_scope", 224, V1),
    "resnet_v2_50": ("resnet_v2", "resnet_arg_scope", 224, V2),
}
NUM_CLASSES = 7


def write_checkpoint(name, images, path):
    """Writes one as a training with momentum does, its step inside; returns the logits."""
    module, arg_scope, _, version = ORIGINALS[name]
    original = getattr(slim_nets, module)
    generator = np.random.default_rng(0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with tf_slim.arg_scope(getattr(original, arg_scope)()):
            logits, _ = getattr(original, name)(tf.constant(images), NUM_CLASSES, is_training=False)
        weights = tf.compat.v1.global_variables()
        for variable in tf.compat.v1.trainable_variables():
            tf.compat.v1.get_variable(
                f"{variable.op.name}/Momentum", initializer=tf.zeros(variable.shape)
            )
        tf.compat.v1.train.create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        for variable in weights:  # beta, gamma and statistics begin as zeros and ones
            if len(variable.shape) == 1:
                variable.load(generator.uniform(0.5, 1.5, variable.shape), session)
        tf.compat.v1.train.Saver(write_version=version).save(session, path)
        return session.run(logits).reshape(len(images), NUM_CLASSES)


@pytest.mark.parametrize("name", ORIGINALS)
def test_it_loads_by_name_and_gives_tf_slims_logits(name, tmp_path):
    size = ORIGINALS[name][2]
    images = np.random.default_rng(1).uniform(-1, 1, [2, size, size, 3]).astype(np.float32)
    path = str(tmp_path / f"{name}.ckpt")
    expected = write_checkpoint(name, images, path)
    network_fn = get_network_fn(name, NUM_CLASSES)
    report = restore_network(network_fn, path)
    assert set(report.restored) == set(network_fn.variables)
    assert not report.skipped
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4 * np.abs(expected).max())
