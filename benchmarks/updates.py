"""The update of a large weight by momentum and by Adam: ours, Keras' and PyTorch's fused one.

    python benchmarks/updates.py

The shape is that of `fc6` of `alexnet_v2` (`--shape`). Gradients are float32, and bfloat16 as mixed
precision has them.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from ceilings import ceiling_figures, ceilings
from contenders import Contender, keep_freed_memory
from measuring import Case, measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS

_OURS = "slimzoo"

_OPTIMIZERS = flags.DEFINE_multi_enum(
    "optimizer", ["momentum", "adam"], ["momentum", "adam"], "Which, one flag for each."
)
_GRADIENTS = flags.DEFINE_multi_enum(
    "gradient", ["float32", "bfloat16"], ["float32", "bfloat16"], "Dtypes, one flag for each."
)
_SHAPE = flags.DEFINE_list("shape", ["6400", "4096"], "Rows and columns of the weight.")
flags.register_validator(
    "shape",
    lambda values: len(values) == 2 and all(value.isdigit() and int(value) for value in values),
    "takes two positive numbers.",
)


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    keep_freed_memory()
    content: dict[str, Any] = {
        "shape": [int(value) for value in _SHAPE.value],
        **{key: [] for key in ("results", "ratios", "ceilings", "left_out")},
    }
    for optimizer in _OPTIMIZERS.value:
        for dtype in _GRADIENTS.value:
            label = {"optimizer": optimizer, "gradient": dtype}
            case = measure(
                [*_contenders(optimizer, dtype, content["shape"]), *ceilings("float32")],
                runs=RUNS.value,
                least_seconds=SECONDS.value,
                title=f"{optimizer} {dtype}",
                required=[_OURS],
            )
            for key, rows in _rows(case, content["shape"]).items():
                content[key] += [{**label, **row} for row in rows]
    finish(content, _tables(content))


def _contenders(optimizer: str, dtype: str, shape: list[int]) -> list[Contender]:
    arguments = {"shape": shape, "optimizer": optimizer, "gradient_dtype": dtype}
    return [
        Contender(_OURS, "update_passes:ours", arguments),
        Contender(
            f"{_OURS}, a loop for each result",
            "update_passes:ours",
            {**arguments, "in_one_loop": False},
        ),
        Contender("keras", "update_passes:keras", arguments),
        Contender("pytorch fused", "update_passes:pytorch", arguments),
    ]


def _rows(case: Case, shape: list[int]) -> dict[str, list[dict[str, Any]]]:
    names = [name for name in case.measurements if name.startswith((_OURS, "keras", "pytorch"))]
    ours = case.measurements[_OURS]
    weights = shape[0] * shape[1]
    return {
        "results": [
            {
                "contender": name,
                "milliseconds": 1000 * weights / case.measurements[name].median,
                **case.measurements[name].figures("weights_per_second"),
            }
            for name in names
        ],
        "ratios": [
            {"peer": name, **paired_ratio(ours.rates, case.measurements[name].rates)}
            for name in names
            if name != _OURS
        ],
        "ceilings": [ceiling_figures(case)],
        "left_out": describe_left_out(case.left_out),
    }


def _tables(content: dict[str, Any]) -> list[str]:
    label = ("optimizer", "gradient")
    return [
        format_table(
            ["optimizer", "gradient", "", "ms"],
            [
                [row[key] for key in (*label, "contender", "milliseconds")]
                for row in content["results"]
            ],
        ),
        format_table(
            ["optimizer", "gradient", "so many times as fast as", "slimzoo", "from", "to"],
            [
                [row[key] for key in (*label, "peer", "ratio", "smallest", "largest")]
                for row in content["ratios"]
            ],
        ),
        *dict.fromkeys(
            f"left out: {row['contender']}: {row['reason']}" for row in content["left_out"]
        ),
    ]


if __name__ == "__main__":
    run(main)
