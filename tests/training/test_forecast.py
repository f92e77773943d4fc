import dataclasses

import pytest

from training.forecast import Forecast, RunPlan, duration, size

# 212 photos in batches of 32, for 90 epochs.
PLAN = RunPlan(
    train_dir="runs/alexnet_v2-photos",
    first_step=0,
    num_steps=596,
    batch_size=32,
    steps_per_epoch=212 / 32,
    num_validations=90,
    num_validation_images=53,
    num_bytes=4 * 403_000_000,
)


def said(plan, step_seconds, num_steps=100, first_seconds=30.0):
    """What a forecast says, and after how many steps, whose first builds graphs."""
    forecast, now = Forecast(plan), 1000.0
    told = []
    for number in range(1, num_steps + 1):
        now += step_seconds if number > 1 else first_seconds
        if text := forecast.step(now):
            told.append((number, text))
    return told


def test_it_says_once_how_long_it_takes_and_what_it_writes_and_how_to_shorten_it():
    ((number, text),) = said(PLAN, step_seconds=4.0)
    assert number == 5  # two are not timed
    assert " ".join(text.split()) == (
        # 591 steps of 4 s, and 90 * 53 images of 1/8 s, of which validation takes half.
        "About 44 minutes to go: 89.2 epochs at 8 images/s, with validations; 1.6 GB of "
        "checkpoints in runs/alexnet_v2-photos. --num_epochs=10 takes about 5 minutes. Ctrl-C "
        "saves, and the same command goes on."
    )
    assert max(map(len, text.splitlines())) < 80


def test_of_fast_steps_more_are_timed():
    ((number, text),) = said(dataclasses.replace(PLAN, num_steps=60_000), step_seconds=0.125)
    assert number == 26  # 24 take three seconds
    assert "at 256 images/s" in text


def test_a_short_run_says_nothing():
    assert not said(dataclasses.replace(PLAN, num_steps=100), step_seconds=1.0)


def test_time_without_steps_does_not_count():
    forecast = Forecast(PLAN)
    for now in (0.0, 4.0, 8.0, 112.0, 116.0):
        if now == 112.0:
            forecast.paused(100.0)
        text = forecast.step(now)
    assert "at 8 images/s" in text


def test_a_run_that_goes_on_is_not_told_to_be_shorter():
    ((_, text),) = said(dataclasses.replace(PLAN, first_step=100), step_seconds=4.0)
    assert "num_epochs" not in text
    assert "About 38 minutes to go" in text


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"ends_by_steps": True}, "--max_number_of_steps=66 takes about 5 minutes"),
        ({"num_steps": 33, "num_validations": 5}, "--num_epochs=1 takes about 8 minutes"),
        ({"num_steps": 6}, None),  # of one
    ],
)
def test_how_to_shorten_it_goes_by_what_says_how_long_it_is(changes, given):
    step_seconds = 4.0 if "ends_by_steps" in changes else 60.0
    ((_, text),) = said(dataclasses.replace(PLAN, **changes), step_seconds)
    shorter = [part for part in " ".join(text.split()).split(". ") if "--" in part]
    assert (given in shorter[0]) if given else not shorter


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((1, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (840, "14 minutes")),
        *((5399, "90 minutes"), (7560, "2.1 hours"), (90_000, "25 hours")),
        *((172_800, "2.0 days"), (2_000_000, "23 days")),
    ],
)
def test_times_are_in_the_unit_that_people_use(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(716_624, "0.7 MB"), (9_960_000, "10 MB"), (371e6, "371 MB"), (999.7e6, "1.0 GB")],
)
def test_sizes_are_in_the_unit_that_people_use(num_bytes, text):
    assert size(num_bytes) == text


def test_at_the_last_step_there_is_nothing_to_forecast():
    last = dataclasses.replace(PLAN, num_steps=3, num_validation_images=10_000, ends_by_steps=True)
    assert not said(last, step_seconds=12.0, num_steps=3)
