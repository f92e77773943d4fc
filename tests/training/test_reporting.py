import json
import pathlib

import pytest
import tensorflow as tf
from tiny_network import metrics

from training.forecast import Forecast, RunPlan
from training.reporting import Reporter


@pytest.fixture
def clock(monkeypatch):
    """`clock.now` is the time."""

    class Clock:
        now = 100.0

    monkeypatch.setattr("training.reporting.time.perf_counter", lambda: Clock.now)
    return Clock


def report(folder, first_step=0, **options):
    return Reporter(str(folder), first_step, 100, batch_size=16, **options)


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
                reporter.train_metrics(step, step / 10, 1.5, 0.25, 0.01)
    first, second = metrics(tmp_path)
    assert first == {
        **{"kind": "train", "step": 4, "epoch": 0.4, "loss": 1.5, "top_1": 0.25},
        **{"learning_rate": 0.01, "images_per_second": 4 * 16 / 2, "share_waiting_for_input": 0.25},
    }
    assert {**second, "step": 4, "epoch": 0.4} == first


@pytest.mark.parametrize(
    ("pause", "validates", "is_said"), [(6, True, True), (1, True, False), (6, False, False)]
)
def test_pauses_that_take_most_of_the_time_are_said_once(
    clock, tmp_path, capsys, pause, validates, is_said
):
    with report(tmp_path) as reporter:
        for step in range(1, 6):
            clock.now += 2
            reporter.step()
            clock.now += pause
            if validates:
                reporter.validation_metrics(step, step / 10, {"top_1": 0.5, "loss": 1.0})
            reporter.paused(pause)
    said = capsys.readouterr().out
    note = "NOTE: 75% of the time so far went into validating and saving. A larger"
    assert said.count(note) == said.count("NOTE") == is_said
    assert ("--validation_interval_epochs" in said) == is_said


@pytest.mark.parametrize(("waited", "is_said"), [(0.04, False), (0.2, True)])
def test_the_bar_says_that_it_waits_for_its_input_where_it_matters(
    clock, tmp_path, capsys, waited, is_said
):
    with report(tmp_path) as reporter:
        clock.now += 1
        reporter.step()
        reporter.waited(waited)
        reporter.train_metrics(1, 0.1, 1.5, 0.25, 0.01)
    shown = capsys.readouterr().err
    assert "loss 1.500, top-1 25.0%" in shown
    assert "16 img/s" in shown
    assert ("waits for input 20%" in shown) == is_said


def test_a_validation_is_written_and_shown_with_what_follows(tmp_path, capsys):
    with report(tmp_path) as reporter:
        reporter.validation_metrics(10, 1.0, {"top_1": 0.5, "loss": 2.0})
        reporter.say("step 10: better")
        reporter.train_metrics(11, 1.1, 1.0, 0.3, 0.01)
    assert metrics(tmp_path, "validation") == [
        {"kind": "validation", "step": 10, "epoch": 1.0, "top_1": 0.5, "loss": 2.0}
    ]
    printed = capsys.readouterr()
    assert "step 10: better" in printed.out + printed.err
    assert "val 50.0%" in printed.err


def test_the_bar_below_a_validation_shows_that_validation(tmp_path, capsys):
    with report(tmp_path) as reporter:
        for step, top_1 in ((10, 0.5), (20, 0.625)):
            reporter.train_metrics(step, step / 10, 1.0, 0.3, 0.01)
            reporter.validation_metrics(step, step / 10, {"top_1": top_1, "loss": 2.0})
            capsys.readouterr()
            reporter.say(f"step {step}")
            printed = capsys.readouterr()
            assert f"top-1 30.0%, val {top_1:.1%}" in printed.err


def test_what_is_forecast_is_said_between_steps(clock, tmp_path, capsys):
    plan = {"first_step": 0, "num_steps": 100, "batch_size": 16, "train_dir": str(tmp_path)}
    validation = {"num_validations": 0, "num_validation_images": 0}
    forecast = Forecast(RunPlan(**plan, **validation, steps_per_epoch=10, num_bytes=10**6))
    with report(tmp_path, forecast=forecast) as reporter:
        for _ in range(4):
            clock.now += 60  # a validation
            reporter.paused(60)
            clock.now += 5
            reporter.step()
    assert "About 8 minutes to go: 9.6 epochs at 3.2 images/s;" in "".join(capsys.readouterr())


def test_tensorboard_finds_the_same_numbers(tmp_path):
    with report(tmp_path) as reporter:
        reporter.train_metrics(4, 0.4, 1.5, 0.25, 0.01)
        reporter.validation_metrics(10, 1.0, {"top_1": 0.5})
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
        reporter.train_metrics(1, 0.1, 1.5, 0.25, 0.01)
        reporter.validation_metrics(1, 0.1, {"top_1": 0.5})
        reporter.say("nothing")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")


def test_points_of_tensorboard_after_the_checkpoint_are_dropped(tmp_path):
    """TensorBoard forgets what comes at or after the step of a new session."""
    with report(tmp_path) as reporter:
        reporter.train_metrics(30, 3.0, 1.5, 0.25, 0.01)
    for path in tmp_path.glob("events.*"):
        path.unlink()
    with report(tmp_path, first_step=20) as reporter:
        reporter.train_metrics(21, 2.1, 1.5, 0.25, 0.01)
    for folder in (tmp_path, tmp_path / "validation"):
        (path,) = sorted(folder.glob("events.*"))[-1:]
        _, start, *_ = tf.compat.v1.train.summary_iterator(str(path))
        assert start.session_log.status == tf.compat.v1.SessionLog.START
        assert start.step == 21


def test_a_run_that_goes_back_forgets_what_it_reported_since(tmp_path, capsys):
    with report(tmp_path) as reporter:
        for step in (10, 20, 30):
            reporter.train_metrics(step, step / 10, 1.5, 0.25, 0.01)
        reporter.go_back(20)
        reporter.train_metrics(30, 3.0, 1.4, 0.25, 0.01)
    assert [(line["step"], line["loss"]) for line in metrics(tmp_path)] == [
        *((10, 1.5), (20, 1.5), (30, 1.4))
    ]
    assert " 20/100, " in capsys.readouterr().err


LINE = b'{"kind": "train", "step": 10}\n'


@pytest.mark.parametrize(
    "damage",
    [
        *(b"\xff\xfe", b"[1]", b"3", b"null", b'"step"', b"{}"),
        *(b'{"step": "a"}', b'{"step": null}', b"\0" * 9, b"[" * 100_000),
    ],
    ids=lambda damage: repr(damage[:12]),
)
def test_a_log_that_is_damaged_stops_no_run(tmp_path, capsys, damage):
    path = tmp_path / "metrics.jsonl"
    content = LINE + damage + b"\n" + LINE
    path.write_bytes(content)
    with report(tmp_path, first_step=20) as reporter:
        reporter.train_metrics(21, 2.1, 1.5, 0.25, 0.01)
    assert [line["step"] for line in metrics(tmp_path)] == [10, 10, 21]
    assert path.with_name("metrics.jsonl.damaged").read_bytes() == content
    assert "WARNING: 1 lines of" in "".join(capsys.readouterr())


def test_a_log_that_cannot_be_written_stops_no_run(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").mkdir()
    with report(tmp_path, first_step=20) as reporter:
        for step in (21, 22):
            reporter.train_metrics(step, step / 10, 1.5, 0.25, 0.01)
    printed = "".join(capsys.readouterr())
    assert printed.count("metrics.jsonl cannot be written: Is a directory. The run goes on") == 1
