"""A training step on one GPU in every variant: forms, precision, XLA, several a call, batch size.

    python benchmarks/gpu_step.py --models=alexnet --output=gpu_step.json

Prints images/s of each variant beside PyTorch at its best and the ceilings of the same run, what is
left of them from end to end, on records of prepare_dataset, and where the time of a step goes. It
is meant for eight minutes: what would take longer, by what came before, is left out, and said so.

Without a GPU a small network takes small steps on the CPU, which shows that the parts work: in the
first precision and one small batch unless flags ask for more, and without XLA for the whole step.
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
from gpu_step_tables import GFLOPS, tables
from measuring import Case, LeftOut, measure, paired_ratio
from published_rates import TF_CNN_BENCHMARKS
from reports import describe_left_out, finish, run
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
_PHOTOS, _SMALL_PHOTOS = 512, 16

# Of the layers, as nets/device_forms.py has them.
_FORMS = ("CPU", "GPU")

# On one synthetic batch, and what is compared to it.
_SYNTHETIC = f"{OURS}, forms for a {_FORMS[-1]}"
_END_TO_END = f"{_SYNTHETIC}, from prepared records"

_PEERS = ("pytorch:compiled_channels_last", "pytorch:compiled_cuda_graphs")

_OPERATIONS = "operations_per_image"

# What a contender takes to start, before the first has shown it.
_SECONDS_EACH = 20.0


@dataclasses.dataclass(frozen=True)
class Setting:
    """What contenders that take turns have in common.

    Attributes:
      model: a registered network.
      precision: float32, bfloat16 or float16.
      batch_size: images a step.
      is_whole: whether all variants are measured, and the ceilings beside them.
      is_first: whether several steps a call are measured too, and steps on prepared records.
    """

    model: str
    precision: str
    batch_size: int
    is_whole: bool
    is_first: bool = False

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
        "published": TF_CNN_BENCHMARKS,
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
    finish(content, tables(content))


def _given_or_small(flag: flags.FlagHolder, small: Any) -> Any:
    """The value of a flag; where there is no GPU, only what a user has asked for."""
    return flag.value if environment.has_gpu() or flags.FLAGS[flag.name].present else small


def _settings(has_gpu: bool) -> Iterator[Setting]:
    """In the order of their worth, as time may run out."""
    precisions = _given_or_small(PRECISIONS, PRECISIONS.value[:1])
    first, *others = _given_or_small(_BATCH_SIZES, [_SMALL_BATCH])
    for model in _given_or_small(MODELS, [_SMALL_MODEL]):
        for precision in precisions:
            is_first = precision == precisions[0]
            yield Setting(model, precision, int(first), is_whole=True, is_first=is_first)
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
    if setting.is_first:
        ours += _in_training(setting, has_gpu)
    usual = _PEERS if has_gpu and "pytorch" in peers.installed_peers() else ()
    selection = usual if PEERS.value is None else PEERS.value
    others, left_out = peers.peer_contenders(selection, "training_step", arguments)
    beside = ceilings(setting.precision) if setting.is_whole else []
    return [*ours, *others, *beside], left_out


def _in_training(setting: Setting, has_gpu: bool) -> list[Contender]:
    """Steps as `train_image_classifier` can take them: several a call, and on what it reads."""
    options = {"form": _FORMS[-1], "needs_gpu": has_gpu}
    arguments = _arguments(setting)
    together = max(2, arguments["steps"])
    return [
        Contender(
            f"{_SYNTHETIC}, {together} steps a call",
            "our_networks:training_step",
            {**arguments, **options, "steps": together, "steps_per_call": together},
        ),
        Contender(
            _END_TO_END,
            "prepared_photos:end_to_end",
            {**setting.label, **options, "num_photos": _PHOTOS if has_gpu else _SMALL_PHOTOS},
        ),
    ]


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
    products = [figures[GFLOPS] * 1e9 for figures in ceiling if GFLOPS in figures]
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
        if measurement.contender.name == _END_TO_END and _SYNTHETIC in case.measurements:
            synthetic = case.measurements[_SYNTHETIC].rates
            row["to_synthetic"] = paired_ratio(measurement.rates, synthetic)
        if best_peer and best_peer is not measurement:
            row["to_best_peer"] = paired_ratio(measurement.rates, best_peer.rates)
        rows.append(row)
    return rows


if __name__ == "__main__":
    run(main)
