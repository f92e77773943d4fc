import pathlib

import pytest
import tensorflow as tf

import photos
from contenders import Contender, RunningContender


@pytest.mark.slow
def test_every_stage_is_measured_and_the_end_is_set_against_their_sum(run_here, check_figures):
    report, table = run_here(
        "input_throughput.py",
        *("--model_name=cifarnet_18pct", "--batch_size=2", "--num_photos=8"),
        *("--runs=1", "--seconds=0"),
    )
    stages = [row["stage"] for row in report["results"]]
    assert stages == [
        *("reading", "+ decoding whole images"),
        *("decoding a window alone", "decoding a window and resizing it"),
        *("+ host half", "+ to the device"),
        *("step alone", "end to end", "cropping arrays in memory, one core"),
    ]
    assert report["images"] == "8 synthetic JPEGs of 500x375"
    assert report["left_out"] == []
    for row in report["results"]:
        check_figures(row, "images_per_second", 1)
    rates = {row["stage"]: row["images_per_second"] for row in report["results"]}
    ratio = report["ratios"][0]
    assert ratio["name"] == "end to end / harmonic sum of step and decoding whole images"
    assert ratio["ratio"] == pytest.approx(
        rates["end to end"] * (1 / rates["step alone"] + 1 / rates["+ decoding whole images"])
    )
    added = report["milliseconds_per_image"]
    assert set(added) == {*stages[:2], *stages[4:7]}
    assert f"Most of it: {max(added, key=added.get)}." in table


@pytest.mark.slow
def test_a_stage_can_be_built_in_a_process_that_has_imported_nothing():
    running = RunningContender(Contender("arrays", "input_stages:cropping_arrays"))
    try:
        assert running.run(0.0).amount == 512
    finally:
        running.close()


def test_input_only_leaves_out_the_step(benchmark_module):
    contenders = benchmark_module("input_throughput").contenders
    names = {
        input_only: {one.name for one in contenders({"precision": "float32"}, input_only)}
        for input_only in (False, True)
    }
    assert names[False] - names[True] == {"step alone", "end to end"}


def test_what_a_stage_adds_is_the_difference_of_times(benchmark_module):
    rates = {
        "reading": 10_000.0,
        "+ decoding whole images": 1_000.0,
        "+ host half": 500.0,
        "+ to the device": 400.0,
        "step alone": 100.0,
    }
    added = benchmark_module("input_throughput").where_the_time_goes(rates)
    assert list(added) == list(rates)
    assert list(added.values()) == pytest.approx([0.1, 0.9, 1.0, 0.5, 10.0])


def test_the_harmonic_sum_of_equal_rates_is_half_of_one(benchmark_module):
    assert benchmark_module("input_throughput").harmonic_sum(50.0, 50.0) == 25.0


def test_synthetic_photos_are_as_large_as_real_ones_and_always_the_same(tmp_path, photos_folder):
    photos.write_photos(str(tmp_path), 4)
    files = sorted(pathlib.Path(tmp_path).rglob("*.jpg"))
    assert len({file.parent for file in files}) == 4
    for file in files:
        content = file.read_bytes()
        assert tf.io.decode_jpeg(content).shape == (375, 500, 3)
        assert 80_000 < len(content) < 140_000
        assert content == pathlib.Path(photos_folder, file.relative_to(tmp_path)).read_bytes()
