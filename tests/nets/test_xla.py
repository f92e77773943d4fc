"""What XLA compiles takes many shapes without a word from TensorFlow."""

import functools
import logging

import pytest
import tensorflow as tf
from tensorflow.python.eager.polymorphic_function import polymorphic_function

from nets.response_normalization import local_response_normalization
from nets.xla import without_xla


@pytest.fixture
def warnings_of_tensorflow(monkeypatch):
    """What TensorFlow's logger is told; it counts calls anew, as it warns of each code twice."""
    detectors = polymorphic_function._FrequentTracingDetectorManager()
    monkeypatch.setattr(polymorphic_function, "_frequent_tracing_detector_manager", detectors)
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # the commands, and these tests, ask for errors alone
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
    logger.setLevel(level)


def forward_and_gradient(function, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = function(images)
    return tape.gradient(outputs, images)


def test_a_plain_function_of_tensorflow_would_warn(warnings_of_tensorflow):
    for rows in range(2, 8):
        tf.function(tf.square, autograph=False)(tf.ones([rows]))
    assert any("triggered tf.function retracing" in message for message in warnings_of_tensorflow)


@pytest.mark.parametrize("constant", ["channels", "alpha"])
def test_response_normalisation_of_many_kinds_causes_no_warning(constant, warnings_of_tensorflow):
    for number in range(1, 6):
        if constant == "channels":
            forward_and_gradient(local_response_normalization, tf.ones([1, 2, number, 4 * number]))
        else:
            normalize = functools.partial(local_response_normalization, alpha=0.1 * number)
            forward_and_gradient(normalize, tf.ones([1, 1, 1, 8]))
    assert not warnings_of_tensorflow


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_network_that_is_given_many_batch_sizes_causes_no_warning(
    policy, narrow, noise, warnings_of_tensorflow
):
    network_fn = narrow("alexnet_cifar", dtype_policy=policy)
    for batch_size in (1, 2, 3):
        images = tf.cast(noise(batch_size, 32), network_fn.model.input.dtype)
        forward_and_gradient(lambda images: network_fn(images)[0], images)
    assert not warnings_of_tensorflow


def test_a_graph_for_converters_has_no_function_of_xla():
    def operations(make_graph):
        return {operation.type for operation in make_graph().graph.get_operations()}

    def graph():
        spec = tf.TensorSpec([1, 2, 2, 8])
        normalize = tf.function(local_response_normalization, autograph=False)
        return normalize.get_concrete_function(spec)

    calls = {"PartitionedCall", "StatefulPartitionedCall"}
    assert calls & operations(graph)
    with without_xla():
        assert not calls & operations(graph)
    assert calls & operations(graph)
