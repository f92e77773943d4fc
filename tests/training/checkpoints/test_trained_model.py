import json
import os
import shutil
import unicodedata

import numpy as np
import pytest
from tiny_network import CLASSES, saved_weights

from image_datasets.dataset_factory import get_dataset
from image_datasets.image_dataset import ImageDataset
from preprocessing.cuda_convnet_preprocessing import CudaConvnetPreprocessing
from training.checkpoints.trained_model import (
    check_classes,
    describe_weights,
    imagenet_classes_or,
    load_trained_model,
    with_labels_of_network,
)

TEN = list("abcdefghij")


def test_a_run_is_rebuilt_with_its_weights_and_what_feeds_them(trained):
    model = load_trained_model(str(trained))
    assert model.report.checkpoint == f"{trained}/model.ckpt-6"
    assert model.description.class_names == list(CLASSES)
    assert model.preprocessing.image_side == 36
    assert not model.preprocessing.is_training
    for name, value in saved_weights(trained).items():
        np.testing.assert_array_equal(model.network_fn.variables[name].numpy(), value)
    best = load_trained_model(str(trained / "best"))
    assert best.description == model.description


def test_a_run_from_before_tf_slims_pipelines_keeps_the_pipeline_it_was_trained_with(
    trained, tmp_path
):
    run = shutil.copytree(trained, tmp_path / "run")
    document = json.loads((run / "model.json").read_text())
    del document["version"]
    (run / "model.json").write_text(
        json.dumps({**document, "preprocessing_name": "cifarnet"})  # cuda-convnet's, then
    )
    expected = load_trained_model(str(trained))
    for folder in (run, run / "best"):
        loaded = load_trained_model(str(folder))
        assert type(loaded.preprocessing) is CudaConvnetPreprocessing
        assert loaded.preprocessing == expected.preprocessing
        assert loaded.description == expected.description


def test_a_run_without_its_description_is_explained(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    os.remove(run / "model.json")
    with pytest.raises(ValueError, match=r"There is no model\.json beside .*copy it along"):
        load_trained_model(str(run))


def test_another_network_than_that_of_the_run_is_refused(trained):
    with pytest.raises(ValueError, match=r"--model_name is alexnet, but .* holds a run of tiny"):
        load_trained_model(str(trained), model_name="alexnet")
    assert load_trained_model(str(trained), model_name="tiny").network_fn.name == "tiny"


def test_bare_weights_need_a_network_and_the_names_of_classes(cifarnet_file):
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        load_trained_model(cifarnet_file, class_names=TEN)
    with pytest.raises(ValueError, match="does not say what its classes are called"):
        load_trained_model(cifarnet_file, model_name="cifarnet_18pct")
    loaded = load_trained_model(cifarnet_file, model_name="cifarnet_18pct", class_names=TEN)
    assert loaded.description.class_names == TEN
    assert loaded.description.preprocessing_name == "cuda_convnet"


def test_what_was_taken_is_said_of_files_from_elsewhere(cifarnet_file, trained, capsys):
    load_trained_model(cifarnet_file, model_name="cifarnet_18pct", class_names=TEN)
    assert f"Restored 8 variables from {cifarnet_file}." in capsys.readouterr().out
    load_trained_model(str(trained))
    assert "Restored" not in capsys.readouterr().out


def test_moving_averages_of_tf_slim_are_taken_unless_they_are_turned_off(
    network_fn, write_tensorflow_1, capsys
):
    values = {name: np.zeros(v.shape, np.float32) for name, v in network_fn.variables.items()}
    averages = {f"{name}/ExponentialMovingAverage": v + 2 for name, v in values.items()}
    path = write_tensorflow_1({**values, **averages})
    for asked, expected, said in ((True, 2, "(moving averages)"), (False, 0, "not taken: moving")):
        loaded = load_trained_model(
            path, use_moving_average=asked, model_name="cifarnet_18pct", class_names=TEN
        )
        assert {v.numpy().max() for v in loaded.network_fn.variables.values()} == {expected}
        assert said in capsys.readouterr().out


def test_a_weight_file_in_a_runs_folder_is_none_of_the_runs(trained, cifarnet_file, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    beside = shutil.copy(cifarnet_file, run)
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        load_trained_model(beside, class_names=TEN)
    loaded = load_trained_model(beside, model_name="cifarnet_18pct", class_names=TEN)
    assert loaded.description.class_names == TEN


def test_a_checkpoint_of_tensorflow_1_below_a_run_is_none_of_the_runs(
    trained, network_fn, write_tensorflow_1, tmp_path
):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "slim").mkdir()
    values = {name: variable.numpy() for name, variable in network_fn.variables.items()}
    path = write_tensorflow_1(values, "run/slim/slim.ckpt")
    with pytest.raises(ValueError, match=r"There is no model\.json.*of TF-Slim give --model_name"):
        load_trained_model(path)


def test_what_is_left_over_in_a_checkpoint_is_said(network_fn, write_tensorflow_1, capsys):
    values = {name: variable.numpy() for name, variable in network_fn.variables.items()}
    path = write_tensorflow_1({**values, "cifarnet_18pct/aux/weights": np.zeros(3, np.float32)})
    load_trained_model(path, model_name="cifarnet_18pct", class_names=TEN)
    assert "not used: cifarnet_18pct/aux/weights [3]" in capsys.readouterr().out


def test_weights_are_fed_as_their_network_is_by_default():
    described = describe_weights("a.caffemodel", "bvlc_alexnet", ["cat", "dog"])
    assert (described.preprocessing_name, described.image_size) == ("caffe", 227)
    with pytest.raises(ValueError, match="Unknown network 'bvlc'"):
        describe_weights("a.caffemodel", "bvlc", ["cat", "dog"])


def test_without_a_dataset_the_classes_are_those_of_imagenet(photos):
    classes = imagenet_classes_or(None, None)
    assert len(classes) == 1000
    assert classes[0] == "n01440764"
    assert imagenet_classes_or("folder", photos) == CLASSES


@pytest.mark.parametrize(
    ("class_names", "offset", "message"),
    [
        (["blue", "green"], 0, r"answers with 2 classes \(blue, green\), but folder has 3"),
        (["red", "green", "blue"], 0, "answers with 3 classes"),
        (["blue", "green", "red"], 1, "but folder has 2"),
        (["red"], 2, "a classifier needs two"),
    ],
)
def test_a_dataset_with_other_classes_is_refused(photos, class_names, offset, message):
    dataset = get_dataset("folder", "train", photos)
    with pytest.raises(ValueError, match=message):
        check_classes(class_names, dataset, offset)


def test_a_dataset_with_the_same_classes_is_accepted(photos):
    dataset = get_dataset("folder", "train", photos)
    check_classes(["blue", "green", "red"], dataset, 0)
    check_classes(["green", "red"], dataset, 1)


def files_of(*class_names):
    """A dataset with a file of each class, which are never read."""
    files = {"test": [(name, label) for label, name in enumerate(class_names)]}
    return ImageDataset.from_files("pets", "test", files, class_names)


@pytest.mark.parametrize(
    ("there", "offset", "names"),
    [
        (["ant", "bee", "cat"], 0, ["ant", "bee", "cat"]),
        (["bee"], 0, ["bee"]),
        (["ant", "cat"], 0, ["ant", "cat"]),
        (["cat", "bee", "ant"], 0, ["cat", "bee", "ant"]),
        # The network answers with all but the first class of what it was trained on.
        (["aaa", "ant", "bee", "cat"], 1, [None, "ant", "bee", "cat"]),
        (["aaa", "cat"], 1, [None, "cat"]),
        (["cat"], 1, ["cat"]),
        # TF-Slim's background class, which only some of its networks have an output for.
        (["background", "ant", "bee", "cat"], 0, [None, "ant", "bee", "cat"]),
        (["bee", "cat"], 1, ["bee", "cat"]),
    ],
)
def test_classes_to_evaluate_on_are_matched_by_name(tmp_path, monkeypatch, there, offset, names):
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / name).write_text(name)
    known = ["ant", "bee", "cat"]
    dataset, subtracted = with_labels_of_network(known, files_of(*there), offset)
    labels = [int(row["label"]) - subtracted for row in dataset.examples()]
    assert [known[label] if label >= 0 else None for label in labels] == names


@pytest.mark.parametrize(
    ("there", "offset", "message"),
    [
        (["bee", "wasp"], 0, r"3 classes \(ant, bee, cat\), but pets has others: wasp\. Name its"),
        (["aaa", "bee", "wasp"], 1, "has others: wasp"),
        (["wasp"], 1, "has others: wasp"),  # nothing would be left
        (["aaa", "bee"], 0, "has others: aaa"),
        (["bee", "background"], 0, "has others: background"),
        (["background"], 0, "has others: background"),
    ],
)
def test_classes_that_the_network_does_not_know_are_named(there, offset, message):
    with pytest.raises(ValueError, match=message):
        with_labels_of_network(["ant", "bee", "cat"], files_of(*there), offset)


def test_a_class_is_the_same_in_both_spellings_of_an_accent():
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    dataset = files_of("a", one)
    check_classes(["a", two], dataset, 0)
    assert with_labels_of_network(["a", two], dataset, 0) == (dataset, 0)
