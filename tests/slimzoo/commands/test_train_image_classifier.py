import csv
import functools
import os
import pathlib
import shlex
import shutil
import signal
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import (
    NUM_TRAIN,
    NUM_VALIDATION,
    assert_equal_values,
    encode_photo,
    metrics,
    saved_values,
    saved_weights,
    train_until_interrupted,
)

from slimzoo.commands.eval_image_classifier import EvaluationConfig, evaluate
from slimzoo.commands.export_saved_model import ExportConfig, export
from slimzoo.commands.train_image_classifier import train
from training.checkpoints.description import ModelDescription
from training.dataset_preparation.pixel_statistics import PixelSums, write_statistics

VALIDATED_AT_THE_END = {"validation_split_name": None, "validation_interval_epochs": 100.0}


def photos_of_two_classes(photos, folder):
    shutil.copytree(photos, folder)
    for split in ("train", "validation"):
        shutil.rmtree(folder / split / "red")
    return str(folder)


def test_it_learns_and_leaves_all_that_it_promises(replaced, capsys):
    config = replaced(
        preprocessing_name="alexnet",  # the one of most networks
        preprocessing_options=[],
        validation_split_name=None,
        validation_interval_epochs=10.0,
        max_number_of_steps=120,
        log_every_n_steps=10,
    )
    checkpoint = train(config)
    validations = metrics(config.train_dir, "validation")
    assert [line["step"] for line in validations] == [30, 60, 90, 120]
    assert validations[-1]["top_1"] > 0.9
    lines = metrics(config.train_dir)
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["images_per_second"] > 0
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
    assert "the most frequent class" not in printed
    assert printed.endswith(f"{config.train_dir}/best/evaluation/report.html\n")


def test_interrupted_by_ctrl_c_and_resumed_it_ends_as_a_run_never_stopped(replaced, tmp_path):
    """Wherever the signal comes; what happens at a given step is the loop's test."""
    options = {
        "max_number_of_steps": 40,
        "moving_average_decay": 0.9,
        "validation_split_name": None,
        "validation_interval_epochs": 5.0,
    }
    whole = train(replaced(**options))
    config = replaced(**options, train_dir=str(tmp_path / "stopped"))
    handler = signal.getsignal(signal.SIGINT)  # ignored where tests run in the background
    train_until_interrupted(config)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = train(config)
    assert_equal_values(saved_values(whole), saved_values(resumed))
    assert [line["step"] for line in metrics(config.train_dir)] == list(range(1, 41))


@pytest.mark.slow
def test_steps_that_python_asks_for_at_once_train_the_same(replaced, tmp_path):
    options = {"max_number_of_steps": 8, "log_every_n_steps": 4, **VALIDATED_AT_THE_END}
    singly = replaced(**options, train_dir=str(tmp_path / "singly"))
    together = replaced(**options, train_dir=str(tmp_path / "together"), steps_per_call=4)
    weights = [saved_weights(train(config)) for config in (singly, together)]
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=1e-6)
    lines = [metrics(config.train_dir) for config in (singly, together)]
    assert [line["step"] for line in lines[1]] == [4, 8]
    assert [line["loss"] for line in lines[1]] == pytest.approx([line["loss"] for line in lines[0]])
    assert "--steps_per_call=4" in (tmp_path / "together" / "flags.txt").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "cache"), [("momentum", False), ("adam", True)])
def test_two_replicas_have_the_losses_of_one_device(replaced, tmp_path, optimizer, cache):
    options = {
        "optimizer": optimizer,
        "augment": False,
        "network_options": ["dropout_keep_prob=1"],
        "max_number_of_steps": 8,
        "learning_rate_decay_type": "fixed",
        **VALIDATED_AT_THE_END,
    }
    one = replaced(**options, train_dir=str(tmp_path / "one"))
    two = replaced(**options, train_dir=str(tmp_path / "two"), num_replicas=2, cache=cache)
    checkpoints = train(one), train(two)
    losses = [[line["loss"] for line in metrics(config.train_dir)] for config in (one, two)]
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    (validated,), (also,) = (metrics(config.train_dir, "validation") for config in (one, two))
    assert also["loss"] == pytest.approx(validated["loss"], rel=1e-4)
    assert (also["top_1"], also["num_examples"]) == (validated["top_1"], NUM_VALIDATION)
    weights = saved_weights(checkpoints[1])
    for name, value in saved_weights(checkpoints[0]).items():
        np.testing.assert_allclose(weights[name], value, atol=1e-5)


@pytest.mark.parametrize("has_validation", [True, False])
def test_the_command_that_comes_next_runs_as_it_is_printed(
    replaced, photos, tmp_path, capsys, has_validation
):
    if not has_validation:
        shutil.copytree(f"{photos}/train", tmp_path / "photos/train")
        replaced = functools.partial(replaced, dataset_dir=str(tmp_path / "photos"))
    train(replaced(dataset_split_name="train[:50%]", max_number_of_steps=1))
    printed = capsys.readouterr().out
    (command,) = (line for line in printed.splitlines() if "eval_image_classifier" in line)
    arguments = shlex.split(command.partition("eval_image_classifier")[2].removeprefix(".py"))
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    result = evaluate(EvaluationConfig(**flags, report=False))
    assert result.num_examples == (NUM_VALIDATION if has_validation else NUM_TRAIN // 2)
    assert ("no split but train[:50%]: others" in printed) != has_validation


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(run, replaced):
    config = replaced(max_number_of_steps=40, learning_rate=1e20)
    with pytest.raises(ValueError, match=r"not a number.*model\.ckpt-6.*lower --learning_rate"):
        train(config)
    assert tf.train.latest_checkpoint(run.train_dir).endswith("model.ckpt-6")
    assert all(np.isfinite(value).all() for value in saved_weights(run.train_dir).values())


def test_fine_tuning_restores_skips_the_head_and_says_so(
    trained, replaced, photos, tmp_path, capsys
):
    config = replaced(
        dataset_dir=photos_of_two_classes(photos, tmp_path / "two_classes"),
        checkpoint_path=str(trained),
        preprocessing_options=[],
        checkpoint_exclude_scopes=["tiny/conv1"],
        trainable_scopes=["tiny/fc3"],
        max_number_of_steps=1,
    )
    tuned = train(config)
    printed = capsys.readouterr().out
    assert f"Restored 2 variables from {trained}/model.ckpt-6" in printed
    assert "tiny/conv1/weights (excluded)" in printed
    assert "tiny/fc3/weights (for another number of classes: [1, 1, 16, 3] there" in printed
    before, after = saved_weights(trained), saved_weights(tuned)
    assert after["tiny/fc3/weights"].shape[-1] == 2
    for name in ("tiny/fc2/weights", "tiny/fc2/biases"):  # not trained, so as they came
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["tiny/conv1/weights"] != before["tiny/conv1/weights"]).any()
    # It is fed as the run that it starts from.
    said = " ".join(printed.split())
    assert "preprocessing cuda_convnet with the options of --checkpoint_path" in said
    assert ModelDescription.load(config.train_dir).preprocessing_options == {
        "image_side": 36,
        "respect_exif": True,
    }

    # Resuming wins over --checkpoint_path, and says it loudly.
    train(replaced(**{**vars(config), "max_number_of_steps": 2}))
    assert "is NOT used" in capsys.readouterr().out


@pytest.mark.slow
def test_moving_averages_are_validated_and_evaluated(replaced):
    config = replaced(moving_average_decay=0.3, max_number_of_steps=5, **VALIDATED_AT_THE_END)
    train(config)
    evaluated = evaluate(EvaluationConfig(checkpoint_path=config.train_dir))
    last_weights = evaluate(
        EvaluationConfig(checkpoint_path=config.train_dir, use_moving_average=False)
    )
    validated = metrics(config.train_dir, "validation")[-1]["loss"]
    assert validated == pytest.approx(evaluated.loss, rel=1e-5)
    assert validated != pytest.approx(last_weights.loss, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_keeps_float32_weights(replaced, precision):
    config = replaced(mixed_precision=precision, max_number_of_steps=30, **VALIDATED_AT_THE_END)
    checkpoint = train(config)
    losses = [line["loss"] for line in metrics(config.train_dir)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    (validated,) = metrics(config.train_dir, "validation")
    assert validated["loss"] < np.mean(losses[:5])
    assert {value.dtype for value in saved_weights(checkpoint).values()} == {np.dtype("float32")}


@pytest.mark.slow
def test_classes_below_the_offset_are_left_out_and_not_called_corrupt(replaced, capsys):
    config = replaced(labels_offset=1, max_number_of_steps=3, **VALIDATED_AT_THE_END)
    train(config)
    (validated,) = metrics(config.train_dir, "validation")
    assert (validated["num_examples"], validated["num_skipped"]) == (14, 7)
    printed = capsys.readouterr().out
    assert (
        "Images were left out 10 times: of a class that is unknown or below --labels_offset."
        in printed
    )
    assert "WARNING: --labels_offset=1 leaves out the images of blue, and" in printed


def test_corrupt_images_are_named_or_left_out_and_counted(replaced, photos, tmp_path, capsys):
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    (root / "train" / "green" / "4.jpg").write_bytes(b"not an image")
    # It comes after some steps, which are not lost.
    config = replaced(
        dataset_dir=str(root), batch_size=1, shuffle_buffer_size=1, max_number_of_steps=60
    )
    with pytest.raises(ValueError, match=r"cannot be decoded: .*green.4\.jpg"):
        train(config)
    assert tf.train.latest_checkpoint(config.train_dir)
    other = str(tmp_path / "other")
    train(replaced(dataset_dir=str(root), train_dir=other, skip_corrupt_images=True))
    assert "Images were left out 2 times: not decoded" in capsys.readouterr().out


@pytest.mark.slow
def test_unreadable_files_are_named_after_a_save_or_left_out_and_counted(
    replaced, photos, tmp_path, capsys, deleted_after_the_scan
):
    root = tmp_path / "damaged"
    shutil.copytree(photos, root)
    deleted_after_the_scan(root / "train" / "green" / "4.jpg")
    # It comes after some steps, which are not lost.
    config = replaced(
        dataset_dir=str(root), batch_size=1, shuffle_buffer_size=1, max_number_of_steps=60
    )
    with pytest.raises(ValueError, match=r"cannot be read: .*green.4\.jpg: No such file"):
        train(config)
    assert tf.train.latest_checkpoint(config.train_dir)
    other = str(tmp_path / "other")
    shutil.copy(f"{photos}/train/green/4.jpg", root / "train" / "green" / "4.jpg")
    train(replaced(dataset_dir=str(root), train_dir=other, skip_corrupt_images=True))
    assert "Images were left out 2 times: not read." in capsys.readouterr().out


def test_an_image_that_is_too_large_is_refused_and_the_flag_that_allows_it_named(replaced):
    with pytest.raises(ValueError, match=r"cannot be decoded: .*give --max_image_pixels=\d{4}\."):
        train(replaced(max_image_pixels=1000))
    with pytest.raises(ValueError, match="--max_image_pixels is -1"):
        replaced(max_image_pixels=-1)


@pytest.mark.slow
def test_a_factor_of_a_learning_rate_changes_at_its_epoch_also_in_a_run_that_goes_on(
    replaced, tmp_path
):
    """Six steps at once, and three and three, of which the second half is slower or frozen."""
    weights = []
    for name, stops in (("whole", [6]), ("halves", [3, 6])):
        for steps in stops:
            config = replaced(
                train_dir=str(tmp_path / name),
                max_number_of_steps=steps,
                learning_rate_decay_type="fixed",
                learning_rate_factors=["*/biases=2", "tiny/conv1/*@1=0.5", "*/fc2/*@1.5=0"],
            )
            train(config)
        weights.append(saved_weights(config.train_dir)["tiny/conv1/weights"])
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-7)


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
        ({"num_replicas": 7}, "there are 4 logical CPU devices"),
        ({"train_image_size": 16}, "32x32 or more"),
        ({"network_options": ["dropout_kep=0.5"]}, "Did you mean 'dropout_keep_prob'"),
        ({"network_options": ["dropout_keep_prob"]}, "name=value"),
        ({"network_options": ["dropout_keep_prob=0"]}, r"must be in \(0, 1\]"),
        ({"network_options": ["dropout_keep_prob=half"]}, "takes a value such as 0.5"),
        ({"network_options": ["dropout_keep_prob=true"]}, "takes a value such as 0.5"),
        ({"network_options": ["num_classes=5"]}, "Unknown option in --network_options"),
        ({"network_options": ["dropout_keep_prob=1.0"] * 2}, "dropout_keep_prob twice"),
        ({"preprocessing_options": ["is_training=True"]}, "Unknown option"),
        (
            {"preprocessing_name": "alexnet", "preprocessing_options": ["resize_side=20"]},
            "resize_side",
        ),
        ({"preprocessing_options": ["sigma=1"]}, "option"),
        ({"import_modules": ["no.such.module"]}, "cannot be imported"),
        ({"trainable_scopes": ["tiny/fc9"]}, "Unknown scope 'tiny/fc9'. Did you mean"),
        # They have none that could be multiplied.
        ({"weight_decay_factors": ["*/biases=2"]}, r"'\*/biases' matches no variable"),
        ({"checkpoint_path": "/nowhere"}, "does not exist"),
        ({"labels_offset": 3}, "only 3 classes"),
        (
            {
                "model_name": "cifarnet_18pct",
                "network_options": ["spatial_squeeze=False"],
            },
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


def test_statistics_that_do_not_fit_are_named_before_a_folder_is_made(replaced, tmp_path):
    sums = PixelSums(64)
    sums.add(np.ones([64, 64, 3], np.uint8), np.full([3, 3], 64 * 64))
    write_statistics(str(tmp_path), {"train": sums}, "train")
    config = replaced(dataset_statistics=str(tmp_path))
    with pytest.raises(ValueError, match=rf"{tmp_path}.*\[64, 64, 3\].*36x36.*=36"):
        train(config)
    assert not os.path.exists(config.train_dir)


def test_a_torn_checkpoint_is_named_and_the_advice_in_the_message_works(run, replaced, capsys):
    checkpoint = f"{run.train_dir}/model.ckpt-6"
    data = pathlib.Path(checkpoint + ".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:200])
    longer = replaced(max_number_of_steps=9)
    with pytest.raises(ValueError, match=r"model\.ckpt-6 cannot be read.*remove its files"):
        train(longer)
    assert pathlib.Path(checkpoint + ".index").exists()
    for path in pathlib.Path(run.train_dir).glob("model.ckpt-6.*"):
        path.unlink()
    train(longer)
    assert [line["step"] for line in metrics(run.train_dir)] == list(range(1, 10))
    # A run that goes on with other flags says so.
    printed = capsys.readouterr().out
    assert "Resuming from" in printed
    assert "now --validation_split_name=none --max_number_of_steps=9, before --max_num" in printed


@pytest.mark.parametrize(
    "values",
    [{"optimizer": "adam"}, {"mixed_precision": "float16"}, {"trainable_scopes": ["tiny/fc3"]}],
)
def test_a_checkpoint_of_other_settings_is_not_called_damaged(run, replaced, values):
    files = [pathlib.Path(run.train_dir, name) for name in ("model.json", "flags.txt")]
    before = [file.read_text() for file in files]
    with pytest.raises(ValueError, match="of a run with other settings"):
        train(replaced(max_number_of_steps=9, **values))
    assert [file.read_text() for file in files] == before


def test_a_checkpoint_of_other_classes_is_not_called_damaged(run, replaced, photos, tmp_path):
    pathlib.Path(run.train_dir, "model.json").unlink()
    fewer = photos_of_two_classes(photos, tmp_path / "fewer")
    with pytest.raises(ValueError, match="of a run with other settings"):
        train(replaced(dataset_dir=fewer, max_number_of_steps=9))


def test_a_finished_run_is_not_trained_again(run, capsys):
    before = saved_values(run.train_dir)
    assert train(run) == f"{run.train_dir}/model.ckpt-6"
    assert "nothing to do" in capsys.readouterr().out
    assert_equal_values(before, saved_values(run.train_dir))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network_options": ["dropout_keep_prob=0.9"]}, "network_options"),
        ({"preprocessing_options": ["image_side=40"]}, "preprocessing_options"),
    ],
)
def test_another_run_in_the_same_train_dir_is_refused(run, replaced, values, message):
    with pytest.raises(ValueError, match=rf"holds a run with {message} .*another --train_dir"):
        train(replaced(**values))


@pytest.mark.slow
def test_images_that_are_trained_and_validated_on_are_counted(replaced, capsys):
    options = {"max_number_of_steps": 1, "batch_size": 2}
    train(replaced(**options, dataset_split_name="train[:21]", validation_split_name="train[14:]"))
    printed = capsys.readouterr().out
    said = "WARNING: 7 of the 16 validation images are trained on as well, as train[:21] and train["
    assert said in printed
    assert "there is no image" not in printed


@pytest.mark.slow
def test_classes_without_an_image_are_said(replaced, tmp_path, capsys):
    for path in ("train/a/1", "train/b/1", "train/c/1", "train/d/1", "Val/b/1", "Val/c/1"):
        file = tmp_path / "four" / f"{path}.jpg"
        file.parent.mkdir(parents=True)
        file.write_bytes(encode_photo(0, 0))
    options = {"dataset_dir": str(tmp_path / "four"), "batch_size": 1, "max_number_of_steps": 1}
    config = replaced(**options, validation_split_name=None, labels_offset=1)
    train(config)
    printed = capsys.readouterr().out
    assert "WARNING: there is no image of 1 of the 3 classes in val: d." in printed
    assert "of the 3 classes in train" not in printed  # a is below the offset
    assert "are trained on as well" not in printed
    (validated,) = metrics(config.train_dir, "validation")
    assert validated["num_examples"] == 2


ODD_NAMES = [
    *(
        "a,b",
        'a"b',
        "it's",
        "50%",
        "%(s)s",
        "-x",
        "two\nlines",
        "tab\tx",
        "\x01c",
        "🐕",
        "[x]",
        "*",
    ),
    *("a\\b", "#h", "c:d", " lead", "trail ", "none", "{0}", "$HOME", "~", "=1+1", "L" * 250),
    *("caf\u00e9", "cafe\u0301s", "\u202eleft"),
]


@pytest.mark.slow
def test_classes_may_be_called_anything(replaced, tmp_path):
    """They go through JSON, CSV, flags and a SavedModel."""
    root = tmp_path / "a[1] * \\x,'#:%"
    for split in ("train", "val"):
        for name in ODD_NAMES:
            (root / split / name).mkdir(parents=True)
            (root / split / name / "[a]\n,*.jpg").write_bytes(encode_photo(0, 0))
    config = replaced(
        dataset_dir=str(root), batch_size=2, max_number_of_steps=1, **VALIDATED_AT_THE_END
    )
    train(config)
    folder = pathlib.Path(config.train_dir, "evaluation")
    result = evaluate(EvaluationConfig(checkpoint_path=config.train_dir))
    assert result.num_examples == len(ODD_NAMES)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = sorted(unicodedata.normalize("NFC", name) for name in ODD_NAMES)
    assert sorted(row["label"] for row in rows) == expected
    for row in rows:
        assert pathlib.Path(row["example"]).exists()
        there = unicodedata.normalize("NFC", pathlib.Path(row["example"]).parent.name)
        assert row["label"] == there
    exported = tf.saved_model.load(export(ExportConfig(checkpoint_path=config.train_dir)))
    assert [name.decode() for name in exported.class_names.numpy()] == expected


def test_names_that_are_not_utf8_are_refused_before_anything_is_made(replaced, photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "photos")
    os.rename(root / "train" / "red" / "3.jpg", os.fsencode(root) + b"/train/red/caf\xe9.jpg")
    config = replaced(dataset_dir=str(root))
    with pytest.raises(ValueError, match=r"1 name is not in UTF-8 in .*: train/red/caf\\xe9\.jpg"):
        train(config)
    assert not os.path.exists(config.train_dir)
