import json
import os
import pathlib
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.train_image_classifier import train
from training.checkpoints.description import ModelDescription
from training.checkpoints.finding import find_checkpoint
from training.checkpoints.restoring import restore_network


def metrics(config, kind="train"):
    lines = pathlib.Path(config.train_dir, "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def weights(checkpoint):
    """What a checkpoint holds, step by step counters and optimizer included."""
    reader = tf.train.load_checkpoint(checkpoint)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(("save_counter", "_CHECKPOINTABLE"))
    }


def network_weights(checkpoint):
    return {name: v for name, v in weights(checkpoint).items() if name.startswith("network/")}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_it_learns_and_leaves_all_that_it_promises(replaced, capsys):
    config = replaced(max_number_of_steps=120, log_every_n_steps=10, validation_interval_epochs=10)
    checkpoint = train(config)
    assert metrics(config, "validation")[-1]["top_1"] > 0.9
    assert metrics(config)[-1]["loss"] < metrics(config)[0]["loss"] / 2
    assert metrics(config)[-1]["images_per_second"] > 0
    run = pathlib.Path(config.train_dir)
    assert checkpoint == str(run / "model.ckpt-120")
    assert len(list(run.glob("model.ckpt-*.index"))) == config.keep_checkpoints
    assert len(list((run / "best").glob("model.ckpt-*.index"))) == 1
    assert list(run.glob("events.*"))
    assert list((run / "validation").glob("events.*"))
    assert "--learning_rate=0.05" in (run / "flags.txt").read_text().splitlines()
    assert ModelDescription.load(str(run / "best")).class_names == ["blue", "green", "red"]
    printed = capsys.readouterr().out
    assert f"--checkpoint_path={config.train_dir}/best" in printed
    assert "export_saved_model" in printed


def test_interrupted_by_ctrl_c_and_resumed_it_ends_as_a_run_never_stopped(replaced, tmp_path):
    """Wherever the signal comes; what happens at a given step is the loop's test."""
    options = {
        "max_number_of_steps": 40,
        "moving_average_decay": 0.9,
        "validation_interval_epochs": 5,
    }
    whole = train(replaced(**options))
    config = replaced(**options, train_dir=str(tmp_path / "stopped"))
    handler = signal.getsignal(signal.SIGINT)  # ignored where tests run in the background

    def interrupt_after_some_steps():
        log = pathlib.Path(config.train_dir, "metrics.jsonl")
        while not log.exists() or log.read_text().count("\n") < 4:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_after_some_steps, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="Interrupted and saved at step"):
        train(config)
    thread.join()
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = train(config)
    assert_equal_weights(weights(whole), weights(resumed))
    assert [line["step"] for line in metrics(config)] == list(range(1, 41))


@pytest.mark.parametrize(
    ("optimizer", "cache"),
    [("momentum", False), pytest.param("adam", True, marks=pytest.mark.slow)],
)
def test_two_replicas_have_the_losses_of_one_device(replaced, tmp_path, optimizer, cache):
    options = {
        "optimizer": optimizer,
        "augment": False,
        "network_options": ["dropout_keep_prob=1"],
        "max_number_of_steps": 8,
        "learning_rate_decay_type": "fixed",
    }
    one = replaced(**options, train_dir=str(tmp_path / "one"))
    two = replaced(**options, train_dir=str(tmp_path / "two"), num_replicas=2, cache=cache)
    checkpoints = train(one), train(two)
    losses = [[line["loss"] for line in metrics(config)] for config in (one, two)]
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for name, value in network_weights(checkpoints[0]).items():
        np.testing.assert_allclose(network_weights(checkpoints[1])[name], value, atol=1e-5)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(replaced):
    train(replaced(max_number_of_steps=3))
    config = replaced(max_number_of_steps=40, learning_rate=1e20, validation_interval_epochs=100)
    with pytest.raises(ValueError, match=r"not a number.*model\.ckpt-3.*lower --learning_rate"):
        train(config)
    assert tf.train.latest_checkpoint(config.train_dir).endswith("model.ckpt-3")
    assert all(np.isfinite(v).all() for v in network_weights(config.train_dir).values())


def test_fine_tuning_restores_skips_the_head_and_says_so(replaced, photos, tmp_path, capsys):
    source = train(replaced(train_dir=str(tmp_path / "source")))
    two_classes = tmp_path / "two_classes"
    shutil.copytree(photos, two_classes)
    for split in ("train", "validation"):
        shutil.rmtree(two_classes / split / "red")
    config = replaced(
        dataset_dir=str(two_classes),
        checkpoint_path=str(tmp_path / "source"),
        trainable_scopes=["tiny/fc3"],
        max_number_of_steps=2,
    )
    capsys.readouterr()
    tuned = train(config)
    printed = capsys.readouterr().out
    assert f"Restored 4 variables from {source}" in printed
    assert "tiny/fc3/weights (for another number of classes: [1, 1, 16, 3] there" in printed
    before, after = network_weights(source), network_weights(tuned)
    for name in before:
        if "fc3" in name:
            assert after[name].shape[-1] == 2
        else:
            np.testing.assert_array_equal(after[name], before[name])

    # Resuming wins over --checkpoint_path, and says it loudly.
    train(replaced(**{**vars(config), "max_number_of_steps": 3}))
    assert "is NOT used" in capsys.readouterr().out


@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_tensorflow_1_are_found_by_their_names(replaced, tmp_path, capsys, version):
    """As TF-Slim wrote them: `tiny/conv1/weights`, in one file (V1) or in several (V2)."""
    generator = np.random.default_rng(0)
    shapes = {
        "conv1/weights": (7, 7, 3, 8),
        "conv1/biases": (8,),
        "fc2/weights": (1, 1, 8, 16),
        "fc2/biases": (16,),
        "fc3/weights": (1, 1, 16, 3),
        "fc3/biases": (3,),
    }
    values = {
        f"tiny/{name}": generator.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(name, initializer=value) for name, value in values.items()
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables, write_version=version)
        path = saver.save(session, str(tmp_path / "tiny.ckpt"))
    config = replaced(checkpoint_path=path, trainable_scopes=["tiny/fc3"], max_number_of_steps=1)
    checkpoint = train(config)
    assert f"Restored 6 variables from {path}" in capsys.readouterr().out
    network_fn = ModelDescription.load(config.train_dir).build()
    restore_network(network_fn, checkpoint)
    for name in ("tiny/conv1/weights", "tiny/fc2/biases"):  # not trained, so as they came
        np.testing.assert_array_equal(network_fn.variables[name].numpy(), values[name])
    # TensorFlow's own list of checkpoints names it, though its name has no step.
    for given in (tmp_path, tmp_path / "checkpoint", tmp_path / "tiny.ckpt.meta"):
        if version == 2 or given.suffix:
            assert os.path.samefile(os.path.dirname(find_checkpoint(str(given))), tmp_path)
            assert find_checkpoint(str(given)).endswith("tiny.ckpt")


def test_excluded_scopes_keep_their_initial_values(replaced, tmp_path, capsys):
    train(replaced(train_dir=str(tmp_path / "source")))
    config = replaced(
        checkpoint_path=str(tmp_path / "source"), checkpoint_exclude_scopes=["tiny/conv1"]
    )
    train(config)
    assert "tiny/conv1/weights (excluded)" in capsys.readouterr().out


def test_moving_averages_are_validated_and_evaluated(replaced):
    config = replaced(moving_average_decay=0.3, max_number_of_steps=5)
    train(config)
    evaluated = evaluate(EvaluationConfig(checkpoint_path=config.train_dir))
    last_weights = evaluate(
        EvaluationConfig(checkpoint_path=config.train_dir, use_moving_average=False)
    )
    validated = metrics(config, "validation")[-1]["loss"]
    assert validated == pytest.approx(evaluated.loss, rel=1e-5)
    assert validated != pytest.approx(last_weights.loss, rel=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_keeps_float32_weights(replaced, precision):
    config = replaced(
        mixed_precision=precision, max_number_of_steps=30, validation_split_name="none"
    )
    checkpoint = train(config)
    losses = [line["loss"] for line in metrics(config)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert {value.dtype for value in network_weights(checkpoint).values()} == {np.dtype("float32")}


def test_classes_below_the_offset_are_left_out_and_not_called_corrupt(replaced, capsys):
    train(replaced(labels_offset=1))
    assert "left out: their class is unknown or below --labels_offset." in capsys.readouterr().out


def test_corrupt_images_are_named_or_left_out_and_counted(replaced, photos, tmp_path, capsys):
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    (root / "train" / "green" / "4.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"cannot be decoded: .*green.4\.jpg"):
        train(replaced(dataset_dir=str(root)))
    # Where it comes after some steps, these are not lost.
    late = replaced(
        dataset_dir=str(root),
        train_dir=str(tmp_path / "late"),
        batch_size=1,
        shuffle_buffer_size=1,
        max_number_of_steps=60,
    )
    with pytest.raises(ValueError, match="cannot be decoded"):
        train(late)
    assert tf.train.latest_checkpoint(late.train_dir)
    train(replaced(dataset_dir=str(root), skip_corrupt_images=True, max_number_of_steps=6))
    assert "2 times images were left out: they cannot be decoded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_name": "alexnet_v3"}, "Unknown network 'alexnet_v3'. Did you mean 'alexnet_v2'"),
        ({"preprocessing_name": "alexnett"}, "Did you mean 'alexnet'"),
        ({"dataset_name": "cifar11"}, "cifar10"),
        ({"dataset_split_name": "trian"}, "Did you mean 'train'"),
        ({"validation_split_name": "tset"}, "split"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
        ({"learning_rate_decay_type": "step"}, "Known: cosine, exponential"),
        ({"batch_size": 5, "num_replicas": 2}, "2 replicas cannot share equally; 4 or 6"),
        ({"num_replicas": 7}, "there are 2 logical CPU devices"),
        ({"train_image_size": 16}, "32x32 or more"),
        ({"network_options": ["dropout_kep=0.5"]}, "Did you mean 'dropout_keep_prob'"),
        ({"network_options": ["dropout_keep_prob"]}, "name=value"),
        ({"network_options": ["dropout_keep_prob=0"]}, r"must be in \(0, 1\]"),
        ({"network_options": ["dropout_keep_prob=half"]}, "takes a value such as 0.5"),
        ({"network_options": ["dropout_keep_prob=true"]}, "takes a value such as 0.5"),
        ({"network_options": ["num_classes=5"]}, "Unknown option in --network_options"),
        ({"network_options": ["dropout_keep_prob=1.0"] * 2}, "dropout_keep_prob twice"),
        ({"preprocessing_options": ["is_training=True"]}, "Unknown option"),
        ({"preprocessing_options": ["resize_side=20"]}, "resize_side"),
        ({"preprocessing_options": ["sigma=1"]}, "option"),
        ({"import_modules": ["no.such.module"]}, "cannot be imported"),
        ({"trainable_scopes": ["tiny/fc9"]}, "Unknown scope 'tiny/fc9'. Did you mean"),
        ({"checkpoint_path": "/nowhere"}, "does not exist"),
        ({"labels_offset": 3}, "only 3 classes"),
        (
            {"model_name": "cifarnet_18pct", "network_options": ["spatial_squeeze=False"]},
            "a map of logits",
        ),
        (
            {"learning_rate_decay_type": "plateau", "validation_split_name": "none"},
            "there is no validation",
        ),
        ({"dataset_dir": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_does_not_exist_or_fit_is_named(replaced, values, message):
    with pytest.raises(ValueError, match=message) as raised:
        train(replaced(**values))
    assert "in user code" not in str(raised.value)  # AutoGraph's report, which is no message


@pytest.mark.parametrize(
    "values",
    [
        {"num_epochs": float("inf")},
        {"validation_interval_epochs": float("inf")},
        {"opt_epsilon": 0.0},
        {"batch_size": 0},
        {"batch_size": -8},
        {"train_image_size": -1},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"label_smoothing": 1.0},
        {"max_number_of_steps": 0},
        {"learning_rate": 1e39},
        {"moving_average_decay": 0.0},
        {"num_replicas": 0},
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_done(replaced, values):
    with pytest.raises(ValueError, match=f"--{next(iter(values))} is "):
        replaced(**values)


def test_a_torn_checkpoint_is_named_and_the_advice_in_the_message_works(config, replaced):
    train(replaced(max_number_of_steps=3))
    checkpoint = train(config)
    data = pathlib.Path(checkpoint + ".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:200])
    longer = replaced(max_number_of_steps=9)
    with pytest.raises(ValueError, match=r"model\.ckpt-6 cannot be read.*remove its files"):
        train(longer)
    assert pathlib.Path(checkpoint + ".index").exists()
    for path in pathlib.Path(config.train_dir).glob("model.ckpt-6.*"):
        path.unlink()
    train(longer)
    assert [line["step"] for line in metrics(longer)] == list(range(1, 10))


@pytest.mark.parametrize(
    "values",
    [{"optimizer": "adam"}, {"mixed_precision": "float16"}, {"trainable_scopes": ["tiny/fc3"]}],
)
def test_a_checkpoint_of_other_settings_is_not_called_damaged(config, replaced, values):
    train(config)
    files = ("model.json", "flags.txt")
    before = [pathlib.Path(config.train_dir, name).read_text() for name in files]
    with pytest.raises(ValueError, match="of a run with other settings"):
        train(replaced(max_number_of_steps=9, **values))
    assert [pathlib.Path(config.train_dir, name).read_text() for name in files] == before


def test_a_checkpoint_of_other_classes_is_not_called_damaged(config, replaced, photos, tmp_path):
    train(config)
    pathlib.Path(config.train_dir, "model.json").unlink()
    fewer = tmp_path / "fewer"
    shutil.copytree(photos, fewer)
    for split in ("train", "validation"):
        shutil.rmtree(fewer / split / "red")
    with pytest.raises(ValueError, match="of a run with other settings"):
        train(replaced(dataset_dir=str(fewer), max_number_of_steps=9))


def test_a_module_with_a_mistake_in_it_is_named(replaced, tmp_path, monkeypatch):
    (tmp_path / "with_a_mistake.py").write_text("def")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="with_a_mistake cannot be imported: SyntaxError"):
        train(replaced(import_modules=["with_a_mistake"]))


def test_a_finished_run_is_not_trained_again(config, capsys):
    checkpoint = train(config)
    before = weights(checkpoint)
    assert train(config) == checkpoint
    assert "nothing to do" in capsys.readouterr().out
    assert_equal_weights(before, weights(checkpoint))
