import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_it_prints_json_with_rates_and_their_share_of_a_matrix_product():
    finished = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "train_throughput.py"),
            "--models=cifarnet_18pct",
            "--precisions=float32,bfloat16",
            "--batch_size=4",
            "--runs=3",
            "--steps=1",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    report = json.loads(finished.stdout)
    assert [row["precision"] for row in report["results"]] == ["float32", "bfloat16"]
    for row in report["results"]:
        assert 0 < row["slowest"] <= row["images_per_second"] <= row["fastest"]
        # A step needs about as many operations as were counted, so it cannot beat the ceiling.
        assert 0 < row["share_of_matrix_product"] < 1.5
    assert "images/s" in finished.stderr
