"""The host half of the input under each option of tf.data that could make it faster.

    python benchmarks/tf_data_options.py
    python benchmarks/tf_data_options.py --dataset_name=cifar10 --model_name=cifarnet_18pct

The first line is what the drivers do: autotuning is off, and all else as TensorFlow has it.
"""

from __future__ import annotations

import os
from typing import Any

from contenders import Contender
from input_source import describe_source, selected_source
from measuring import measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS

AS_IT_IS = "as the drivers set it"

# By name, what is set of tf.data.Options.
OPTIONS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "a thread pool of its own": {"threading.private_threadpool_size": os.cpu_count()},
    "batches in any order": {"deterministic": False},
    "slack": {"experimental_slack": True},
    "warm start": {"experimental_warm_start": True},
    "mapping and batching fused": {"experimental_optimization.map_and_batch_fusion": True},
    "autotuning": {"autotune.enabled": True},
}


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    with selected_source() as source:
        case = measure(
            [
                Contender(name, "input_stages:host_half", {**source, "options": options})
                for name, options in OPTIONS.items()
            ],
            runs=RUNS.value,
            least_seconds=SECONDS.value,
            title="tf.data",
        )
    usual = case.measurements[AS_IT_IS].rates
    results = [
        {
            "options": name,
            **measurement.figures("images_per_second"),
            **paired_ratio(measurement.rates, usual),
        }
        for name, measurement in case.measurements.items()
    ]
    table = format_table(
        ["", "images/s", "from", "to", "ratio", "from", "to"],
        [
            [row["options"], row["images_per_second"], row["slowest"], row["fastest"]]
            + [row[key] for key in ("ratio", "smallest", "largest")]
            for row in results
        ],
    )
    content = {
        **describe_source(source),
        "results": results,
        "left_out": describe_left_out(case.left_out),
    }
    finish(content, [table])


if __name__ == "__main__":
    run(main)
