import pathlib

import keras
import numpy as np
import tensorflow as tf

from nets.nets_factory import NetworkFn
from nets.registry import Network
from preprocessing.preprocessing_factory import get_preprocessing
from training.export import ServableClassifier

# A new process that knows TensorFlow and nothing of this project.


def test_a_network_with_no_end_point_but_its_logits(photos):
    def linear(images, num_classes=3):
        pooled = keras.layers.GlobalAveragePooling2D()(images)
        logits = keras.layers.Dense(num_classes, name="logits")(pooled)
        return logits, {"linear/logits": logits}

    network = Network(
        name="linear",
        scope="linear",
        build=linear,
        first_layer="logits",
        heads=("logits",),
        default_image_size=32,
        minimum_image_size=1,
        preprocessing_name="alexnet",
    )
    classifier = ServableClassifier(
        NetworkFn(network, 3, False), get_preprocessing("alexnet"), ["a", "b", "c"], 32
    )
    encoded = pathlib.Path(photos, "validation", "red", "0.jpg").read_bytes()
    answers = classifier.serving_bytes(tf.constant([encoded]))
    np.testing.assert_array_equal(answers["features"], answers["logits"])
