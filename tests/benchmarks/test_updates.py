import pytest


@pytest.mark.slow
def test_every_form_is_measured_and_compared(run_benchmark, check_figures):
    report, _ = run_benchmark(
        "updates.py",
        *("--shape=32,64", "--optimizer=adam", "--gradient=bfloat16"),
        *("--runs=2", "--seconds=0"),
    )
    measured = [row["contender"] for row in report["results"]]
    assert measured[:3] == ["slimzoo", "slimzoo, a loop for each result", "keras"]
    for row in report["results"]:
        check_figures(row, "weights_per_second", 2)
        milliseconds = 1000 * 32 * 64 / row["weights_per_second"]
        assert row["milliseconds"] == pytest.approx(milliseconds, rel=1e-3)
    assert [row["peer"] for row in report["ratios"]] == measured[1:]
