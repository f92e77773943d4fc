"""`--checkpoint_path=zoo:NAME` in every command; the download is the tests of `training/zoo`."""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from free_ports import free_ports
from published_files import archive_of, write_tensorflow_1_checkpoint
from tiny_network import encode_photo, tiny

from image_datasets import dataset_factory
from image_datasets.wordnet_names import imagenet_names
from nets.nets_factory import get_network_fn, register_network
from preprocessing.preprocessing_factory import PREPROCESSINGS
from slimzoo import run_folder
from slimzoo.commands.classify_images import ClassificationConfig, classify
from slimzoo.commands.convert_weights import ConversionConfig, convert
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import check_names, train
from training.checkpoints.description import ModelDescription
from training.checkpoints.trained_model import load_trained_model
from training.zoo.table import published_checkpoints

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def weights():
    """Of `tiny`, for ImageNet's classes and the background."""
    variables = get_network_fn("tiny", 1001).variables
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(size=variable.shape).astype(np.float32)
        for name, variable in variables.items()
    }


@pytest.fixture
def published(publish, weights, tmp_path, monkeypatch):
    """Weights of `tiny` with moving averages, as TF-Slim saved them, under zoo:tiny_40."""
    averages = {f"{name}/ExponentialMovingAverage": 2 * one for name, one in weights.items()}
    (tmp_path / "theirs").mkdir()
    monkeypatch.chdir(tmp_path)
    prefix = write_tensorflow_1_checkpoint(
        tmp_path / "theirs" / "net.ckpt", {**weights, **averages, "global_step": np.int64(7)}
    )
    return publish("tiny_40", archive_of(prefix), network="tiny", image_size=40)


@pytest.fixture
def imagenet_photos(photos, tmp_path):
    """Nine photos, called by three of ImageNet's classes."""
    root = tmp_path / "imagenet_photos"
    for folder, name in zip(
        sorted(pathlib.Path(photos, "validation").iterdir()), imagenet_names(), strict=False
    ):
        (root / name).mkdir(parents=True)
        for number in range(3):
            shutil.copy(folder / f"{number}.jpg", root / name)
    return str(root)


def test_the_table_knows_network_classes_and_size(published, weights):
    model = load_trained_model("zoo:tiny_40")
    assert model.description.model_name == "tiny"
    assert model.description.image_size == 40
    assert model.description.class_names == ["background", *imagenet_names()]
    np.testing.assert_array_equal(
        model.network_fn.variables["tiny/fc2/weights"], 2 * weights["tiny/fc2/weights"]
    )


@pytest.fixture
def published_otherwise(published):
    """The same, of a network with an option, and measured with another preprocessing."""
    row = dataclasses.replace(
        published, network_options={"dropout_keep_prob": 0.25}, preprocessing="vgg"
    )
    published_checkpoints._entries["tiny_40"] = row
    return row


def test_options_and_preprocessing_are_those_of_the_row(published_otherwise):
    model = load_trained_model("zoo:tiny_40")
    assert model.description.network_options == {"dropout_keep_prob": 0.25}
    assert model.description.preprocessing_name == "vgg"
    assert isinstance(model.preprocessing, PREPROCESSINGS["vgg"])


def test_it_is_evaluated_and_the_result_lies_outside_of_the_cache(
    published, imagenet_photos, capsys, zoo_folder
):
    result = evaluate(
        EvaluationConfig(
            checkpoint_path="zoo:tiny_40",
            dataset_name="folder",
            dataset_dir=imagenet_photos,
            dataset_split_name="all",
            report=False,
        )
    )
    assert result.num_examples == 9
    assert pathlib.Path("runs/tiny_40/evaluation/evaluation.json").exists()
    assert "runs/tiny_40/evaluation" in capsys.readouterr().out
    assert not (zoo_folder / "tiny_40" / "evaluation").exists()


def test_an_ensemble_is_made_of_published_ones(published, imagenet_photos, server):
    result = evaluate(
        EvaluationConfig(
            checkpoint_path="zoo:tiny_40,zoo:tiny_40",
            dataset_name="folder",
            dataset_dir=imagenet_photos,
            dataset_split_name="all",
            report=False,
        )
    )
    assert result.num_examples == 9
    assert pathlib.Path("runs/tiny_40/evaluation_of_2_networks/evaluation.json").exists()
    assert len(server.requests) == 1


def test_it_names_photos(published, imagenet_photos, capsys):
    answers = classify(
        ClassificationConfig(checkpoint_path="zoo:tiny_40", images=[imagenet_photos])
    )
    assert len(answers.rows) == 9
    assert "tiny from" in capsys.readouterr().out


def test_it_is_exported_outside_of_the_cache(published):
    folder = export(ExportConfig(checkpoint_path="zoo:tiny_40", format="keras"))
    assert folder == "runs/tiny_40/keras"
    assert pathlib.Path(folder, "model.keras").exists()


def test_it_is_converted(published, tmp_path, weights):
    for averages in (True, False):
        folder = str(tmp_path / f"converted_{averages}")
        convert(
            ConversionConfig(
                checkpoint_path="zoo:tiny_40",
                model_name="tiny",
                output_dir=folder,
                use_moving_average=averages,
            )
        )
        description = ModelDescription.load(folder)
        assert description.image_size == 40
        assert len(description.class_names) == 1001
        model = load_trained_model(folder)
        factor = 2 if averages else 1
        np.testing.assert_array_equal(
            model.network_fn.variables["tiny/fc3/biases"], factor * weights["tiny/fc3/biases"]
        )


def test_a_run_starts_from_it_with_a_new_last_layer(published, replaced, capsys, weights):
    config = replaced(
        checkpoint_path="zoo:tiny_40", max_number_of_steps=1, trainable_scopes=["tiny/fc3"]
    )
    checkpoint = train(config)
    said = capsys.readouterr().out
    assert "Restored 4 variables" in said
    assert "tiny/fc3/weights (for another number of classes: [1, 1, 16, 1001] there" in said
    assert "already" not in said  # the download has been said
    model = load_trained_model(checkpoint)
    assert model.description.image_size == 40
    np.testing.assert_array_equal(
        model.network_fn.variables["tiny/conv1/weights"], 2 * weights["tiny/conv1/weights"]
    )


def test_a_run_that_goes_on_needs_no_download(published, replaced, server, zoo_folder, capsys):
    config = replaced(checkpoint_path="zoo:tiny_40", max_number_of_steps=1)
    train(config)
    shutil.rmtree(zoo_folder)
    train(dataclasses.replace(config, max_number_of_steps=2))
    assert "zoo:tiny_40 is NOT used" in capsys.readouterr().out
    assert len(server.requests) == 1


def test_what_cannot_be_downloaded_leaves_no_run(published, replaced, server):
    server.answers.clear()
    config = replaced(checkpoint_path="zoo:tiny_40")
    with pytest.raises(ValueError, match="the server answers 404"):
        train(config)
    assert not pathlib.Path(config.train_dir).exists()


def test_a_run_has_what_the_row_says_unless_flags_say_otherwise(published_otherwise, replaced):
    def described(**values):
        config = replaced(checkpoint_path="zoo:tiny_40", preprocessing_options=[], **values)
        dataset = dataset_factory.get_dataset("folder", "train", config.dataset_dir)
        pipeline = run_folder.choose_run_pipeline(config)
        return run_folder.describe(config, pipeline, dataset, None)

    found = described()
    assert found.preprocessing_name == "vgg"
    assert found.network_options == {"dropout_keep_prob": 0.25}
    assert found.image_size == 40
    found = described(
        preprocessing_name="cifarnet",
        network_options=["dropout_keep_prob=0.5"],
        train_image_size=32,
    )
    assert found.preprocessing_name == "cifarnet"
    assert found.network_options == {"dropout_keep_prob": 0.5}
    assert found.image_size == 32


def test_another_network_is_refused_before_anything_is_made(published, replaced, imagenet_photos):
    message = "^zoo:tiny_40 has weights of tiny, and not of alexnet_v2: give --model_name=tiny"
    with pytest.raises(ValueError, match=message):
        check_names(replaced(checkpoint_path="zoo:tiny_40", model_name="alexnet_v2"))
    with pytest.raises(ValueError, match=message):
        export(ExportConfig(checkpoint_path="zoo:tiny_40", model_name="alexnet_v2"))
    with pytest.raises(ValueError, match=message):
        convert(
            ConversionConfig(
                checkpoint_path="zoo:tiny_40", model_name="alexnet_v2", output_dir="converted"
            )
        )
    assert not pathlib.Path("converted").exists()


def test_weights_are_converted_for_a_network_like_theirs_if_theirs_is_named(
    published, registries_restored, tmp_path, capsys
):
    """Such as Caffe's two AlexNets, which differ in what has no weights."""
    register_network(
        name="twin",
        scope="tiny",
        first_layer="conv1",
        head="fc3",
        default_image_size=32,
        minimum_image_size=32,
        preprocessing="cifarnet",
    )(tiny)
    conversion = ConversionConfig(
        checkpoint_path="zoo:tiny_40", model_name="twin", output_dir=str(tmp_path / "converted")
    )
    with pytest.raises(ValueError, match="zoo:tiny_40 has weights of tiny, and not of twin"):
        convert(conversion)
    convert(dataclasses.replace(conversion, source_model_name="tiny"))
    assert "Modelling difference (tiny to twin, the same pixels)" in capsys.readouterr().out


def test_the_documents_code_runs_as_written(published, publish, server, imagenet_photos):
    document = (ROOT / "docs" / "weights.md").read_text()
    from_python, my_zoo = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    content = server.answers["/tiny_40/weights.tar.gz"].content
    publish("mobilenet_v2_1.0_224", content, network="tiny")
    photo = next(pathlib.Path(imagenet_photos).rglob("*.jpg")).read_bytes()
    found = {"photo": photo}
    exec(from_python, found)
    assert found["logits"].shape == (1, 1001)
    exec(my_zoo)
    assert published_checkpoints["our_birds"].network == "mobilenet_v2"


def test_without_a_network_a_command_ends_in_one_line(tmp_path):
    (port,) = free_ports(1)
    (tmp_path / "my_zoo.py").write_text(
        "from training.zoo.table import PublishedCheckpoint, published_checkpoints\n"
        "published_checkpoints.register('mine')(PublishedCheckpoint(name='mine',"
        f" network='vgg_16', url='http://127.0.0.1:{port}/a.tgz', image_size=224,"
        " num_classes=1000))\n"
    )
    (tmp_path / "a.jpg").write_bytes(encode_photo(0, 0))
    script = str(ROOT / "classify_images.py")
    done = subprocess.run(
        [
            *(sys.executable, script, "--import_modules=my_zoo"),
            *("--checkpoint_path=zoo:mine", str(tmp_path / "a.jpg")),
        ],
        cwd=tmp_path,
        env={"KERAS_HOME": str(tmp_path / "keras"), "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    (error,) = done.stderr.strip().splitlines()
    assert error.startswith(
        f"ERROR: zoo:mine cannot be downloaded from http://127.0.0.1:{port}/a.tgz"
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert list((tmp_path / "keras" / "slimzoo").iterdir()) == []
