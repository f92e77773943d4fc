"""A training step on one GPU in every variant: forms of the layers, precision, XLA, batch size.

    python benchmarks/gpu_step.py --models=alexnet --output=gpu_step.json

Prints images/s of each variant beside PyTorch at its best and the ceilings of the same run, and
where the time of a step goes. It takes under eight minutes: what does not fit is left out, and said
so. Without a GPU a small network takes small steps on the CPU, which shows that all of it works.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

import peers
from ceilings import ceiling_figures, ceilings
from contenders import Contender
from kernel_classes import CLASSES
from measuring import Case, LeftOut, measure, paired_ratio
from reports import describe_left_out, finish, format_table, run
from run_flags import RUNS, SECONDS
from slimzoo import environment
from throughput import (
    MODELS,
    OURS,
    PEERS,
    PRECISIONS,
    STEPS,
    accept_precisions,
    measured_networks,
)

flags.set_default(MODELS, ["alexnet"])
flags.set_default(PRECISIONS, ["bfloat16", "float32", "float16"])
flags.set_default(STEPS, 10)
accept_precisions()
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes",
    ["256", "512", "1024"],
    "Images a step; those after the first in the first precision alone.",
)
flags.register_validator(
    "batch_sizes",
    lambda values: values and all(value.isdecimal() and int(value) for value in values),
    "takes numbers greater than 0.",
)
_MINUTES = flags.DEFINE_float(
    "minutes", 7.5, "After which no contender is started that may take longer.", lower_bound=0
)

# What stands in for all this where there is no GPU, unless flags say otherwise.
_SMALL_MODEL, _SMALL_BATCH, _SMALL_STEPS = "alexnet_cifar", 8, 1

# Of the layers, as nets/device_forms.py has them.
_FORMS = ("CPU", "GPU")

_PEERS = ("pytorch:compiled_channels_last", "pytorch:compiled_cuda_graphs")

_GFLOPS, _OPERATIONS = "matrix_product_gflops", "operations_per_image"

# What a contender takes to start, before the first has shown it.
_SECONDS_EACH = 20.0

# images/s of tf_cnn_benchmarks' alexnet: without normalisation or groups, as alexnet_v2; float32.
_PUBLISHED = {
    "source": "https://www.tensorflow.org/performance/benchmarks of 2017, which is "
    "docs_src/performance/benchmarks.md in TensorFlow's repository at 6535ed7",
    "batch_size_per_gpu": 512,
    "data": "synthetic",
    "rows": [
        {"gpu": "P100 (DGX-1)", "gpus": 1, "images_per_second": 2987},
        {"gpu": "P100 (DGX-1)", "gpus": 8, "images_per_second": 17822},
        {"gpu": "K80 (Google Compute Engine)", "gpus": 1, "images_per_second": 656},
        {"gpu": "K80 (Google Compute Engine)", "gpus": 8, "images_per_second": 4640},
    ],
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What contenders that take turns have in common.

    Attributes:
      model: a registered network.
      precision: float32, bfloat16 or float16.
      batch_size: images a step.
      is_whole: whether all variants are measured, and the ceilings beside them.
    """

    model: str
    precision: str
    batch_size: int
    is_whole: bool

    @property
    def label(self) -> dict[str, Any]:
        """What every row of a report says of it."""
        return {key: getattr(self, key) for key in ("model", "precision", "batch_size")}


class Clock:
    """Says whether there is time left for contenders, by what those before have taken."""

    def __init__(self) -> None:
        self._end = time.monotonic() + 60 * _MINUTES.value
        self._seconds_each = _SECONDS_EACH

    def measure(self, contenders: Sequence[Contender], **options: Any) -> Case:
        """`measuring.measure`, or nothing but contenders that were left out."""
        started = time.monotonic()
        if started + self._seconds_each * len(contenders) > self._end:
            reason = f"there was no time for it within --minutes={_MINUTES.value:g}"
            return Case({}, tuple(LeftOut(contender, reason) for contender in contenders))
        case = measure(contenders, **options)
        self._seconds_each = (time.monotonic() - started) / len(contenders)
        return case


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    has_gpu = environment.has_gpu()
    content: dict[str, Any] = {
        "small_mode": not has_gpu,
        **{key: [] for key in ("results", "profiles", "ceilings", "left_out")},
        "published": _PUBLISHED,
    }
    clock = Clock()
    profiled: set[str] = set()
    for setting in _settings(has_gpu):
        title = " ".join(map(str, setting.label.values()))
        contenders, left_out = _contenders(setting, has_gpu)
        case = clock.measure(contenders, runs=RUNS.value, least_seconds=SECONDS.value, title=title)
        left_out += case.left_out
        if ceiling := ceiling_figures(case):
            content["ceilings"].append({**setting.label, **ceiling})
        of_precision = [row for row in content["ceilings"] if row["precision"] == setting.precision]
        content["results"] += [
            {**setting.label, **row} for row in _results(case, of_precision[-1:])
        ]
        if setting.model not in profiled:
            profiled.add(setting.model)
            profiles = clock.measure(
                _profiles(setting, has_gpu), runs=1, least_seconds=0, title=f"{title}, profiled"
            )
            left_out += profiles.left_out
            content["profiles"] += [
                {**setting.label, "form": form, **measurement.facts["profile"]}
                for form, measurement in profiles.measurements.items()
            ]
        content["left_out"] += [{**setting.label, **row} for row in describe_left_out(left_out)]
    if not content["results"]:
        reasons = sorted({row["reason"] for row in content["left_out"]})
        raise ValueError(f"Nothing was measured: {'; '.join(reasons)}.")
    finish(content, _tables(content))


def _given_or_small(flag: flags.FlagHolder, small: Any) -> Any:
    """The value of a flag; where there is no GPU, only what a user has asked for."""
    return flag.value if environment.has_gpu() or flags.FLAGS[flag.name].present else small


def _settings(has_gpu: bool) -> Iterator[Setting]:
    """In the order of their worth, as time may run out."""
    precisions = _given_or_small(PRECISIONS, PRECISIONS.value[:1])
    first, *others = _given_or_small(_BATCH_SIZES, [_SMALL_BATCH])
    for model in _given_or_small(MODELS, [_SMALL_MODEL]):
        for precision in precisions:
            yield Setting(model, precision, int(first), is_whole=True)
        for batch_size in others:
            yield Setting(model, precisions[0], int(batch_size), is_whole=False)


def _arguments(setting: Setting) -> dict[str, Any]:
    return {**setting.label, "steps": _given_or_small(STEPS, _SMALL_STEPS)}


def _contenders(setting: Setting, has_gpu: bool) -> tuple[list[Contender], list[LeftOut]]:
    arguments = _arguments(setting)
    variants: list[tuple[str, dict[str, Any]]] = [("", {})]
    if has_gpu:
        variants.append((", XLA", {"xla": True}))
        if setting.precision == "float32":
            # There TensorFlow moves channels to the front, and cuDNN's TF32 wants them last.
            variants.append((", channels last", {"layout_optimizer": False}))
    ours = [
        Contender(
            f"{OURS}, forms for a {form}{variant}",
            "our_networks:training_step",
            {**arguments, "form": form, "needs_gpu": has_gpu, **options},
        )
        for form in (_FORMS if setting.is_whole else _FORMS[-1:])
        for variant, options in variants
    ]
    usual = _PEERS if has_gpu and "pytorch" in peers.installed_peers() else ()
    selection = usual if PEERS.value is None else PEERS.value
    others, left_out = peers.peer_contenders(selection, "training_step", arguments)
    beside = ceilings(setting.precision) if setting.is_whole else []
    return [*ours, *others, *beside], left_out


def _profiles(setting: Setting, has_gpu: bool) -> list[Contender]:
    arguments = {**_arguments(setting), "needs_gpu": has_gpu}
    return [
        Contender(form, "our_networks:profiled_steps", {**arguments, "form": form})
        for form in _FORMS
    ]


def _results(case: Case, ceiling: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each network; `ceiling` holds the figures of its precision, if there are any."""
    networks = measured_networks(case)
    theirs = [one.contender.name for one in networks if not one.contender.name.startswith(OURS)]
    best_peer = case.fastest(theirs)
    products = [figures[_GFLOPS] * 1e9 for figures in ceiling if _GFLOPS in figures]
    # The peers' networks need the same operations; ours has counted them.
    operations = [one.facts[_OPERATIONS] for one in networks if _OPERATIONS in one.facts]
    rows = []
    for measurement in networks:
        row = {
            "contender": measurement.contender.name,
            **measurement.figures("images_per_second"),
        }
        if products and operations:
            row["share_of_matrix_product"] = measurement.median * operations[0] / products[0]
        if best_peer and best_peer is not measurement:
            row["to_best_peer"] = paired_ratio(measurement.rates, best_peer.rates)
        rows.append(row)
    return rows


def _tables(content: dict[str, Any]) -> list[str]:
    tables = [
        format_table(
            [
                *("", "precision", "batch", "", "images/s", "from", "to"),
                *("of matrix product", "to best peer", "peak MiB"),
            ],
            [
                [
                    *(row[key] for key in ("model", "precision", "batch_size", "contender")),
                    *(row[key] for key in ("images_per_second", "slowest", "fastest")),
                    _percent(row.get("share_of_matrix_product")),
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
                    *(row["model"], row["precision"], row.get(_GFLOPS)),
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
    tables += [
        f"left out: {row['model']} {row['precision']} {row['batch_size']} {row['contender']}: "
        f"{row['reason']}"
        for row in content["left_out"]
    ]
    if content["small_mode"]:
        tables.append(
            "No GPU was found. These are small steps on the CPU: they show that the variants run, "
            "and nothing of their speed on a GPU."
        )
    return tables


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


if __name__ == "__main__":
    run(main)
