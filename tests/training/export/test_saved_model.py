import pathlib

import image_writers
import keras
import numpy as np
import pytest
import tensorflow as tf

from nets.device_forms import traced_for, traced_for_gpu
from nets.nets_factory import WholeNetworkFn, get_network_fn
from nets.registry import Network
from preprocessing.preprocessing_factory import get_preprocessing
from training.export import saved_model
from training.export.saved_model import ServableClassifier, write_saved_model

NAMES = ["blue", "green", "red"]


def lively(network_fn):
    """Its weights larger than initial ones, so that answers differ."""
    generator = np.random.default_rng(0)
    for variable in network_fn.variables.values():
        variable.assign(generator.normal(scale=0.7, size=variable.shape))
    return network_fn


@pytest.fixture
def classifier():
    """Fed by the pipeline of most networks."""
    return ServableClassifier(
        lively(get_network_fn("tiny", 3)), get_preprocessing("alexnet"), NAMES, 32, top_k=2
    )


def photo(photos, name):
    return pathlib.Path(photos, "validation", name, "0.jpg").read_bytes()


def test_it_is_written_and_read_with_the_same_answers(classifier, photos, tmp_path):
    write_saved_model(classifier, str(tmp_path / "export"))
    model = tf.saved_model.load(str(tmp_path / "export"))
    assert list(model.class_names.numpy()) == [name.encode() for name in NAMES]
    encoded = tf.constant([photo(photos, name) for name in NAMES])  # of several sizes
    answers = model.signatures["serving_bytes"](image_bytes=encoded)
    for key, expected in classifier.serving_bytes(encoded).items():
        if expected.dtype == tf.float32:
            np.testing.assert_allclose(answers[key], expected, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(answers[key], expected)


def test_its_layers_have_the_forms_that_every_device_runs(classifier, tmp_path, monkeypatch):
    for_gpu = []
    monkeypatch.setattr(tf.saved_model, "save", lambda *_, **__: for_gpu.append(traced_for_gpu()))
    with traced_for("GPU"):  # as where there is one
        write_saved_model(classifier, str(tmp_path / "export"))
        assert traced_for_gpu()
    assert for_gpu == [False]


def test_decoded_images_get_the_answers_of_their_files(classifier, photos):
    encoded = photo(photos, "red")
    decoded = tf.image.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    from_bytes = classifier.serving_bytes(tf.constant([encoded]))
    from_pixels = classifier.serving_default(decoded[tf.newaxis])
    assert from_bytes.keys() == from_pixels.keys()
    # The outermost columns of a JPEG window differ a little from those of the whole photo.
    np.testing.assert_allclose(from_bytes["logits"], from_pixels["logits"], atol=0.05)
    assert from_pixels["top_classes"].shape == (1, 2)
    np.testing.assert_allclose(
        from_pixels["top_probabilities"], tf.sort(from_pixels["probabilities"])[:, :0:-1][:, :2]
    )
    best = int(tf.argmax(from_pixels["logits"], axis=1)[0])
    assert from_pixels["top_classes"][0, 0] == NAMES[best]
    assert from_pixels["top_indices"][0, 0] == best


def test_ids_of_imagenet_are_named_in_words(classifier, photos):
    ids = ["n04208210", "n01440764", "cat"]
    named = ServableClassifier(
        classifier._network_fn, classifier._preprocessing, ids, classifier._image_size, top_k=3
    )
    answers = named.serving_bytes(tf.constant([photo(photos, "red")]))
    words = dict(
        zip(answers["top_classes"].numpy()[0], answers["top_names"].numpy()[0], strict=True)
    )
    assert words == {b"n04208210": b"shovel", b"n01440764": b"tench", b"cat": b"cat"}


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
        WholeNetworkFn(network, 3, False), get_preprocessing("cifar"), ["a", "b", "c"], 32
    )
    answers = classifier.serving_bytes(tf.constant([photo(photos, "red")]))
    np.testing.assert_array_equal(answers["features"], answers["logits"])
    assert answers["top_classes"].shape == (1, 3)  # of the five that it names by default


def large_png():
    """More pixels than may be, in four kilobytes."""
    return image_writers.png(1, 1, said=(20_000, 20_000))


BAD = {"torn": b"\xff\xd8\xff\xe0", "empty": b"", "no image": b"a,b\n", "too large": large_png()}


def test_bad_images_change_no_answer_but_their_own(classifier, photos):
    good = [photo(photos, name) for name in NAMES]
    mixed = [good[0], BAD["torn"], BAD["empty"], good[1], good[2], *list(BAD.values())[2:]]
    answers = classifier.serving_bytes(tf.constant(mixed))
    valid = [True, False, False, True, True, False, False]
    np.testing.assert_array_equal(answers["valid"], valid)
    alone = classifier.serving_bytes(tf.constant(good))
    np.testing.assert_array_equal(alone["valid"], [True] * 3)
    for key, expected in alone.items():
        answered = answers[key].numpy()
        if expected.dtype == tf.float32:
            np.testing.assert_allclose(answered[valid], expected, rtol=1e-5)
        else:
            np.testing.assert_array_equal(answered[valid], expected)
        if key != "valid":
            assert len(set(answered[np.logical_not(valid)].ravel())) == 1
    assert not answers["probabilities"].numpy()[1].any()
    assert answers["top_classes"].numpy()[1].tolist() == [b"", b""]
    assert answers["top_indices"].numpy()[1].tolist() == [-1, -1]


def test_an_image_may_be_as_large_as_is_said(photos):
    encoded = tf.constant([photo(photos, "red")])
    height, width = tf.io.extract_jpeg_shape(encoded[0])[:2].numpy()

    def valid(max_image_pixels):
        classifier = ServableClassifier(
            get_network_fn("tiny", 3),
            get_preprocessing("cifar"),
            NAMES,
            32,
            max_image_pixels=max_image_pixels,
        )
        return bool(classifier.serving_bytes(encoded)["valid"][0])

    assert valid(height * width)
    assert valid(0)
    assert not valid(height * width - 1)


def test_an_empty_batch_has_empty_answers(classifier, photos):
    some = classifier.serving_bytes(tf.constant([photo(photos, "red")]))
    for answers in (
        classifier.serving_bytes(tf.zeros([0], tf.string)),
        classifier.serving_default(tf.zeros([0, 40, 50, 3], tf.uint8)),
    ):
        assert answers.keys() == some.keys()
        for key, answer in answers.items():
            assert answer.shape == (0, *some[key].shape[1:])
            assert answer.dtype == some[key].dtype


@pytest.mark.parametrize(
    "count", [65, *(pytest.param(count, marks=pytest.mark.slow) for count in (63, 64, 130))]
)
def test_a_request_that_is_worked_on_in_parts_is_answered_in_order(classifier, photos, count):
    encoded = [photo(photos, NAMES[number % 3]) for number in range(count)]
    encoded[-1] = b"torn"
    answers = classifier.serving_bytes(tf.constant(encoded))
    three = classifier.serving_bytes(tf.constant(encoded[:3]))
    for key, expected in three.items():
        repeated = np.resize(expected.numpy(), (count, *expected.shape[1:]))[:-1]
        if expected.dtype == tf.float32:
            np.testing.assert_allclose(answers[key][:-1], repeated, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(answers[key][:-1], repeated)
    assert not answers["valid"][-1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/conv1", "a/fc7", "a/fc8"], "a/fc7"),
        (["Mixed_7c", "AuxLogits", "global_pool", "Logits", "Predictions"], "global_pool"),
        (
            ["a/block4", "global_pool", "a/logits", "a/spatial_squeeze", "predictions"],
            "global_pool",
        ),
        (["a/fc1"], None),
    ],
)
def test_features_are_what_the_last_layer_sees(names, expected):
    end_points = {name: object() for name in names}
    logits = object()
    assert saved_model._features(end_points, logits) is (
        end_points[expected] if expected else logits
    )
