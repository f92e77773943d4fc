"""Weights of other frameworks, from their files to an evaluation."""

import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from nets.nets_factory import get_network_fn
from slimzoo import run_folder
from slimzoo.commands.convert_weights import ConversionConfig, convert
from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate, split_paths
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.configuration import TrainingConfig
from training.checkpoints import trained_model
from training.checkpoints.restoring import restore_network


def values_of(network_fn):
    return {name: variable.numpy() for name, variable in network_fn.variables.items()}


# ------------------------------------------------------------------ the driver


@pytest.fixture
def register():
    """Registers networks of 32x32 pixels for one test."""
    names = []

    def register(name, build, preprocessing):
        nets_factory.register_network(
            first_layer="conv1",
            head="fc10",
            default_image_size=32,
            minimum_image_size=25,
            preprocessing=preprocessing,
            name=name,
            scope="cifarnet_18pct",
        )(build)
        names.append(name)

    yield register
    for name in names:
        nets_factory.networks.remove(name)


@pytest.fixture
def conversion(weight_file, tmp_path):
    return ConversionConfig(
        checkpoint_path=weight_file,
        model_name="cifarnet_18pct",
        dataset_name="shapes",  # ten classes, known without its images
        output_dir=str(tmp_path / "converted"),
    )


def test_a_converted_checkpoint_is_a_trained_model(conversion, weight_file, capsys, noise):
    convert(conversion)
    output = capsys.readouterr().out
    assert "Restored 8 variables" in output
    assert "are those of the original if" in output
    model = trained_model.load_trained_model(conversion.output_dir)
    assert model.description.class_names[0] == "arrow"
    expected = get_network_fn("cifarnet_18pct", 10)
    restore_network(expected, weight_file)
    images = noise(2, 32)
    np.testing.assert_array_equal(model.network_fn(images)[0], expected(images)[0])


def test_another_network_than_the_weights_were_trained_as_is_measured(conversion, register, capsys):
    """The half network and the full one do not fit, but a network differs by its options alone."""
    register("no_norm", _without_normalization, "cifar")
    convert(
        dataclasses.replace(conversion, model_name="no_norm", source_model_name="cifarnet_18pct")
    )
    output = capsys.readouterr().out
    modelling, preprocessing = (
        next(line for line in output.splitlines() if line.startswith(start))
        for start in ("Modelling difference", "Preprocessing difference")
    )
    assert "cifarnet_18pct to no_norm, the same pixels" in modelling
    assert "`cifarnet` to `cifar`" in preprocessing
    for line in (modelling, preprocessing):
        assert float(line.split("logits are ")[1].split()[0]) > 0


def _without_normalization(images, num_classes=10):
    net, end_points = nets_factory.networks["cifarnet_18pct"].build(
        images, num_classes, response_normalization=False
    )
    return net, end_points


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"model_name": None}, "--model_name is not given"),
        ({"output_dir": None}, "--output_dir is not given"),
        ({"model_name": "alexnet3"}, "Unknown network 'alexnet3'.*Did you mean"),
        ({"model_name": "alexnet"}, r"does not fit alexnet[\s\S]*Nothing in it fits"),
        ({"checkpoint_path": "nowhere.pth"}, r"nowhere\.pth does not exist"),
        ({"dataset_name": "cifar11"}, "Unknown dataset 'cifar11'.*cifar10"),
        (
            {"dataset_name": None},
            r"has another shape.*10\].*1000\][\s\S]*have 10 outputs, but 1000 classes",
        ),
        ({"network_options": ["towers=1"]}, "Unknown option"),
        ({"source_model_name": "alexnet"}, "does not fit alexnet"),
        ({"preprocessing_options": ["mean_image=123"]}, "mean_image is 123; it takes the path"),
    ],
)
def test_mistakes_end_in_a_message_and_write_nothing(conversion, changes, message):
    with pytest.raises(ValueError, match=message):
        convert(dataclasses.replace(conversion, **changes))
    assert not tf.io.gfile.exists(conversion.output_dir)


def test_a_run_needs_no_conversion(conversion, tmp_path):
    """Its options and its mean image would be lost."""
    convert(dataclasses.replace(conversion, network_options=["response_normalization=False"]))
    again = dataclasses.replace(
        conversion, checkpoint_path=conversion.output_dir, output_dir=str(tmp_path / "again")
    )
    with pytest.raises(ValueError, match=r"of a run of cifarnet_18pct.*needs no conversion"):
        convert(again)


def test_another_form_of_a_network_is_measured(conversion, capsys):
    convert(
        dataclasses.replace(
            conversion,
            network_options=["response_normalization=False"],
            source_model_name="cifarnet_18pct",
        )
    )
    modelling = capsys.readouterr().out.split("Modelling difference ")[1]
    assert modelling.startswith("(cifarnet_18pct to cifarnet_18pct")
    assert float(modelling.split("logits are ")[1].split()[0]) > 0


def test_weights_that_neither_network_has_from_the_file_are_no_difference(
    conversion, register, capsys
):
    register("twin", nets_factory.networks["cifarnet_18pct"].build, "cifarnet")
    convert(
        dataclasses.replace(
            conversion,
            model_name="twin",
            source_model_name="cifarnet_18pct",
            checkpoint_exclude_scopes=["cifarnet_18pct/fc10"],
        )
    )
    modelling = capsys.readouterr().out.split("Modelling difference ")[1]
    assert "logits are 0 apart at most" in modelling.splitlines()[0]


def test_weights_keep_the_pipeline_that_they_are_converted_with(conversion, tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "mean.npy", mean)
    convert(
        dataclasses.replace(
            conversion, preprocessing_options=[f"mean_image={tmp_path / 'mean.npy'}"]
        )
    )
    os.remove(tmp_path / "mean.npy")
    model = trained_model.load_trained_model(conversion.output_dir)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    given = model.preprocessing.device({"image": tf.constant(pixels)})
    np.testing.assert_allclose(given[0], -mean, rtol=1e-6)


def test_reversed_weights_are_fed_rgb_ever_after(conversion, register, tmp_path):
    """Loaded, they answer as the original does to BGR; a run that starts from them goes on so."""
    register("from_caffe", nets_factory.networks["cifarnet_18pct"].build, "caffe")
    caffe = dataclasses.replace(
        conversion, model_name="from_caffe", preprocessing_options=["resize_side=32"]
    )
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    logits = []
    for reverse in (False, True):
        folder = str(tmp_path / f"{reverse}")
        convert(dataclasses.replace(caffe, bgr_to_rgb=reverse, output_dir=folder))
        model = trained_model.load_trained_model(folder)
        logits.append(model.network_fn(model.preprocessing(pixels, 32, 32)[None])[0].numpy())
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5 * logits[0].std())
    tuned = TrainingConfig(model_name="from_caffe", checkpoint_path=folder)
    assert run_folder.choose_run_pipeline(tuned).options["channel_order"] == "rgb"


def test_a_checkpoint_of_tensorflow_1_below_a_run_is_none_of_the_runs(conversion, tmp_path):
    convert(conversion)
    values = values_of(get_network_fn("cifarnet_18pct", 10))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(n, initializer=v) for n, v in values.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables)
        path = saver.save(session, f"{conversion.output_dir}/slim/slim.ckpt")
    with pytest.raises(ValueError, match=r"There is no model\.json.*of TF-Slim give --model_name"):
        trained_model.load_trained_model(path)


def test_nothing_is_overwritten(conversion):
    convert(conversion)
    with pytest.raises(ValueError, match="exists already and is not overwritten"):
        convert(conversion)


# ------------------------------------------------- several networks, bare weights


def test_bare_weights_are_evaluated_as_the_network_that_is_named(
    weight_file, conversion, real_data_dir, tmp_path
):
    arguments = {"dataset_dir": real_data_dir, "max_num_batches": 1, "batch_size": 64}
    bare = EvaluationConfig(
        checkpoint_path=weight_file,
        model_name=["cifarnet_18pct"],
        dataset_name="cifar10",
        eval_dir=str(tmp_path / "bare"),
        **arguments,
    )
    convert(dataclasses.replace(conversion, dataset_name="cifar10", dataset_dir=real_data_dir))
    converted = EvaluationConfig(checkpoint_path=conversion.output_dir, **arguments)
    assert evaluate(bare) == evaluate(converted)
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        evaluate(dataclasses.replace(bare, model_name=[]))
    with pytest.raises(ValueError, match="does not say what it was trained on"):
        evaluate(dataclasses.replace(bare, dataset_name=None))
    with pytest.raises(ValueError, match="2 names, and --checkpoint_path 1;"):
        evaluate(dataclasses.replace(bare, model_name=["cifarnet_18pct", "alexnet"]))
    with pytest.raises(ValueError, match="holds a run of cifarnet_18pct"):
        evaluate(dataclasses.replace(converted, model_name=["alexnet"]))


def test_a_weight_file_in_a_runs_folder_is_none_of_the_runs(weight_file, conversion):
    convert(conversion)
    beside = shutil.copy(weight_file, conversion.output_dir)
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        trained_model.load_trained_model(beside, class_names=list("abcdefghij"))
    loaded = trained_model.load_trained_model(
        beside, model_name="cifarnet_18pct", class_names=list("abcdefghij")
    )
    assert loaded.description.class_names == list("abcdefghij")


@pytest.mark.parametrize("num_crops", [1, 10])
def test_several_networks_answer_with_the_mean_of_their_softmax_outputs(
    num_crops, real_data_dir, tmp_path
):
    """Two of one architecture and one of another, which sees 24x24 crops."""
    names = ["cifarnet_13pct", "cifarnet_13pct", "cifarnet_11pct"]
    paths, probabilities = [], []
    arguments = {
        "dataset_name": "cifar10",
        "dataset_dir": real_data_dir,
        "dataset_split_name": "test[:50]",
        "batch_size": 20,
        "eval_crops": num_crops,
    }
    for number, name in enumerate(names):
        keras.utils.set_random_seed(number)
        network_fn = get_network_fn(name, 10)
        for variable in network_fn.variables.values():
            variable.assign(variable + 0.05 * tf.random.normal(variable.shape))
        path = str(tmp_path / f"{number}.weights.h5")
        network_fn.model.save_weights(path)
        paths.append(path)
        evaluate(
            EvaluationConfig(
                checkpoint_path=path,
                model_name=[name],
                eval_dir=str(tmp_path / str(number)),
                **arguments,
            )
        )
        probabilities.append(read_probabilities(tmp_path / str(number)))
    result = evaluate(
        EvaluationConfig(
            checkpoint_path=",".join(paths),
            model_name=names,
            eval_dir=str(tmp_path / "all"),
            **arguments,
        )
    )
    assert result.num_examples == 50
    together = read_probabilities(tmp_path / "all")
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.01
    np.testing.assert_allclose(together, np.mean(probabilities, axis=0), atol=1e-6)
    summary = json.loads((tmp_path / "all" / "evaluation.json").read_text())
    assert summary["model_name"] == "cifarnet_13pct,cifarnet_11pct"
    assert summary["checkpoint"] == ",".join(paths)


def read_probabilities(folder):
    lines = (folder / "predictions.csv").read_text().splitlines()
    return np.array([[float(value) for value in line.split(",")[-10:]] for line in lines[1:]])


def test_a_comma_in_the_path_of_a_checkpoint_is_no_separator(conversion, tmp_path):
    folder = str(tmp_path / "lr,0.1")
    convert(dataclasses.replace(conversion, output_dir=folder))
    prefix = f"{folder}/model.ckpt-0"
    assert split_paths(prefix) == [prefix]
    assert split_paths(folder) == [prefix]
    convert(conversion)
    other = f"{conversion.output_dir}/model.ckpt-0"
    assert split_paths(f"{other}, {other}") == [other, other]


def test_reversed_channels_are_said_to_be(conversion, capsys):
    convert(dataclasses.replace(conversion, bgr_to_rgb=True))
    output = capsys.readouterr().out
    assert "and the preprocessing `cifarnet`, in the order BGR." in output


def test_bare_weights_can_be_exported(weight_file, tmp_path, noise):
    folder = str(tmp_path / "saved_model")
    config = ExportConfig(
        checkpoint_path=weight_file,
        model_name="cifarnet_18pct",
        dataset_name="shapes",
        export_dir=folder,
    )
    export(config)
    loaded = tf.saved_model.load(folder)
    assert loaded.class_names.numpy()[1] == b"circle"
    with pytest.raises(ValueError, match="does not say of what network: give --model_name"):
        export(dataclasses.replace(config, model_name=None, export_dir=str(tmp_path / "other")))
