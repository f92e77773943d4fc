"""Figures that the paper prints twice agree, and the page has what the program prints."""

import pathlib

import pytest

from network_costs import LayerCost, NetworkCosts
from published_rates import ONE_WEIRD_TRICK

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "one_weird_trick.md"

# 10 numbers -> 8 by 200 weights; -> 6 by 50; -> 4 by 25.
COSTS = NetworkCosts(
    (
        LayerCost("conv1", 400, 200, 10, 8),
        LayerCost("fc2", 48, 50, 8, 6),
        LayerCost("fc3", 24, 25, 6, 4),
    )
)


def test_times_and_speedups_are_those_of_the_same_table():
    for row in ONE_WEIRD_TRICK:
        assert round(ONE_WEIRD_TRICK[0].hours / row.hours, 2) == row.speedup
        assert row.convolutions_batch_size == 128 * row.gpus
        assert row.fc_batch_size in (128, row.convolutions_batch_size)


def test_milliseconds_by_hand(benchmark_module):
    first, *_, row = benchmark_module("one_weird_trick_table").step_times(COSTS, "conv1")
    assert first["above_one_gpu"] == first["b_sends"] == first["mirrored_sends"] == 0
    # 1,024 images; 90 epochs of 1,281,167 took 15.91 hours.
    assert row["step"] == pytest.approx(15.91 * 3.6e6 * 1024 / (90 * 1_281_167))
    assert row["above_one_gpu"] == pytest.approx(row["step"] - first["step"])
    copies = 7 * 1024  # each image's numbers go to seven others
    activities, labels = copies * 2 * 8 * 4, copies * 12
    at_once = copies * (2 * 6 + 4) * 4 + 2 * 7 * 200 * 4
    assert row["b_sends"] == pytest.approx((activities + labels + at_once / 8) / 6e6)
    assert row["a_and_c_send"] == pytest.approx((activities + labels + at_once) / 8 / 6e6)
    assert row["mirrored_sends"] == pytest.approx(2 * 7 * 275 * 4 / 8 / 6e6)


def test_the_page_has_the_table(run_here):
    report, printed = run_here("one_weird_trick_table.py")
    lines = [line.split() for line in printed.splitlines() if "%" in line]
    page = [line.replace("|", " ").split() for line in PAGE.read_text().splitlines()]
    assert len(lines) == len(report["rows"]) == len(ONE_WEIRD_TRICK)
    assert all(line in page for line in lines)
