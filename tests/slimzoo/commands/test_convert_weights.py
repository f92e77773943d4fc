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


@pytest.fixture
def layers():
    """Weights of cifarnet_18pct as Caffe keeps them: [out, in, height, width] and [out, in]."""
    generator = np.random.default_rng(0)
    shapes = {"conv1": (32, 3, 5, 5), "conv2": (32, 32, 5, 5), "conv3": (64, 32, 5, 5)}
    kernels = {
        name: generator.normal(size=shape, scale=(2 / np.prod(shape[1:])) ** 0.5)
        for name, shape in shapes.items()
    }
    kernels["fc10"] = generator.normal(size=(10, 64 * 16), scale=0.05)
    return {
        name: [kernel.astype(np.float32), generator.normal(size=len(kernel)).astype(np.float32)]
        for name, kernel in kernels.items()
    }


@pytest.fixture
def weight_file(layers, write_caffemodel, tmp_path):
    path = tmp_path / "cifar.caffemodel"
    path.write_bytes(write_caffemodel(layers))
    return str(path)


def values_of(network_fn):
    return {name: variable.numpy() for name, variable in network_fn.variables.items()}


def test_layouts_become_those_of_tensorflow(weight_file, layers):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    report = restore_network(network_fn, weight_file)
    assert len(report.restored) == 8
    values = values_of(network_fn)
    kernel, bias = layers["conv2"]
    np.testing.assert_array_equal(
        values["cifarnet_18pct/conv2/weights"], kernel.transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(values["cifarnet_18pct/conv2/biases"], bias)
    fc10 = layers["fc10"][0].reshape(10, 64, 4, 4)  # channels, rows, columns
    assert values["cifarnet_18pct/fc10/weights"][1, 2, 3, 4] == fc10[4, 3, 1, 2]


def test_bgr_to_rgb_reverses_the_first_layers_inputs_alone(weight_file):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    restore_network(network_fn, weight_file)
    before = values_of(network_fn)
    restore_network(network_fn, weight_file, bgr_to_rgb=True)
    after = values_of(network_fn)
    first = "cifarnet_18pct/conv1/weights"
    np.testing.assert_array_equal(after.pop(first), before.pop(first)[:, :, ::-1])
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name])


def test_what_is_missing_unexpected_or_of_another_shape_is_listed_and_nothing_is_loaded(
    layers, write_caffemodel, tmp_path
):
    layers["conv4"] = layers.pop("conv3")
    layers["fc10"] = [np.zeros((10, 64 * 9), np.float32), np.zeros(10, np.float32)]
    path = tmp_path / "other.caffemodel"
    path.write_bytes(write_caffemodel(layers))
    network_fn = get_network_fn("cifarnet_18pct", 10)
    before = values_of(network_fn)
    with pytest.raises(ValueError, match="does not fit cifarnet_18pct") as error:
        restore_network(network_fn, str(path))
    message = str(error.value)
    assert "cifarnet_18pct/conv3/weights is not in it" in message
    assert "cifarnet_18pct/conv3/biases is not in it" in message
    assert "conv4/weights [64, 32, 5, 5] is in it, and cifarnet_18pct has no such" in message
    assert "fc10/weights has another shape: [10, 576] there, [4, 4, 64, 10] here" in message
    for name, value in values_of(network_fn).items():
        np.testing.assert_array_equal(value, before[name])


def test_missing_ones_can_be_ignored_and_scopes_excluded(layers, write_caffemodel, tmp_path):
    del layers["conv3"]
    layers["extra"] = [np.zeros((2, 2), np.float32)]
    path = tmp_path / "part.caffemodel"
    path.write_bytes(write_caffemodel(layers))
    network_fn = get_network_fn("cifarnet_18pct", 10)
    report = restore_network(
        network_fn, str(path), ignore_missing=True, exclude_scopes=["cifarnet_18pct/fc10"]
    )
    assert len(report.restored) == 4
    assert report.skipped["cifarnet_18pct/fc10/weights"] == "excluded"
    assert report.skipped["cifarnet_18pct/conv3/weights"] == "not in the checkpoint"
    assert report.unexpected == ["extra/weights [2, 2]"]
    assert "not used: extra/weights [2, 2]" in str(report)


def test_a_copied_keras_alexnet_loads_by_the_order_of_its_layers(noise, tmp_path):
    keras.utils.set_random_seed(0)
    lively = {"kernel_initializer": "he_normal", "bias_initializer": "normal"}
    conv = lambda *arguments: keras.layers.Conv2D(*arguments, activation="relu", **lively)  # noqa: E731
    dense = lambda units: keras.layers.Dense(units, activation="relu", **lively)  # noqa: E731
    model = keras.Sequential(
        [
            keras.Input([224, 224, 3]),
            *(conv(96, 11, 4), keras.layers.MaxPooling2D(2, 2)),
            *(conv(256, 11), keras.layers.MaxPooling2D(2, 2)),
            *(conv(384, 3), conv(384, 3), conv(256, 3), keras.layers.MaxPooling2D(2, 2)),
            keras.layers.Flatten(),
            *(dense(4096), keras.layers.Dropout(0.4), dense(4096), keras.layers.Dropout(0.4)),
            *(dense(1000), keras.layers.Dropout(0.4), keras.layers.Dense(17, **lively)),
        ]
    )
    path = str(tmp_path / "copied.weights.h5")
    model.save_weights(path)
    network_fn = get_network_fn("alexnet_keras", 17)
    assert network_fn.model.count_params() == model.count_params()
    report = restore_network(network_fn, path)
    assert len(report.restored) == 18
    assert not report.unexpected
    images = noise(2, 224) / 64
    expected = model(images).numpy()
    np.testing.assert_allclose(network_fn(images)[0], expected, atol=1e-4 * np.ptp(expected))


def test_a_networks_own_keras_weights_load(noise, tmp_path):
    network_fn = get_network_fn("cifarnet_18pct", 10)
    path = str(tmp_path / "own.weights.h5")
    network_fn.model.save_weights(path)
    other = get_network_fn("cifarnet_18pct", 10)
    restore_network(other, path)
    for name, value in values_of(network_fn).items():
        np.testing.assert_array_equal(values_of(other)[name], value)


def test_a_file_that_is_no_checkpoint_says_what_is_taken(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no weights at all, only a text of some length")
    with pytest.raises(ValueError, match=r"notes\.txt is not known.*Caffe's \.caffemodel"):
        restore_network(get_network_fn("cifarnet_18pct", 10), str(path))


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
        del nets_factory.networks._entries[name]


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


def test_a_tensorflow_checkpoint_with_nans_is_refused_and_what_is_left_over_listed(tmp_path):
    network_fn = get_network_fn("cifarnet_18pct", 10)

    def write(values, name):
        path = str(tmp_path / name)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for key, value in values.items():
                tf.compat.v1.get_variable(key, initializer=tf.constant(value))
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, path)
        return path

    values = values_of(network_fn)
    extra = {"cifarnet_18pct/aux/weights": np.zeros(3, np.float32), "global_step": np.int64(7)}
    report = restore_network(network_fn, write({**values, **extra}, "extra.ckpt"))
    assert report.unexpected == ["cifarnet_18pct/aux/weights [3]"]
    broken = {**values, "cifarnet_18pct/conv2/biases": np.full(32, np.nan, np.float32)}
    path = write(broken, "broken.ckpt")
    with pytest.raises(ValueError, match="NaNs or infinities in cifarnet_18pct/conv2/biases"):
        restore_network(network_fn, path)
    for name, value in values_of(network_fn).items():
        np.testing.assert_array_equal(value, values[name])
    with pytest.raises(ValueError, match="--bgr_to_rgb is for files of other frameworks"):
        restore_network(network_fn, path, bgr_to_rgb=True)


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


def test_two_tensors_that_are_one_variable_are_refused(layers, write_safetensors, tmp_path):
    kernel = layers["conv2"][0]
    path = tmp_path / "twice.safetensors"
    path.write_bytes(write_safetensors({"conv2.weight": kernel, "module.conv2.weight": kernel}))
    with pytest.raises(ValueError, match="holds cifarnet_18pct/conv2/weights twice"):
        restore_network(get_network_fn("cifarnet_18pct", 10), str(path))


def test_a_head_for_other_classes_keeps_its_initial_values(weight_file):
    network_fn = get_network_fn("cifarnet_18pct", 3)
    report = restore_network(network_fn, weight_file, skip_other_head=True)
    assert "another number of classes" in report.skipped["cifarnet_18pct/fc10/weights"]
    assert len(report.restored) == 6
