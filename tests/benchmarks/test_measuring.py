"""How contenders are timed, with contenders that do as they are told."""

import os
import pathlib

import pytest

from contenders import Contender, Run, RunningContender
from measuring import Case, Measurement, measure, paired_ratio
from workloads import LeftOutError, Repetition, Stream


def measured(name, rates):
    runs = tuple(Run(rate, 1.0, 100.0, None) for rate in rates)
    return Measurement(Contender(name, "m:f"), {"parameters": 3}, runs)


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_all_that_was_measured():
    # The machine halved its speed after the first round; the ratio did not change.
    assert paired_ratio([20.0, 10.0, 10.0], [10.0, 5.0, 5.0]) == {
        "ratio": 2.0,
        "smallest": 2.0,
        "largest": 2.0,
    }
    assert paired_ratio([1.0, 3.0, 8.0], [1.0, 1.0, 1.0]) == {
        "ratio": 3.0,
        "smallest": 1.0,
        "largest": 8.0,
    }


def test_figures_are_median_extremes_and_spread():
    figures = measured("a", [10.0, 40.0, 20.0]).figures("images_per_second")
    assert figures == {
        "images_per_second": 20.0,
        "slowest": 10.0,
        "fastest": 40.0,
        "spread": 4.0,
        "rounds": [10.0, 40.0, 20.0],
        "peak_memory_mib": 100.0,
        "parameters": 3,
    }


def test_the_best_mode_is_the_one_with_the_highest_median():
    # One lucky round makes no best.
    case = Case({"a": measured("a", [1.0, 1.0, 9.0]), "b": measured("b", [2.0, 2.0, 2.0])}, ())
    assert case.fastest(["a", "b", "not measured"]).contender.name == "b"
    assert case.fastest([]) is None


def test_contenders_run_in_processes_of_their_own_and_those_that_cannot_are_left_out(monkeypatch):
    here = pathlib.Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ['PYTHONPATH']}")
    case = measure(
        [
            Contender("large", "told_contenders:holding", {"mebibytes": 200}),
            Contender("small", "told_contenders:holding", {"mebibytes": 1}),
            Contender("broken", "told_contenders:holding", {"no_such": "argument"}),
            Contender("exits", "posix:_exit", {"status": 3}),
            Contender("gives up", "told_contenders:giving_up", {"after": 1}),
            Contender("dies", "told_contenders:dying", {"seconds": 0.0}),
        ],
        runs=3,
        least_seconds=0.01,
    )
    assert list(case.measurements) == ["large", "small"]
    assert [len(one.rates) for one in case.measurements.values()] == [3, 3]
    assert case.measurements["small"].facts == {"mebibytes": 1}
    # A peak of memory has one owner.
    large, small = (one.runs[-1].peak_memory_mib for one in case.measurements.values())
    assert 190 < large - small < 210
    reasons = {one.contender.name: one.reason for one in case.left_out}
    assert "TypeError" in reasons["broken"]
    assert "status 3" in reasons["exits"]
    assert "status 3" in reasons["dies"]
    assert reasons["gives up"] == "RuntimeError: It has done enough."


def test_a_repetition_lasts_as_long_as_it_was_told_and_counts_its_calls():
    calls = []
    repetition = Repetition(lambda: calls.append(1), amount=5)
    amount, seconds = repetition.run(0.01)
    assert amount == 5 * len(calls)
    assert seconds >= 0.01
    assert repetition.run(0.0)[0] == 5  # never less than once


def test_a_stream_is_opened_for_each_run_and_its_first_elements_do_not_count():
    opened, consumed = [], []

    def open_stream():
        opened.append(1)
        return iter(range(100))

    stream = Stream(open_stream, consumed.append, amount=2, warm_up_elements=3)
    assert stream.run(0.0)[0] == 2
    assert stream.run(0.0)[0] == 2
    assert len(opened) == 2
    assert consumed == [0, 1, 2, 3] * 2


def test_a_contender_says_why_it_cannot_run():
    with pytest.raises(LeftOutError, match="No module named 'no_such_module'"):
        RunningContender(Contender("absent", "no_such_module:function"))
