import importlib.util
import json

import pytest

import peers

TINY = ("--models=cifarnet_18pct", "--batch_size=2", "--runs=1", "--steps=1", "--seconds=0")


@pytest.mark.slow
def test_rates_stand_beside_ceilings_of_the_same_run(run_benchmark, check_figures, tmp_path):
    """The one quick test in which a script and all its contenders have processes of their own."""
    output = tmp_path / "report.json"
    report, table = run_benchmark(
        "train_throughput.py", *TINY, "--runs=2", "--peers=", f"--output={output}"
    )
    assert json.loads(output.read_text()) == report
    assert report["benchmark"] == "train_throughput"
    assert report["command"].endswith(f"--output={output}")
    assert report["machine"]["cores"] >= 1
    assert {"processor", "memory_gib", "cpu_features", "gpus"} <= report["machine"].keys()
    assert report["versions"]["tensorflow"].startswith("2.")
    [row] = report["results"]
    check_figures(row, "images_per_second", 2)
    # A step needs about as many operations as were counted, so it cannot beat the ceiling.
    assert 0 < row["share_of_matrix_product"] < 1.5
    [row] = report["ceilings"]
    assert row["matrix_product_gflops"] > 1
    assert row["memory_copy_gb_per_second"] > 0.5
    assert report["ratios"] == []
    assert report["left_out"] == []
    assert "images/s" in table


@pytest.mark.parametrize(
    ("script", "second"),
    [("train_throughput.py", "bfloat16"), ("inference_throughput.py", "bfloat16_weights")],
)
def test_every_precision_is_measured_and_peers_without_the_network_are_left_out(
    run_here, check_figures, script, second
):
    report, table = run_here(script, *TINY, f"--precisions=float32,{second}")
    for rows in (report["results"], report["ceilings"]):
        assert [row["precision"] for row in rows] == ["float32", second]
    for row in report["results"]:
        check_figures(row, "images_per_second", 1)
        assert row["parameters"] == 89_578  # those of the README: ten classes
    reasons = {row["reason"] for row in report["left_out"]}
    assert reasons == {
        "it has no cifarnet_18pct here"
        if importlib.util.find_spec(peer.package)
        else f"{peer.package} is not installed"
        for peer in peers.PEERS.values()
    }
    assert "left out: cifarnet_18pct float32 keras own_loop: it has no" in table


def test_batch_sizes_are_written_and_drawn_with_the_ceiling(run_here, tmp_path):
    plot, figures = tmp_path / "plot.png", tmp_path / "figures.csv"
    report, table = run_here(
        "batch_sizes.py",
        *("--models=cifarnet_18pct", "--batch_sizes=1,2", f"--plot={plot}", f"--csv={figures}"),
        *("--runs=1", "--steps=1", "--seconds=0"),
    )
    assert [row["batch_size"] for row in report["results"]] == [1, 2]
    for row in report["results"]:
        assert 0 < row["ceiling_with_weights_moved"] < row["ceiling"]
    assert len(figures.read_text().splitlines()) == 3
    if importlib.util.find_spec("matplotlib"):
        assert plot.read_bytes().startswith(b"\x89PNG")
    else:
        assert "No plot: matplotlib is not installed" in table
        assert not plot.exists()


LAYERS = ("--precisions=float32", "--batch_size=1", "--runs=1", "--seconds=0")


def test_response_normalisation_is_measured_beside_its_peers(run_here, check_figures):
    report, _ = run_here("lrn.py", *LAYERS, "--peers=tensorflow", "--nostep")
    ours = [row for row in report["results"] if row["contender"] == "slimzoo"]
    assert [row["shape"] for row in ours] == [[1, 55, 55, 96], [1, 27, 27, 256]]
    for row in report["results"]:
        check_figures(row, "passes_per_second", 1)
        assert row["milliseconds"] == pytest.approx(1000 / row["passes_per_second"])
    assert [row["peer"] for row in report["ratios"]] == ["tensorflow"] * 2
    assert report["shares_of_step"] == report["left_out"] == []


@pytest.mark.slow
def test_response_normalisation_is_set_against_the_step(run_benchmark):
    report, _ = run_benchmark("lrn.py", *LAYERS, "--peers=")
    assert report["left_out"] == report["ratios"] == []
    [share] = report["shares_of_step"]
    assert 0 < share["ratio"] < 1
