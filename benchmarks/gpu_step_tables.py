"""How gpu_step.py prints its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kernel_classes import CLASSES
from reports import format_table

GFLOPS = "matrix_product_gflops"


def tables(content: dict[str, Any]) -> list[str]:
    """Those of results, ceilings, profiles and published rates, and what was left out."""
    found = [
        format_table(
            [
                *("", "precision", "batch", "", "images/s", "from", "to"),
                *("of matrix product", "of synthetic", "to best peer", "peak MiB"),
            ],
            [
                [
                    *(row[key] for key in ("model", "precision", "batch_size", "contender")),
                    *(row[key] for key in ("images_per_second", "slowest", "fastest")),
                    _percent(row.get("share_of_matrix_product")),
                    row.get("to_synthetic", {}).get("ratio"),
                    row.get("to_best_peer", {}).get("ratio"),
                    round(row.get("peak_gpu_memory_mib", row["peak_memory_mib"])),
                ]
                for row in content["results"]
            ],
        ),
        format_table(
            ["ceilings", "precision", "GFLOP/s", "by", "memory copy GB/s"],
            [
                [
                    *(row["model"], row["precision"], row.get(GFLOPS)),
                    *(row.get("matrix_product_library"), row.get("memory_copy_gb_per_second")),
                ]
                for row in content["ceilings"]
            ],
        ),
        *_profile_tables(content["profiles"]),
        format_table(
            ["tf_cnn_benchmarks, alexnet, published", "GPUs", "images/s"],
            [
                [row["gpu"], row["gpus"], row["images_per_second"]]
                for row in content["published"]["rows"]
            ],
        ),
    ]
    found += [
        f"left out: {row['model']} {row['precision']} {row['batch_size']} {row['contender']}: "
        f"{row['reason']}"
        for row in content["left_out"]
    ]
    if content["small_mode"]:
        found.append(
            "No GPU was found. These are small steps on the CPU: they show that these run, "
            "and nothing of their speed on a GPU. Further ones are tried by --precisions and "
            "--batch_sizes; XLA for the whole step only on a GPU. Operations overlap on a CPU, so "
            "that the shares of their classes add up to more than a step."
        )
    return found


def _profile_tables(profiles: Sequence[dict[str, Any]]) -> Iterator[str]:
    """For each model a table: a row for each class of work, two columns for each form."""
    for model in dict.fromkeys(row["model"] for row in profiles):
        of_model = [row for row in profiles if row["model"] == model]
        titles = [f"a step of {model} by class of work"]
        rows: list[list[Any]] = [[name] for name in (*CLASSES, "from the first to the last")]
        for profile in of_model:
            titles += [f"forms for a {profile['form']}: ms", "share"]
            for row, of_class in zip(rows, profile["classes"], strict=False):
                row += [of_class["milliseconds"], _percent(of_class["share"])]
            rows[-1] += [profile["milliseconds"], None]
        yield format_table(titles, rows)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"
