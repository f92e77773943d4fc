"""What a run says at its beginning; the runs are those of the training command."""

import dataclasses
import re
import shutil

import pytest
import tensorflow as tf

from slimzoo import run_messages
from slimzoo.commands.train_image_classifier import train
from training.evaluation import EvaluationResult


def lines_of(capsys):
    """What was printed beside the bar, which no terminal makes narrow here."""
    printed = capsys.readouterr().out
    return [part for line in printed.splitlines() for part in re.split(r"\r", line) if part]


def test_a_run_says_its_images_and_validates_in_lines_of_80_columns(
    replaced, photos, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    config = replaced(
        validation_split_name=None,
        train_dir="runs/a",
        model_name="cifarnet_18pct",
        preprocessing_options=[],
        max_number_of_steps=3,
    )
    train(config)
    lines = lines_of(capsys)
    assert "folder: 30 images of 3 classes in train; validated on 21 in validation" in lines
    assert "with --learning_rate=0.05 --weight_decay=0.004" in lines
    (validation,) = [line for line in lines if ": validation top-1" in line]
    assert validation.startswith("step 3, epoch 1.0: validation top-1 ")
    commands = [line for line in lines if "_image_classifier" in line or "saved_model" in line]
    assert max(len(line) for line in lines if line not in commands) < 80


@pytest.mark.slow
def test_a_finished_run_says_what_trains_it_further(run, capsys):
    train(dataclasses.replace(run, learning_rate_decay_type="polynomial", learning_rate=0.02))
    said = " ".join("".join(capsys.readouterr()).split())
    assert "This run has taken 6 of 6 steps; nothing to do. To train it further, give" in said
    # Along a line to 0, half of which is then behind it.
    assert "with --max_number_of_steps=12 the learning rate goes on at 0.01; a" in said
    assert "a --learning_rate above or below 0.02 raises or lowers that." in said

    further = dataclasses.replace(run, max_number_of_steps=None, num_epochs=2)
    train(further)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "which are 2 of 2 epochs in whole batches; nothing to do." in said
    assert "with --num_epochs=4 the learning rate" in said
    assert train(dataclasses.replace(further, num_epochs=4)).endswith("model.ckpt-12")


@pytest.mark.parametrize(("free", "is_said"), [(10_000, True), (10**9, False)])
def test_a_disk_too_small_for_the_checkpoints_is_named(
    config, tmp_path, monkeypatch, capsys, free, is_said
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    train(dataclasses.replace(config, max_number_of_steps=1))
    printed = "".join(capsys.readouterr())
    said = re.search(r"WARNING: 0\.0 MB are free in .*, and its checkpoints need up to", printed)
    assert bool(said) == is_said
    assert ("give a smaller --keep_checkpoints" in printed) == is_said


@pytest.mark.parametrize(
    ("batch_size", "num_examples", "num_replicas", "said"),
    [
        (128, 31, 1, "0.24 updates of the weights. --batch_size=7 makes them 4.4."),
        (128, 31, 2, "0.24 updates of the weights. --batch_size=6 makes them 5.2."),
        (32, 31, 1, "0.97 updates of the weights. --batch_size=7 makes them 4.4."),
        (3, 2, 1, "0.67 updates of the weights. --batch_size=1 makes them 2."),
        (31, 31, 1, ""),
        (4, 3, 4, ""),  # no smaller one can be shared
    ],
)
def test_a_batch_larger_than_the_dataset_hears_of_a_smaller_one(
    batch_size, num_examples, num_replicas, said
):
    note = " ".join(run_messages.large_batch(batch_size, num_examples, num_replicas).split())
    assert note.endswith(said)
    assert bool(note) == bool(said)
    smaller = int(note.rpartition("--batch_size=")[2].split()[0]) if note else num_replicas
    assert smaller % num_replicas == 0


def test_a_run_says_that_its_batch_is_larger_than_the_dataset_and_its_number_type_slow(
    replaced, capsys
):
    config = {"max_number_of_steps": 1, "dataset_split_name": "train[:5]", "batch_size": 6}
    train(replaced(**config, mixed_precision="float16"))
    said = " ".join("".join(capsys.readouterr()).split())
    assert "NOTE: a batch of 6 images is larger than the dataset, of 5: an epoch is 0.83" in said
    slow = "on a CPU float16 trains several times more slowly than float32"
    assert (slow in said) == (not tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize(
    ("mixed_precision", "gpus", "is_said"),
    [("float16", [], True), ("float16", ["GPU:0"], False), ("bfloat16", [], False)],
)
def test_only_where_there_is_no_gpu_float16_is_said_to_be_slow(
    monkeypatch, mixed_precision, gpus, is_said
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert bool(run_messages.slow_number_type(mixed_precision)) == is_said


@pytest.mark.parametrize(
    ("num_examples", "majority", "top_1", "is_said"),
    [
        (100, 0.5, 0.5, True),
        (100, 0.5, 0.54, True),  # as chance gives
        (100, 0.5, 0.56, False),
        (10_000, 0.5, 0.51, False),
        (4, 0.5, 1.0, False),
        (9, 1.0, 1.0, False),  # there is nothing to tell apart
    ],
)
def test_a_run_that_learned_nothing_hears_what_to_try(num_examples, majority, top_1, is_said):
    result = EvaluationResult(num_examples, 0, 1.0, top_1, 1.0, k=2, majority=majority)
    said = run_messages.nothing_learned(result, top_1, has_trained_weights=False)
    assert bool(said) == is_said
    if is_said:
        assert f"{majority:.2%} of who always names the most frequent class" in " ".join(
            said.split()
        )


def said_of(num_examples, majority, top_1, has_trained_weights=False):
    result = EvaluationResult(num_examples, 0, 1.0, top_1, 1.0, k=2, majority=majority)
    said = run_messages.nothing_learned(result, top_1, has_trained_weights)
    assert all(len(line) < 80 for line in said.splitlines())
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("top_1", "comparison"), [(0.52, "hardly more than"), (0.5, "just"), (0.1, "less than")]
)
def test_what_is_less_than_guessing_is_not_called_more(top_1, comparison):
    assert said_of(100, 0.5, top_1).startswith(f"NOTE: {top_1:.2%} is {comparison} the 50.00% of")


@pytest.mark.parametrize(
    ("num_examples", "majority", "top_1", "how_far"),
    [(5, 0.6, 0.4, "1 image apart"), (5, 0.6, 0.6, "the same"), (10, 0.5, 0.3, "2 images apart")],
)
def test_few_validation_images_tell_nothing(num_examples, majority, top_1, how_far):
    said = said_of(num_examples, majority, top_1)
    assert said.startswith(f"NOTE: {num_examples} validation images are too few to tell whether")
    assert f"its {top_1:.2%} and the {majority:.2%} of who" in said
    assert f" are {how_far}." in said
    assert "tells no class from another" not in said


def test_few_validation_images_tell_what_is_far_from_guessing():
    assert said_of(5, 0.8, 0.2).startswith("NOTE: 20.00% is less than the 80.00% of who")
    assert said_of(5, 0.4, 1.0) == ""


def test_what_a_run_has_done_already_is_no_advice():
    assert "or begin with trained weights (--checkpoint_path)." in said_of(100, 0.5, 0.5)
    said = said_of(100, 0.5, 0.5, has_trained_weights=True)
    assert "--checkpoint_path" not in said
    assert said.endswith("(--num_epochs, or a smaller --batch_size) or another --learning_rate.")
