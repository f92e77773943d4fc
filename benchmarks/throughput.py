"""Networks measured beside peers and ceilings: what training and inference benchmarks share.

This module defines their flags.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

import contenders
import peers
from ceilings import ceiling_figures, ceilings, matrix_product_rates
from measuring import Case, LeftOut, Measurement, measure, paired_ratio
from reports import describe_left_out, finish, format_table
from run_flags import RUNS, SECONDS

_PRECISIONS = ("float32", "bfloat16", "float16")

MODELS = flags.DEFINE_list("models", ["alexnet", "alexnet_v2"], "Networks to measure.")
PRECISIONS = flags.DEFINE_list("precisions", ["float32"], ", ".join(_PRECISIONS))
STEPS = flags.DEFINE_integer("steps", 2, "Steps that a run does not interrupt.", lower_bound=1)
PEERS = flags.DEFINE_list(
    "peers",
    None,
    "pytorch, tf_slim, keras, or one mode of them such as pytorch:compiled; --peers= for none. "
    "Default: those installed, in their usual modes.",
)
_KEEP_FREED_MEMORY = flags.DEFINE_bool(
    "keep_freed_memory",
    True,
    "Ask the peers' C library too to keep memory that was freed, as slimzoo's drivers do; "
    "--nokeep_freed_memory measures the peers as they come.",
)
flags.register_validator(
    "peers",
    lambda value: value is None or peers.check_selection(value),
    f"takes {', '.join(peers.PEERS)}, each with a mode behind a colon or without.",
)

OURS = "slimzoo"


def accept_precisions(*further: str) -> None:
    """Lets --precisions take the usual ones and these."""
    accepted = (*_PRECISIONS, *further)
    flags.FLAGS["precisions"].help = ", ".join(accepted)
    flags.register_validator(
        "precisions", lambda values: set(values) <= set(accepted), f"takes {', '.join(accepted)}."
    )


def selected_peers() -> list[str]:
    """What --peers asks for."""
    return peers.installed_peers() if PEERS.value is None else PEERS.value


def measure_networks(task: str, batch_size: int) -> None:
    """Measures every network in every precision and reports.

    Args:
      task: "training_step" or "forward_pass".
      batch_size: images a step.
    """
    if _KEEP_FREED_MEMORY.value:
        contenders.keep_freed_memory()
    content: dict[str, Any] = {
        "batch_size": batch_size,
        "results": [],
        "ceilings": [],
        "ratios": [],
        "left_out": [
            {"contender": name, "reason": f"{peer.package} is not installed"}
            for name, peer in peers.PEERS.items()
            if PEERS.value is None and name not in peers.installed_peers()
        ],
    }
    for model in MODELS.value:
        for precision in PRECISIONS.value:
            label = {"model": model, "precision": precision}
            arguments = {**label, "batch_size": batch_size, "steps": STEPS.value}
            case, left_out = measure_case(task, arguments, selected_peers())
            for key, rows in report_case(case).items():
                content[key] += [{**label, **row} for row in rows]
            content["left_out"] += [
                {**label, **row} for row in describe_left_out([*left_out, *case.left_out])
            ]
    finish(content, _tables(content))


def measure_case(
    task: str, arguments: dict[str, Any], selection: Sequence[str]
) -> tuple[Case, list[LeftOut]]:
    """Measures ours, the peers and the ceilings by turns; gives also the peers that have no part.

    Args:
      task: "training_step" or "forward_pass".
      arguments: of the functions of that name; "model" and "precision" among them.
      selection: of peers, as --peers takes them.
    """
    others, left_out = peers.peer_contenders(selection, task, arguments)
    for one in left_out:
        print(f"left out: {one.contender.name}: {one.reason}", file=sys.stderr)
    ours = contenders.Contender(OURS, f"our_networks:{task}", arguments)
    case = measure(
        [ours, *others, *ceilings(arguments["precision"].removesuffix("_weights"))],
        runs=RUNS.value,
        least_seconds=SECONDS.value,
        title=f"{arguments['model']} {arguments['precision']}",
        required=[OURS],
    )
    return case, left_out


def report_case(case: Case) -> dict[str, list[dict[str, Any]]]:
    """Puts a case into the rows of a report: "results", "ceilings" and "ratios"."""
    ceiling = ceiling_figures(case)
    networks = measured_networks(case)
    results = []
    for measurement in networks:
        row = {
            "contender": measurement.contender.name,
            **measurement.figures("images_per_second"),
            "matrix_product_gflops": ceiling.get("matrix_product_gflops"),
        }
        # The peers' networks need the same operations; ours has counted them.
        operations = _operations(case)
        if operations and (products := matrix_product_rates(case)):
            share = paired_ratio([operations * rate for rate in measurement.rates], products)
            row["share_of_matrix_product"] = share["ratio"]
        results.append(row)
    return {"results": results, "ceilings": [ceiling], "ratios": _ratios(case, networks)}


def measured_networks(case: Case) -> list[Measurement]:
    """The measurements of a case that are no ceilings."""
    return [one for one in case.measurements.values() if "parameters" in one.facts]


def _operations(case: Case) -> float | None:
    ours = case.measurements.get(OURS)
    return ours.facts["operations_per_image"] if ours else None


def _ratios(case: Case, networks: Sequence[Measurement]) -> list[dict[str, Any]]:
    ours = case.measurements.get(OURS)
    if ours is None:
        return []
    names = [measurement.contender.name for measurement in networks if measurement is not ours]
    rows = []
    for peer in dict.fromkeys(name.partition(" ")[0] for name in names):
        best = case.fastest([name for name in names if name.startswith(f"{peer} ")])
        assert best  # its name was taken from the measurements
        rows.append(
            {
                "peer": peer,
                "best_mode": best.contender.name.partition(" ")[2],
                **paired_ratio(ours.rates, best.rates),
            }
        )
    return rows


def _tables(content: dict[str, Any]) -> list[str]:
    tables = [
        format_table(
            ["", "precision", "", "images/s", "from", "to", "of matrix product", "peak MiB"],
            [
                [
                    row["model"],
                    row["precision"],
                    row["contender"],
                    row["images_per_second"],
                    row["slowest"],
                    row["fastest"],
                    f"{row['share_of_matrix_product']:.1%}"
                    if "share_of_matrix_product" in row
                    else None,
                    round(row["peak_memory_mib"]),
                ]
                for row in content["results"]
            ],
        ),
        format_table(
            ["ceilings", "precision", "GFLOP/s", "by", "memory copy GB/s"],
            [
                [
                    row["model"],
                    row["precision"],
                    row.get("matrix_product_gflops"),
                    row.get("matrix_product_library"),
                    row.get("memory_copy_gb_per_second"),
                ]
                for row in content["ceilings"]
            ],
        ),
    ]
    if content["ratios"]:
        tables.append(
            format_table(
                ["slimzoo / peer's best", "precision", "peer", "its best", "ratio", "from", "to"],
                [
                    [row[key] for key in ("model", "precision", "peer", "best_mode")]
                    + [row[key] for key in ("ratio", "smallest", "largest")]
                    for row in content["ratios"]
                ],
            )
        )
    if content["left_out"]:
        tables.append(
            "\n".join(
                f"left out: {' '.join(str(value) for value in list(row.values())[:-1])}: "
                f"{row['reason']}"
                for row in content["left_out"]
            )
        )
    return tables
