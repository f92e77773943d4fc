import json
import pathlib

import pytest
import tensorflow as tf
from tiny_network import metrics

from training.reporting import Reporter


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` is the time."""

    class Clock:
        now = 100.0

    monkeypatch.setattr("training.reporting.time.perf_counter", lambda: Clock.now)
    return Clock


def report(folder, first_step=0, **options):
    return Reporter(str(folder), first_step, 100, 10.0, batch_size=16, **options)


def test_a_line_says_how_fast_it_went_without_pauses_and_how_long_it_waited(clock, tmp_path):
    with report(tmp_path) as reporter:
        for step in range(1, 9):
            clock.now += 0.5
            reporter.step()
            reporter.waited(0.125)
            if step == 3:
                clock.now += 60  # a validation
                reporter.paused(60)
            if step % 4 == 0:
                reporter.train_metrics(step, 1.5, 0.25, 0.01)
    first, second = metrics(tmp_path)
    assert first == {
        **{"kind": "train", "step": 4, "epoch": 0.4, "loss": 1.5, "top_1": 0.25},
        **{"learning_rate": 0.01, "images_per_second": 4 * 16 / 2, "share_waiting_for_input": 0.25},
    }
    assert {**second, "step": 4, "epoch": 0.4} == first


@pytest.mark.parametrize(("waited", "is_said"), [(0.04, False), (0.2, True)])
def test_the_bar_says_that_it_waits_for_its_input_where_it_matters(
    clock, tmp_path, capsys, waited, is_said
):
    with report(tmp_path) as reporter:
        clock.now += 1
        reporter.step()
        reporter.waited(waited)
        reporter.train_metrics(1, 1.5, 0.25, 0.01)
    shown = capsys.readouterr().err
    assert "loss 1.500, top-1 25.0%" in shown
    assert "16 img/s" in shown
    assert ("waits for input 20%" in shown) == is_said


def test_a_validation_is_written_and_shown_with_what_follows(tmp_path, capsys):
    with report(tmp_path) as reporter:
        reporter.validation_metrics(10, {"top_1": 0.5, "loss": 2.0})
        reporter.say("step 10: better")
        reporter.train_metrics(11, 1.0, 0.3, 0.01)
    assert metrics(tmp_path, "validation") == [
        {"kind": "validation", "step": 10, "epoch": 1.0, "top_1": 0.5, "loss": 2.0}
    ]
    printed = capsys.readouterr()
    assert "step 10: better" in printed.out + printed.err
    assert "val 50.0%" in printed.err


def test_tensorboard_finds_the_same_numbers(tmp_path):
    with report(tmp_path) as reporter:
        reporter.train_metrics(4, 1.5, 0.25, 0.01)
        reporter.validation_metrics(10, {"top_1": 0.5})
    seen = {}
    for folder in (tmp_path, tmp_path / "validation"):
        (events,) = folder.glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(events)):
            for value in event.summary.value:
                seen[folder.name, event.step, value.tag] = value.simple_value
    assert seen[tmp_path.name, 4, "loss"] == 1.5
    assert seen["validation", 10, "top_1"] == 0.5


def test_lines_after_the_checkpoint_that_is_taken_up_are_dropped(tmp_path):
    path = pathlib.Path(tmp_path, "metrics.jsonl")
    lines = [json.dumps({"kind": "train", "step": step}) for step in (10, 20, 30)]
    path.write_text("\n".join([*lines, '{"kind": "tr']))  # torn
    with report(tmp_path, first_step=20):
        pass
    assert [line["step"] for line in metrics(tmp_path)] == [10, 20]


def test_of_several_hosts_one_writes(tmp_path, capsys):
    with report(tmp_path, silent=True) as reporter:
        reporter.step()
        reporter.train_metrics(1, 1.5, 0.25, 0.01)
        reporter.validation_metrics(1, {"top_1": 0.5})
        reporter.say("nothing")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")
