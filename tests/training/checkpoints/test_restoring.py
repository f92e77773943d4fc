import numpy as np
import pytest
import tensorflow as tf

from nets.nets_factory import get_network_fn
from training.checkpoints.restoring import restore_network


def values_of(network_fn):
    return {name: variable.numpy() for name, variable in network_fn.variables.items()}


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


def test_a_file_that_is_no_checkpoint_says_what_is_taken(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no weights at all, only a text of some length")
    with pytest.raises(ValueError, match=r"notes\.txt is not known.*Caffe's \.caffemodel"):
        restore_network(get_network_fn("cifarnet_18pct", 10), str(path))


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


def test_a_head_for_other_classes_keeps_its_initial_values(weight_file):
    network_fn = get_network_fn("cifarnet_18pct", 3)
    report = restore_network(network_fn, weight_file, skip_other_head=True)
    assert "another number of classes" in report.skipped["cifarnet_18pct/fc10/weights"]
    assert len(report.restored) == 6
