import numpy as np
import pytest
import tensorflow as tf
from weight_file_writers import torch_file

from nets.nets_factory import get_network_fn
from training.checkpoints.mismatch import BY_FLAGS
from training.checkpoints.restoring import restore_network


def values_of(network_fn):
    return {name: variable.numpy() for name, variable in network_fn.variables.items()}


def assert_unchanged(network_fn, before):
    for name, value in values_of(network_fn).items():
        np.testing.assert_array_equal(value, before[name])


def test_every_variable_is_set_from_a_file_of_weights(network_fn, cifarnet_file, cifarnet_layers):
    report = restore_network(network_fn, cifarnet_file)
    assert report.restored == list(network_fn.variables)
    assert str(report) == f"Restored 8 variables from {cifarnet_file}."
    for layer, (_, bias) in cifarnet_layers.items():
        variable = network_fn.variables[f"cifarnet_18pct/{layer}/biases"]
        np.testing.assert_array_equal(variable.numpy(), bias)


@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_tensorflow_1_are_read_by_their_names(
    network_fn, write_tensorflow_1, version
):
    """As TF-Slim wrote them: `cifarnet/conv1/weights`, in one file (V1) or in several (V2)."""
    generator = np.random.default_rng(0)
    values = {
        name: generator.normal(size=variable.shape).astype(np.float32)
        for name, variable in network_fn.variables.items()
    }
    path = write_tensorflow_1(values, version=version)
    assert restore_network(network_fn, path).restored == list(values)
    assert_unchanged(network_fn, values)


def test_a_run_gives_its_weights_or_their_moving_averages(network_fn, tmp_path):
    constant = {name: tf.fill(v.shape, 3.0) for name, v in network_fn.variables.items()}
    path = tf.train.Checkpoint(
        network={name: tf.Variable(value) for name, value in constant.items()},
        averages={name: tf.Variable(value + 1) for name, value in constant.items()},
    ).write(str(tmp_path / "model.ckpt-5"))
    for use_moving_average, expected in ((True, 4), (False, 3)):
        restore_network(network_fn, path, use_moving_average=use_moving_average)
        assert {value.flat[0] for value in values_of(network_fn).values()} == {expected}


def test_what_is_missing_unexpected_or_of_another_shape_is_listed_and_nothing_is_loaded(
    network_fn, cifarnet_layers, write_caffemodel, tmp_path
):
    cifarnet_layers["conv4"] = cifarnet_layers.pop("conv3")
    cifarnet_layers["fc10"] = [np.zeros((10, 64 * 9), np.float32), np.zeros(10, np.float32)]
    path = tmp_path / "other.caffemodel"
    path.write_bytes(write_caffemodel(cifarnet_layers))
    before = values_of(network_fn)
    with pytest.raises(ValueError, match="does not fit cifarnet_18pct") as error:
        restore_network(network_fn, str(path))
    message = str(error.value)
    assert "cifarnet_18pct/conv3/weights is not in it" in message
    assert "cifarnet_18pct/conv3/biases is not in it" in message
    assert "conv4/weights [64, 32, 5, 5] is in it, and cifarnet_18pct has no such" in message
    assert "fc10/weights has another shape: [10, 576] there, [4, 4, 64, 10] here" in message
    assert_unchanged(network_fn, before)


def test_missing_ones_can_be_ignored_and_scopes_excluded(
    network_fn, cifarnet_layers, write_caffemodel, tmp_path
):
    del cifarnet_layers["conv3"]
    cifarnet_layers["extra"] = [np.zeros((2, 2), np.float32)]
    path = tmp_path / "part.caffemodel"
    path.write_bytes(write_caffemodel(cifarnet_layers))
    report = restore_network(
        network_fn, str(path), ignore_missing=True, exclude_scopes=["cifarnet_18pct/fc10"]
    )
    assert len(report.restored) == 4
    assert report.skipped["cifarnet_18pct/fc10/weights"] == "excluded"
    assert report.skipped["cifarnet_18pct/conv3/weights"] == "not in the checkpoint"
    assert report.unexpected == ["extra/weights [2, 2]"]
    assert "not used: extra/weights [2, 2]" in str(report)


def test_a_file_of_which_nothing_is_restored_is_refused_though_what_is_missing_is_ignored(
    network_fn, write_caffemodel, tmp_path
):
    path = tmp_path / "other.caffemodel"
    path.write_bytes(write_caffemodel({"extra": [np.zeros((2, 2), np.float32)]}))
    with pytest.raises(ValueError, match="Nothing in it fits") as error:
        restore_network(network_fn, str(path), ignore_missing=True)
    assert "cifarnet_18pct/conv1/weights is not in it" in str(error.value)
    assert "ignore_missing" not in str(error.value)


def test_a_head_for_other_classes_keeps_its_initial_values(cifarnet_file):
    network_fn = get_network_fn("cifarnet_18pct", 3)
    report = restore_network(network_fn, cifarnet_file, skip_other_head=True)
    assert "another number of classes" in report.skipped["cifarnet_18pct/fc10/weights"]
    assert len(report.restored) == 6
    with pytest.raises(ValueError, match="The weights have 10 outputs, but 3 classes") as error:
        restore_network(network_fn, cifarnet_file)
    assert "num_classes=10" in str(error.value)
    assert "exclude_scopes=['cifarnet_18pct/fc10']" in str(error.value)
    with pytest.raises(ValueError, match="Give with --dataset_name the dataset"):
        restore_network(network_fn, cifarnet_file, remedies=BY_FLAGS)


def test_another_network_is_told_in_a_few_lines_what_the_checkpoint_holds(write_tensorflow_1):
    path = write_tensorflow_1({f"vgg_16/conv{i}/weights": np.zeros(3) for i in range(9)})
    with pytest.raises(ValueError, match="does not fit cifarnet_18pct") as error:
        restore_network(get_network_fn("cifarnet_18pct", 10), path)
    message = str(error.value)
    assert "Nothing in it fits. It holds variables of: vgg_16." in message
    assert "and 4 more" in message  # of 8 that are missing
    assert "and 5 more" in message  # of 9 that are not known
    assert "Or leave out" not in message
    assert len(message.splitlines()) == 12


def test_a_checkpoint_with_nans_is_refused_and_what_is_left_over_listed(
    network_fn, write_tensorflow_1
):
    values = values_of(network_fn)
    extra = {"cifarnet_18pct/aux/weights": np.zeros(3, np.float32), "global_step": np.int64(7)}
    report = restore_network(network_fn, write_tensorflow_1({**values, **extra}, "extra.ckpt"))
    assert report.unexpected == ["cifarnet_18pct/aux/weights [3]"]
    broken = {**values, "cifarnet_18pct/conv2/biases": np.full(32, np.nan, np.float32)}
    path = write_tensorflow_1(broken, "broken.ckpt")
    with pytest.raises(ValueError, match="NaNs or infinities in cifarnet_18pct/conv2/biases"):
        restore_network(network_fn, path)
    assert_unchanged(network_fn, values)


def test_of_a_checkpoint_without_its_values_the_missing_file_is_named(
    network_fn, write_tensorflow_1, tmp_path
):
    path = write_tensorflow_1(values_of(network_fn))
    data = tmp_path / "slim.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged or incomplete\. Copy or download its files"):
        restore_network(network_fn, path)
    for step in (1, 2):
        (tmp_path / f"slim.ckpt-{step}.index").touch()
    with pytest.raises(ValueError, match="Give an earlier one"):
        restore_network(network_fn, path)
    data.unlink()
    expected = (
        r"There is no .*slim\.ckpt\.data-00000-of-00001, which belongs beside slim\.ckpt\.ind"
    )
    with pytest.raises(ValueError, match=expected):
        restore_network(network_fn, path)
    for part in (0, 2):
        (tmp_path / f"slim.ckpt.data-0000{part}-of-00003").touch()
    with pytest.raises(ValueError, match=r"There is no .*slim\.ckpt\.data-00001-of-00003"):
        restore_network(network_fn, path)


def test_a_file_that_is_no_checkpoint_says_what_is_taken(network_fn, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no weights at all, only a text of some length")
    with pytest.raises(ValueError, match=r"notes\.txt is not known.*Caffe's \.caffemodel"):
        restore_network(network_fn, str(path))


def constant_values(network_fn, value):
    return {name: np.full(v.shape, value, np.float32) for name, v in network_fn.variables.items()}


@pytest.mark.parametrize("scope", ["", "model/", "a/b/"])
def test_moving_averages_of_tf_slim_are_taken_unless_others_are_asked_for_and_said(
    network_fn, write_tensorflow_1, scope
):
    raw, averages = (constant_values(network_fn, value) for value in (1, 2))
    path = write_tensorflow_1(
        {
            **{scope + name: value for name, value in raw.items()},
            **{f"{scope}{name}/ExponentialMovingAverage": v for name, v in averages.items()},
            "global_step": np.int64(3),
        }
    )
    report = restore_network(network_fn, path)  # by default, as the commands do it
    assert_unchanged(network_fn, averages)
    without = f", names without {scope}" if scope else ""
    assert str(report) == f"Restored 8 variables from {path} (moving averages{without})."
    report = restore_network(network_fn, path, use_moving_average=False)
    assert_unchanged(network_fn, raw)
    assert "also in it, and not taken: moving averages (8 variables)" in str(report)
    assert not report.unexpected


def test_averages_of_some_variables_only_are_counted(network_fn, write_tensorflow_1):
    values = constant_values(network_fn, 1)
    first = next(iter(values))
    path = write_tensorflow_1({**values, f"{first}/ExponentialMovingAverage": values[first] + 1})
    report = restore_network(network_fn, path, use_moving_average=True)
    assert "(1 of them moving averages)" in str(report)
    assert network_fn.variables[first].numpy().max() == 2


def test_a_network_that_is_twice_in_a_checkpoint_of_tensorflow_is_refused(
    network_fn, write_tensorflow_1
):
    values = constant_values(network_fn, 1)
    twice = {f"{scope}/{name}": v for scope in ("left", "right") for name, v in values.items()}
    with pytest.raises(ValueError, match="more than once, in the scopes left/ and right/"):
        restore_network(network_fn, write_tensorflow_1(twice))


def test_a_checkpoint_of_pytorch_says_what_was_taken_and_what_else_is_there(
    network_fn, cifarnet_layers, tmp_path
):
    state = {}
    for layer, (kernel, bias) in cifarnet_layers.items():
        state[f"module.{layer}.weight"], state[f"module.{layer}.bias"] = kernel, bias
    average = {name.removeprefix("module."): 2 * value for name, value in state.items()}
    saved = {"epoch": 3, "state_dict": state, "state_dict_ema": average}
    path = torch_file(tmp_path / "model.pth", saved)
    report = restore_network(network_fn, path, use_moving_average=False)
    assert str(report) == (
        f"Restored 8 variables from {path} (under state_dict, names without module.).\n"
        "  also in it, and not taken: state_dict_ema (8 variables)"
    )
    bias = network_fn.variables["cifarnet_18pct/conv1/biases"]
    np.testing.assert_array_equal(bias.numpy(), cifarnet_layers["conv1"][1])
    report = restore_network(network_fn, path, use_moving_average=True)
    assert "(moving averages, under state_dict_ema)" in str(report)
    np.testing.assert_array_equal(bias.numpy(), 2 * cifarnet_layers["conv1"][1])
