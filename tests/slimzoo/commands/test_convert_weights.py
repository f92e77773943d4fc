"""The command; names and layouts are the tests of `training/checkpoints`."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from weight_file_writers import torch_file

from nets import nets_factory
from nets.nets_factory import get_network_fn
from slimzoo import run_folder
from slimzoo.commands.convert_weights import ConversionConfig, convert
from slimzoo.configuration import TrainingConfig
from training.checkpoints.restoring import restore_network
from training.checkpoints.trained_model import load_trained_model


@pytest.fixture(autouse=True)
def networks_of_the_same_variables(registries_restored):
    """cifarnet_18pct under other names."""

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

    cifarnet = nets_factory.networks["cifarnet_18pct"].build

    def without_normalization(images, num_classes=10):
        return cifarnet(images, num_classes, response_normalization=False)

    register("no_norm", without_normalization, "cifar")
    register("twin", cifarnet, "cuda_convnet")
    register("from_caffe", cifarnet, "caffe")


@pytest.fixture
def conversion(cifarnet_file, tmp_path):
    return ConversionConfig(
        checkpoint_path=cifarnet_file,
        model_name="cifarnet_18pct",
        dataset_name="shapes",  # ten classes, known without its images
        output_dir=str(tmp_path / "converted"),
    )


def test_moving_averages_are_converted_unless_they_are_turned_off(
    conversion, cifarnet_layers, tmp_path, capsys
):
    state = {
        f"{layer}.{kind}": array
        for layer, pair in cifarnet_layers.items()
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }
    averages = {name: 2 * array for name, array in state.items()}
    path = torch_file(tmp_path / "model.pth", {"model": state, "ema": {"module": averages}})
    for asked, expected in ((True, averages), (False, state)):
        folder = str(tmp_path / f"converted_{asked}")
        convert(
            dataclasses.replace(
                conversion, checkpoint_path=path, use_moving_average=asked, output_dir=folder
            )
        )
        assert ("(moving averages, under ema > module)" in capsys.readouterr().out) == asked
        variables = load_trained_model(folder).network_fn.variables
        np.testing.assert_array_equal(
            variables["cifarnet_18pct/conv1/biases"].numpy(), expected["conv1.bias"]
        )


def test_a_converted_checkpoint_is_a_trained_model(conversion, capsys, noise):
    convert(conversion)
    output = capsys.readouterr().out
    assert "Restored 8 variables" in output
    assert "are those of the original if" in output
    model = load_trained_model(conversion.output_dir)
    assert model.description.class_names[0] == "arrow"
    expected = get_network_fn("cifarnet_18pct", 10)
    restore_network(expected, conversion.checkpoint_path)
    images = noise(2, 32)
    np.testing.assert_array_equal(model.network_fn(images)[0], expected(images)[0])
    with pytest.raises(ValueError, match="exists already and is not overwritten"):
        convert(conversion)


def test_another_network_than_the_weights_were_trained_as_is_measured(conversion, capsys):
    """The half network and the full one do not fit, but a network differs by its options alone."""
    convert(
        dataclasses.replace(conversion, model_name="no_norm", source_model_name="cifarnet_18pct")
    )
    output = capsys.readouterr().out
    modelling, preprocessing = (
        next(line for line in output.splitlines() if line.startswith(start))
        for start in ("Modelling difference", "Preprocessing difference")
    )
    assert "cifarnet_18pct to no_norm, the same pixels" in modelling
    assert "`cuda_convnet` to `cifar`" in preprocessing
    for line in (modelling, preprocessing):
        assert float(line.split("logits are ")[1].split()[0]) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_path": None}, "--checkpoint_path is not given"),
        ({"model_name": None}, "--model_name is not given"),
        ({"output_dir": None}, "--output_dir is not given"),
        ({"model_name": "alexnet3"}, "Unknown network 'alexnet3'.*Did you mean"),
        (
            {"model_name": "alexnet_cifar"},
            r"does not fit alexnet_cifar[\s\S]*Nothing in it fits",
        ),
        ({"checkpoint_path": "nowhere.pth"}, r"nowhere\.pth does not exist"),
        ({"dataset_name": "cifar11"}, "Unknown dataset 'cifar11'.*cifar10"),
        (
            {"dataset_name": None},
            r"has another shape.*10\].*1000\][\s\S]*have 10 outputs, but 1000 classes",
        ),
        ({"network_options": ["towers=1"]}, "Unknown option"),
        ({"source_model_name": "cifarnet_11pct"}, "does not fit cifarnet_11pct"),
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


def test_weights_that_neither_network_has_from_the_file_are_no_difference(conversion, capsys):
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
    model = load_trained_model(conversion.output_dir)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    given = model.preprocessing.device({"image": tf.constant(pixels)})
    np.testing.assert_allclose(given[0], -mean, rtol=1e-6)


def test_reversed_weights_are_fed_rgb_ever_after(conversion, tmp_path):
    """Loaded, they answer as the original does to BGR; a run that starts from them goes on so."""
    caffe = dataclasses.replace(
        conversion, model_name="from_caffe", preprocessing_options=["resize_side=32"]
    )
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    logits = []
    for reverse in (False, True):
        folder = str(tmp_path / f"{reverse}")
        convert(dataclasses.replace(caffe, bgr_to_rgb=reverse, output_dir=folder))
        model = load_trained_model(folder)
        logits.append(model.network_fn(model.preprocessing(pixels, 32, 32)[None])[0].numpy())
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5 * logits[0].std())
    tuned = TrainingConfig(model_name="from_caffe", checkpoint_path=folder)
    assert run_folder.choose_run_pipeline(tuned).options["channel_order"] == "rgb"


def test_reversed_channels_are_said_to_be(conversion, capsys):
    convert(dataclasses.replace(conversion, bgr_to_rgb=True))
    output = capsys.readouterr().out
    assert "and the preprocessing `cuda_convnet`, in the order BGR." in output
