"""Images/s of every stage from a JPEG file to a training step, and where the time goes.

    python benchmarks/input_throughput.py                  # synthetic photos of 500x375 pixels
    python benchmarks/input_throughput.py --dataset_name=tf_flowers --dataset_dir=...
    python benchmarks/input_throughput.py --input_only     # without the step

A stage includes those before it: reading, decoding whole images, the host half of the
preprocessing, handing over to the device, and training from end to end. Beside them stand the step
alone on synthetic images, and what the host half of a JPEG consists of: the window that a crop
covers decoded, and resized. On the CPU a step and the input share the cores, so the end cannot be
reached faster than the harmonic sum of both, 1 / (1/step + 1/decoding).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

from ceilings import ceiling_figures, ceilings
from contenders import Contender
from input_source import describe_source, selected_source
from measuring import Case, measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS

_INPUT_ONLY = flags.DEFINE_bool("input_only", False, "Leave out the training step.")
READING, DECODING, HOST_HALF = "reading", "+ decoding whole images", "+ host half"
ON_DEVICE, STEP, END_TO_END = "+ to the device", "step alone", "end to end"
WINDOW, RESIZING = "decoding a window alone", "decoding a window and resizing it"
ARRAYS = "cropping arrays in memory, one core"


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    with selected_source() as source:
        case = measure(
            contenders(source, _INPUT_ONLY.value),
            runs=RUNS.value,
            least_seconds=SECONDS.value,
            title="input",
            required=[READING, HOST_HALF],
        )
    ceiling = ceiling_figures(case)
    stages = {
        name: {"stage": name, **measurement.figures("images_per_second")}
        for name, measurement in case.measurements.items()
        if not name.startswith("matrix product") and name != "memory copy"
    }
    where = where_the_time_goes({name: row["images_per_second"] for name, row in stages.items()})
    content = {
        **describe_source(source),
        "results": list(stages.values()),
        "milliseconds_per_image": where,
        "ratios": _ratios(case),
        "ceilings": ceiling,
        "left_out": describe_left_out(case.left_out),
    }
    finish(content, _tables(content))


def where_the_time_goes(rates: Mapping[str, float]) -> dict[str, float]:
    """What each stage adds to the one before it, in milliseconds an image.

    Args:
      rates: images/s by stage; those that are missing are left out.

    Returns:
      By stage. What the host half adds to decoding is less than nothing where it decodes no more
      of a photo than the crop needs.
    """
    added = {}
    before = 0.0
    for stage in (READING, DECODING, HOST_HALF, ON_DEVICE):
        if stage in rates:
            added[stage] = 1000 / rates[stage] - before
            before = 1000 / rates[stage]
    if STEP in rates:
        added[STEP] = 1000 / rates[STEP]
    return added


def harmonic_sum(first: float, second: float) -> float:
    """The rate of doing both one after the other: 1 / (1/first + 1/second)."""
    return 1 / (1 / first + 1 / second)


def contenders(source: dict[str, Any], input_only: bool) -> list[Contender]:
    """The stages and the ceilings; `source` holds the fields of `input_stages.Source`."""
    stages = {
        READING: "reading",
        DECODING: "decoding",
        WINDOW: "decoding_a_window",
        RESIZING: "resizing_a_window",
        HOST_HALF: "host_half",
        ON_DEVICE: "on_device",
        **({} if input_only else {STEP: "step", END_TO_END: "end_to_end"}),
    }
    return [
        *(Contender(name, f"input_stages:{stage}", source) for name, stage in stages.items()),
        Contender(ARRAYS, "input_stages:cropping_arrays"),
        *ceilings(source["precision"]),
    ]


def _ratios(case: Case) -> list[dict[str, Any]]:
    rates = {name: measurement.rates for name, measurement in case.measurements.items()}
    rows = []
    for stage in (DECODING, HOST_HALF):
        if {END_TO_END, STEP, stage} <= rates.keys():
            sums = [harmonic_sum(*pair) for pair in zip(rates[STEP], rates[stage], strict=True)]
            name = f"end to end / harmonic sum of step and {stage.removeprefix('+ ')}"
            rows.append({"name": name, **paired_ratio(rates[END_TO_END], sums)})
    if {END_TO_END, STEP} <= rates.keys():
        ratio = paired_ratio(rates[END_TO_END], rates[STEP])
        rows.append({"name": "end to end / step alone", **ratio})
    for name, bare in (
        ("decoding whole images", DECODING),
        (RESIZING, RESIZING),
        (ARRAYS, ARRAYS),
    ):
        if {HOST_HALF, bare} <= rates.keys():
            ratio = paired_ratio(rates[HOST_HALF], rates[bare])
            rows.append({"name": f"host half / {name}", **ratio})
    return rows


def _tables(content: dict[str, Any]) -> list[str]:
    where = content["milliseconds_per_image"]
    limit = max(where, key=lambda stage: where[stage], default=None)
    tables = [
        format_table(
            ["images/s", "", "from", "to", "peak MiB"],
            [
                [
                    row["stage"],
                    row["images_per_second"],
                    row["slowest"],
                    row["fastest"],
                    round(row["peak_memory_mib"]),
                ]
                for row in content["results"]
            ],
        ),
        format_table(["ms an image", ""], list(where.items())) + f"\nMost of it: {limit}.",
        format_table(
            ["ratios", "", "from", "to"],
            [
                [row[key] for key in ("name", "ratio", "smallest", "largest")]
                for row in content["ratios"]
            ],
        ),
        f"Matrix product {content['ceilings'].get('matrix_product_gflops', 0):,.0f} GFLOP/s, "
        f"memory copy {content['ceilings'].get('memory_copy_gb_per_second', 0):.1f} GB/s.",
    ]
    tables += [f"left out: {row['contender']}: {row['reason']}" for row in content["left_out"]]
    return tables


if __name__ == "__main__":
    run(main)
