"""Images/s of a training step over several devices: `mirrored` beside `hybrid` in its schemes.

    python benchmarks/strategy_throughput.py --model=alexnet --devices=2

Devices are GPUs where there are as many, else parts of the CPU, which share its cores: there the
figures say what dividing costs, not what it gains.
"""

from __future__ import annotations

from absl import flags

from slimzoo import environment

environment.set_up()  # before TensorFlow is imported

# isort: split
from contenders import Contender
from measuring import measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS
from training.hybrid.schemes import SCHEMES

_MODEL = flags.DEFINE_string("model", "alexnet", "The network.")
_DEVICES = flags.DEFINE_integer("devices", 2, "How many share a batch.", lower_bound=2)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images of all devices.", lower_bound=1)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16", "float16"], "Of the activations."
)
_STEPS = flags.DEFINE_integer("steps", 2, "Of each run.", lower_bound=1)
_MIRRORED = "mirrored"


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    case = measure(
        _contenders(),
        runs=RUNS.value,
        least_seconds=SECONDS.value,
        title=_MODEL.value,
        required=[_MIRRORED],
    )
    mirrored = case.measurements[_MIRRORED].rates
    results = [
        {
            "strategy": name,
            **measurement.figures("images_per_second"),
            "ratio_to_mirrored": paired_ratio(measurement.rates, mirrored)["ratio"],
        }
        for name, measurement in case.measurements.items()
    ]
    content = {
        "model": _MODEL.value,
        "precision": _PRECISION.value,
        "devices": _DEVICES.value,
        "batch_size": _BATCH_SIZE.value,
        "results": results,
        "left_out": describe_left_out(case.left_out),
    }
    rows = [
        [
            row["strategy"],
            *(f"{row[key]:,.1f}" for key in ("images_per_second", "slowest", "fastest")),
            f"{row['ratio_to_mirrored']:.2f}",
            f"{row['peak_memory_mib']:,.0f}",
        ]
        for row in results
    ]
    header = ["", "images/s", "from", "to", "of mirrored", "peak MiB"]
    finish(content, [format_table(header, rows)])


def _contenders() -> list[Contender]:
    arguments = {
        "model": _MODEL.value,
        "precision": _PRECISION.value,
        "batch_size": _BATCH_SIZE.value,
        "steps": _STEPS.value,
    }
    several = {**arguments, "num_replicas": _DEVICES.value}
    variants = {
        "one device": arguments,
        _MIRRORED: several,
        **{f"hybrid {scheme}": {**several, "hybrid_scheme": scheme} for scheme in SCHEMES},
    }
    return [
        Contender(name, "our_networks:training_step", given) for name, given in variants.items()
    ]


if __name__ == "__main__":
    run(main)
