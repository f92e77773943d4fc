import importlib.util
import json

import pytest

TINY = ("--runs=2", "--steps=1", "--seconds=0", "--peers=")


@pytest.mark.slow
def test_rates_stand_beside_ceilings_of_the_same_run(run_benchmark, check_figures, tmp_path):
    output = tmp_path / "report.json"
    report, table = run_benchmark(
        "train_throughput.py",
        "--models=cifarnet_18pct",
        "--precisions=float32,bfloat16",
        "--batch_size=4",
        f"--output={output}",
        *TINY,
    )
    assert json.loads(output.read_text()) == report
    assert report["benchmark"] == "train_throughput"
    assert report["machine"]["cores"] >= 1
    assert {"processor", "memory_gib", "cpu_features", "gpus"} <= report["machine"].keys()
    assert report["versions"]["tensorflow"].startswith("2.")
    assert [row["precision"] for row in report["results"]] == ["float32", "bfloat16"]
    for row in report["results"]:
        check_figures(row, "images_per_second", 2)
        # A step needs about as many operations as were counted, so it cannot beat the ceiling.
        assert 0 < row["share_of_matrix_product"] < 1.5
    for row in report["ceilings"]:
        assert row["matrix_product_gflops"] > 1
        assert row["memory_copy_gb_per_second"] > 0.5
    assert report["ratios"] == []
    assert "images/s" in table


def test_a_peer_that_does_not_exist_is_refused_with_those_that_do(run_benchmark):
    with pytest.raises(AssertionError, match="pytorch, tf_slim, keras"):
        run_benchmark("train_throughput.py", "--peers=caffe")


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(run_benchmark):
    with pytest.raises(AssertionError, match=r"--output is nowhere/x\.json.*Nothing was measured"):
        run_benchmark("train_throughput.py", "--output=nowhere/x.json")


def test_an_unknown_network_is_an_error(run_benchmark):
    with pytest.raises(AssertionError, match=r"ERROR: slimzoo cannot be measured.*alexnet_v9"):
        run_benchmark("train_throughput.py", "--models=alexnet_v9", "--peers=", "--runs=1")
    with pytest.raises(AssertionError, match="ERROR: Unknown network 'alexnet_v9'"):
        run_benchmark("gpu_ceiling.py", "--model=alexnet_v9")


def test_a_gpu_without_bfloat16_is_not_given_figures_for_it(run_benchmark):
    with pytest.raises(AssertionError, match="no bfloat16: give --precision=float16"):
        run_benchmark("gpu_ceiling.py", "--gpu=t4", "--model=cifarnet_18pct")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_throughput.py", "inference_throughput.py"])
def test_peers_are_measured_in_the_same_rounds_and_have_as_many_parameters(
    run_benchmark, check_figures, script
):
    peers = {"keras": "keras own_loop"}
    if importlib.util.find_spec("torch"):
        peers["pytorch:eager"] = "pytorch eager"
    if importlib.util.find_spec("tf_slim"):
        peers["tf_slim"] = "tf_slim graph"
    report, _ = run_benchmark(
        script, "--models=alexnet_v2", "--batch_size=2", *TINY[:-1], f"--peers={','.join(peers)}"
    )
    assert {row["contender"] for row in report["results"]} == {"slimzoo", *peers.values()}
    assert {row["parameters"] for row in report["results"]} == {50_303_912}
    for row in report["results"]:
        check_figures(row, "images_per_second", 2)
    assert len(report["ratios"]) == len(peers)
    for row in report["ratios"]:
        assert 0 < row["smallest"] <= row["ratio"] <= row["largest"]


@pytest.mark.slow
def test_batch_sizes_are_written_and_drawn_with_the_ceiling(run_benchmark, tmp_path):
    pytest.importorskip("matplotlib")
    plot, figures = tmp_path / "plot.png", tmp_path / "figures.csv"
    report, _ = run_benchmark(
        "batch_sizes.py",
        *("--models=cifarnet_18pct", "--batch_sizes=1,2", f"--plot={plot}", f"--csv={figures}"),
        *("--runs=1", "--steps=1", "--seconds=0"),
    )
    assert [row["batch_size"] for row in report["results"]] == [1, 2]
    for row in report["results"]:
        assert 0 < row["ceiling_with_weights_moved"] < row["ceiling"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert len(figures.read_text().splitlines()) == 3


@pytest.mark.slow
def test_response_normalisation_is_measured_and_set_against_the_step(run_benchmark, check_figures):
    report, _ = run_benchmark(
        "lrn.py",
        *(
            "--precisions=float32",
            "--batch_size=1",
            "--runs=1",
            "--seconds=0",
            "--peers=tensorflow",
        ),
    )
    ours = [row for row in report["results"] if row["contender"] == "slimzoo"]
    assert [row["shape"] for row in ours] == [[1, 55, 55, 96], [1, 27, 27, 256]]
    for row in report["results"]:
        check_figures(row, "passes_per_second", 1)
        assert row["milliseconds"] == pytest.approx(1000 / row["passes_per_second"])
    assert [row["peer"] for row in report["ratios"]] == ["tensorflow"] * 2
    [share] = report["shares_of_step"]
    assert 0 < share["ratio"] < 1
