"""A network's answers for files; that they are evaluation's is a test of the command."""

import pathlib

import image_writers
import numpy as np
import pytest
import tensorflow as tf
from tiny_network import encode_photo

from nets.nets_factory import get_network_fn
from preprocessing.preprocessing_factory import get_preprocessing
from training.classification import (
    Answer,
    NetworkClassifier,
    SavedModelClassifier,
    is_saved_model,
    why_unusable,
)
from training.ensemble import Member
from training.export.saved_model import ServableClassifier, write_saved_model

NAMES = ["blue", "green", "red"]
COUNT = 9


@pytest.fixture(scope="module")
def member():
    network_fn = get_network_fn("tiny", 3)
    generator = np.random.default_rng(0)
    for variable in network_fn.variables.values():
        variable.assign(generator.normal(scale=0.3, size=variable.shape))
    return Member(network_fn, get_preprocessing("cuda_convnet", image_side=36), 32)


@pytest.fixture(scope="module")
def exported(member, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    limit = 400 * 400
    classifier = ServableClassifier(*member[:2], NAMES, 32, top_k=1, max_image_pixels=limit)
    write_saved_model(classifier, str(folder))
    return str(folder)


@pytest.fixture
def paths(tmp_path):
    """Photos, one of which has neither an ending nor a name in UTF-8."""
    files = [tmp_path / f"{number}.jpg" for number in range(COUNT - 1)]
    files.append(tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape"))
    for number, path in enumerate(files):
        path.write_bytes(encode_photo(number % 3, number))
    return list(map(str, files))


def expected(member, paths, num_crops=1):
    """One image at a time."""
    network_fn, pipeline, size = member
    probabilities = []
    for path in paths:
        contents = pathlib.Path(path).read_bytes()
        crops = pipeline.host(contents, size, size, num_crops=num_crops)["image"]
        batch = {"image": tf.reshape(crops, [-1, size, size, 3])}
        softmax = tf.nn.softmax(network_fn(pipeline.device(batch))[0]).numpy()
        probabilities.append(softmax.mean(axis=0))
    return np.array(probabilities)


@pytest.mark.parametrize("num_crops", [1, 10])
@pytest.mark.parametrize("batch_size", [1, 4, 40, 200])
def test_every_file_is_answered_in_order_whatever_the_batch(member, paths, num_crops, batch_size):
    classifier = NetworkClassifier(member, NAMES, batch_size=batch_size, num_crops=num_crops)
    answers = list(classifier.answers(paths))
    assert [answer.path for answer in answers] == paths
    probabilities = expected(member, paths, num_crops)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(
        [answer.probabilities for answer in answers], probabilities, atol=1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 4, 40])
def test_an_export_answers_as_the_network_does(member, exported, paths, batch_size):
    classifier = SavedModelClassifier(exported, batch_size=batch_size)
    assert classifier.class_names == NAMES
    answers = list(classifier.answers(paths))
    assert [answer.path for answer in answers] == paths
    np.testing.assert_allclose(
        [answer.probabilities for answer in answers], expected(member, paths), atol=1e-5
    )


def test_the_network_is_traced_once(member, paths):
    classifier = NetworkClassifier(member, NAMES, batch_size=4)
    list(classifier.answers(paths))
    assert classifier._probabilities.experimental_get_tracing_count() == 1


def bad_files(folder):
    """Files that are no answer's, and what is said of each by the network's own limit."""
    contents = {
        "empty.jpg": (b"", "is empty"),
        "text.jpg": (b"a,b\n", "is no image"),
        "torn.jpg": (encode_photo(0, 0)[:300], "is a JPEG image that is damaged"),
        "large.png": (image_writers.png(1, 1, said=(500, 500)), "is too large: it has 250,000"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 20, "is a HEIC image"),
    }
    said = {}
    for name, (content, why) in contents.items():
        (folder / name).write_bytes(content)
        said[str(folder / name)] = why
    (folder / "folder.jpg").mkdir()
    said[str(folder / "folder.jpg")] = "cannot be read: Is a directory"
    said[str(folder / "missing.jpg")] = "cannot be read: No such file or directory"
    return said


@pytest.mark.parametrize("batch_size", [3, 100])
@pytest.mark.parametrize("kind", ["network", "export"])
def test_bad_files_are_named_with_a_reason_and_change_no_other_answer(
    kind, batch_size, member, exported, paths, tmp_path
):
    (tmp_path / "bad").mkdir()
    said = bad_files(tmp_path / "bad")
    by_turns = zip([*said, ""], paths, strict=False)
    mixed = [path for pair in by_turns for path in pair if path]
    if kind == "network":
        classifier = NetworkClassifier(
            member, NAMES, batch_size=batch_size, max_image_pixels=400 * 400
        )
    else:
        classifier = SavedModelClassifier(exported, batch_size=batch_size)
        said = {
            path: "is a PNG image that is damaged, or of a kind or size" if "large" in path else why
            for path, why in said.items()
        }
    good = dict(zip(paths, expected(member, paths), strict=True))
    answers = list(classifier.answers(mixed))
    assert [answer.path for answer in answers] == mixed
    assert len(mixed) == 2 * len(said) + 1
    for path, probabilities, error in answers:
        if path in said:
            assert probabilities is None
            assert error.startswith(said[path])
        else:
            assert error == ""
            np.testing.assert_allclose(probabilities, good[path], atol=1e-5)


def test_nothing_is_answered_for_nothing(member, exported):
    assert not list(NetworkClassifier(member, NAMES, batch_size=4).answers([]))
    assert not list(SavedModelClassifier(exported, batch_size=4).answers([]))


def test_a_file_that_is_back_is_not_called_damaged(paths):
    assert why_unusable(paths[0], was_read=False) == "could not be read, though it can be now"


def test_the_likeliest_come_first_and_equal_ones_in_order():
    answer = Answer("a", np.array([0.1, 0.3, 0.3, 0.2, 0.1], np.float32))
    assert answer.likeliest(3) == [1, 2, 3]
    assert answer.likeliest(9) == [1, 2, 3, 0, 4]
    assert Answer("a", None, "is empty").likeliest(3) == []


def test_an_export_loads_from_a_folder_that_tensorflow_takes_for_a_pattern(exported, tmp_path):
    folder = tmp_path / "a[lr=0.01]"
    folder.symlink_to(exported)
    assert is_saved_model(str(folder))
    assert SavedModelClassifier(str(folder), batch_size=1).class_names == NAMES


def test_what_is_no_export_is_said(tmp_path):
    assert not is_saved_model(str(tmp_path))
    module = tf.Module()
    module.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="without what export_saved_model gives it"):
        SavedModelClassifier(str(tmp_path / "other"), batch_size=1)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "saved_model.pb").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"The SavedModel .*torn cannot be loaded: "):
        SavedModelClassifier(str(tmp_path / "torn"), batch_size=1)
