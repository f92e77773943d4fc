"""Response normalisation forward and backward, and its share of a training step of `alexnet`.

    python benchmarks/lrn.py --precisions=float32,bfloat16

The two shapes are those of norm1 and norm2: [batch, 55, 55, 96] and [batch, 27, 27, 256].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

from ceilings import ceiling_figures, ceilings
from contenders import Contender
from measuring import Case, Measurement, measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS

_OURS, _TENSORFLOW, _PYTORCH = "slimzoo", "tensorflow", "pytorch"

_PRECISIONS = flags.DEFINE_list("precisions", ["float32", "bfloat16"], "float32, bfloat16.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=1)
_PEERS = flags.DEFINE_list("peers", [_TENSORFLOW, _PYTORCH], "Beside what it is measured.")
flags.register_validator(
    "peers",
    lambda names: {*names} <= {_TENSORFLOW, _PYTORCH},
    "takes tensorflow and pytorch.",
)
_STEP = flags.DEFINE_bool("step", True, "Measure the step whose share it is, as well.")

_SHAPES = {"norm1": (55, 55, 96), "norm2": (27, 27, 256)}
_PYTORCH_MODES = ("eager", "channels_last", "compiled")
_STEP_NAME = "training step of alexnet"


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    content: dict[str, Any] = {
        "batch_size": _BATCH_SIZE.value,
        **{key: [] for key in ("results", "ratios", "shares_of_step", "ceilings", "left_out")},
    }
    for precision in _PRECISIONS.value:
        case = measure(
            [*_contenders(precision), *ceilings(precision)],
            runs=RUNS.value,
            least_seconds=SECONDS.value,
            title=precision,
        )
        label = {"precision": precision}
        for layer, shape in _SHAPES.items():
            of_layer = _of_layer(case, layer)
            for name, measurement in of_layer.items():
                row = {"layer": layer, "shape": [_BATCH_SIZE.value, *shape], "contender": name}
                content["results"].append({**label, **row, **_figures(measurement)})
            content["ratios"] += [{**label, "layer": layer, **row} for row in _ratios(of_layer)]
        content["shares_of_step"] += [{**label, **row} for row in shares_of_step(case)]
        content["ceilings"].append({**label, **ceiling_figures(case)})
        content["left_out"] += [{**label, **row} for row in describe_left_out(case.left_out)]
    finish(content, _tables(content))


def shares_of_step(case: Case) -> list[dict[str, Any]]:
    """The time of slimzoo's two normalisations as a share of a training step's, if all ran."""
    names = [f"{layer} {_OURS}" for layer in _SHAPES]
    if not {_STEP_NAME, *names} <= case.measurements.keys():
        return []
    # Rates are passes/s and images/s; a step is as many images as a pass.
    steps = [rate / _BATCH_SIZE.value for rate in case.measurements[_STEP_NAME].rates]
    passes = [
        1 / sum(1 / rate for rate in rates)
        for rates in zip(*(case.measurements[name].rates for name in names), strict=True)
    ]
    return [
        {
            "milliseconds": 1000 / case.measurements[_STEP_NAME].median * _BATCH_SIZE.value,
            **paired_ratio(steps, passes),
        }
    ]


def _contenders(precision: str) -> list[Contender]:
    contenders = []
    for layer, shape in _SHAPES.items():
        arguments = {"shape": [_BATCH_SIZE.value, *shape], "precision": precision}
        contenders.append(Contender(f"{layer} {_OURS}", "lrn_passes:ours", arguments))
        if _TENSORFLOW in _PEERS.value:
            name = f"{layer} {_TENSORFLOW}"
            contenders.append(Contender(name, "lrn_passes:tensorflow", arguments))
        if _PYTORCH in _PEERS.value:
            contenders += [
                Contender(
                    f"{layer} {_PYTORCH} {mode}", "lrn_passes:pytorch", {**arguments, "mode": mode}
                )
                for mode in _PYTORCH_MODES
            ]
    if _STEP.value:
        step = {
            "model": "alexnet",
            "precision": precision,
            "batch_size": _BATCH_SIZE.value,
            "steps": 1,
        }
        contenders.append(Contender(_STEP_NAME, "our_networks:training_step", step))
    return contenders


def _of_layer(case: Case, layer: str) -> dict[str, Measurement]:
    return {
        name.removeprefix(f"{layer} "): measurement
        for name, measurement in case.measurements.items()
        if name.startswith(f"{layer} ")
    }


def _figures(measurement: Measurement) -> dict[str, Any]:
    return {
        "milliseconds": 1000 / measurement.median,
        **measurement.figures("passes_per_second"),
    }


def _ratios(of_layer: Mapping[str, Measurement]) -> list[dict[str, Any]]:
    if _OURS not in of_layer:
        return []
    rows = []
    for peer in (_TENSORFLOW, _PYTORCH):
        others = [measured for name, measured in of_layer.items() if name.startswith(peer)]
        if others:
            best = max(others, key=lambda measured: measured.median)
            ratio = paired_ratio(of_layer[_OURS].rates, best.rates)
            rows.append({"peer": best.contender.name.partition(" ")[2], **ratio})
    return rows


def _tables(content: dict[str, Any]) -> list[str]:
    ratio_keys = ("ratio", "smallest", "largest")
    tables = [
        format_table(
            ["", "precision", "", "ms", "passes/s", "from", "to", "peak MiB"],
            [
                [row["layer"], row["precision"], row["contender"], row["milliseconds"]]
                + [row[key] for key in ("passes_per_second", "slowest", "fastest")]
                + [round(row["peak_memory_mib"])]
                for row in content["results"]
            ],
        ),
        format_table(
            ["slimzoo / peer's best", "precision", "peer", "ratio", "from", "to"],
            [
                [row[key] for key in ("layer", "precision", "peer", *ratio_keys)]
                for row in content["ratios"]
            ],
        ),
        format_table(
            ["share of alexnet's step", "step ms", "share", "from", "to"],
            [
                [row[key] for key in ("precision", "milliseconds", *ratio_keys)]
                for row in content["shares_of_step"]
            ],
        ),
    ]
    tables += [
        f"{row['precision']}: matrix product {row.get('matrix_product_gflops', 0):,.0f} GFLOP/s, "
        f"memory copy {row.get('memory_copy_gb_per_second', 0):.1f} GB/s."
        for row in content["ceilings"]
    ]
    tables += [f"left out: {row['contender']}: {row['reason']}" for row in content["left_out"]]
    return tables


if __name__ == "__main__":
    run(main)
