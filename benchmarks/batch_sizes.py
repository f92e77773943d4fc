"""Images/s of a training step against the batch size, as a CSV and a plot with the ceiling in it.

    python benchmarks/batch_sizes.py --models=alexnet_v2 --plot=batch_sizes.png

The ceiling is the rate of a square matrix product in the same rounds over the operations of an
image. A small batch stays below it because weights and optimizer are moved once a step, whatever
the batch: the second line is the ceiling with that traffic at the rate of a memory copy.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

import drawing
from reports import finish, format_table, run
from step_bounds import weight_traffic
from throughput import (
    MODELS,
    OURS,
    PRECISIONS,
    STEPS,
    accept_precisions,
    measure_case,
    report_case,
    selected_peers,
)

_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes", ["1", "2", "4", "8", "16", "32", "64", "128", "256"], "Images a step."
)
_PLOT = flags.DEFINE_string(
    "plot", "batch_sizes.png", "Where the plot goes (PNG; needs matplotlib); empty for none."
)
_CSV = flags.DEFINE_string("csv", "batch_sizes.csv", "Where the figures go; empty for nowhere.")
accept_precisions()
flags.register_validator(
    "batch_sizes",
    lambda values: all(value.isdecimal() and int(value) > 0 for value in values),
    "takes numbers greater than 0.",
)
# A size is measured alone unless peers are asked for: there are many sizes.
flags.FLAGS.set_default("peers", [])

_COLUMNS = (
    *("model", "precision", "batch_size", "contender", "images_per_second", "slowest", "fastest"),
    *("ceiling", "ceiling_with_weights_moved", "peak_memory_mib"),
)


def main(arguments: list[str]) -> None:
    """Measures, writes and prints."""
    del arguments
    rows = []
    for model in MODELS.value:
        for precision in PRECISIONS.value:
            for batch_size in map(int, _BATCH_SIZES.value):
                rows += _measure(model, precision, batch_size)
    if _CSV.value:
        with open(_CSV.value, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    if _PLOT.value:
        _plot(rows, _PLOT.value)
    table = format_table(_COLUMNS, [[row.get(column) for column in _COLUMNS] for row in rows])
    finish({"results": rows}, [table])


def ceiling_with_weights_moved(
    batch_size: int, ceiling: float, bytes_moved: float, bytes_per_second: float
) -> float:
    """Images/s if a step computes at the ceiling and then moves what it moves for each weight.

    Args:
      batch_size: images a step.
      ceiling: images/s without that.
      bytes_moved: a step, for the weights.
      bytes_per_second: read or written.
    """
    return batch_size / (batch_size / ceiling + bytes_moved / bytes_per_second)


def _measure(model: str, precision: str, batch_size: int) -> list[dict[str, Any]]:
    label = {"model": model, "precision": precision, "batch_size": batch_size}
    arguments = {**label, "steps": STEPS.value}
    case, _ = measure_case("training_step", arguments, selected_peers())
    report = report_case(case)
    ceilings = report["ceilings"][0]
    rows = []
    for row in report["results"]:
        ours = case.measurements.get(OURS)
        if ours and "matrix_product_gflops" in ceilings:
            operations = ours.facts["operations_per_image"]
            row["ceiling"] = ceilings["matrix_product_gflops"] * 1e9 / operations
            if "memory_copy_gb_per_second" in ceilings:
                row["ceiling_with_weights_moved"] = ceiling_with_weights_moved(
                    batch_size,
                    row["ceiling"],
                    sum(weight_traffic(row["parameters"], precision)),
                    ceilings["memory_copy_gb_per_second"] * 1e9,
                )
        rows.append({**label, **row})
    return rows


def _plot(rows: Sequence[dict[str, Any]], path: str) -> None:
    pyplot = drawing.pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    series = dict.fromkeys((row["model"], row["precision"], row["contender"]) for row in rows)
    for number, (model, precision, contender) in enumerate(series):
        points = [
            row
            for row in rows
            if (row["model"], row["precision"], row["contender"]) == (model, precision, contender)
        ]
        sizes = [row["batch_size"] for row in points]
        colour = f"C{number}"
        name = f"{model} {precision}, {contender}"
        axes.plot(sizes, [row["images_per_second"] for row in points], "o-", c=colour, label=name)
        low, high = ([row[key] for row in points] for key in ("slowest", "fastest"))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.2)
        if contender != OURS:
            continue
        for key, style, meaning in (
            ("ceiling", "--", "ceiling: matrix product"),
            ("ceiling_with_weights_moved", ":", "ceiling, weights and optimizer moved"),
        ):
            if all(key in row for row in points):
                ceiling = [row[key] for row in points]
                axes.plot(sizes, ceiling, style, c=colour, label=f"{model} {precision}, {meaning}")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="images a step", ylabel="images/s, training", title="Throughput of training")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(pathlib.Path(path), dpi=150)


if __name__ == "__main__":
    run(main)
