"""The page of a report: one file of HTML that a browser shows without a network or a server."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import jinja2
import markupsafe
import numpy as np
from plotly.offline import get_plotlyjs

from image_datasets.file_names import printable
from image_datasets.image_dataset import ImageDataset
from image_datasets.wordnet_names import readable_name
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from training.evaluation_report.answers import Answers
from training.evaluation_report.charts import (
    FEW_CLASSES,
    confusion_chart,
    curves_chart,
    reliability_chart,
)
from training.evaluation_report.measures import (
    ClassMeasures,
    ConfusionCounts,
    class_measures,
    confusion_counts,
    reliability,
    wilson_interval,
)
from training.evaluation_report.run_record import RunRecord
from training.evaluation_report.thumbnails import Thumbnail, thumbnails

_PHOTOS_OF_A_KIND = 24
_CLASSES_AT_THE_TOP = 10  # the worst; of more, as many of the best
_MOST_ROWS = 1000  # of classes in the page; all are in per_class.csv


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was evaluated, on what, and how.

    Attributes:
      model_name: the network, or several.
      dataset: what it was evaluated on.
      class_names: of the network's outputs.
      runs: what each checkpoint's run left of its training.
      loss: mean cross-entropy in nats.
      remarks: what a reader must know about the figures, as sentences.
      command: that made the evaluation.
      versions: of the software, by its name.
      max_image_pixels: larger images are not shown; 0 sets no limit.
    """

    model_name: str
    dataset: ImageDataset
    class_names: Sequence[str]
    runs: Sequence[RunRecord]
    loss: float
    remarks: Sequence[str]
    command: str
    versions: dict[str, str]
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS


@dataclasses.dataclass(frozen=True)
class _Bar:
    name: str
    share: float
    kind: str  # "true" class, "wrong" answer, or another


@dataclasses.dataclass(frozen=True)
class _Photo:
    """One image with its answers, as in figure 4 of the AlexNet paper of 2012."""

    place: str
    true: str
    picture: Thumbnail | None
    bars: list[_Bar]
    true_probability: float


@dataclasses.dataclass(frozen=True)
class _ClassRow:
    name: str
    support: int
    right: int
    recall: float
    precision: float
    f1: float
    taken_for: str
    taken_for_images: int


def page(evaluation: Evaluation, answers: Answers) -> str:
    """Returns the page as HTML."""
    names = names_for_people(evaluation.class_names)
    measures, counts = class_measures(answers), confusion_counts(answers)
    calibration = reliability(answers)
    confusion = confusion_chart(counts, names)
    figures = {"confusion": confusion.figure, "reliability": reliability_chart(calibration)}
    for number, run in enumerate(evaluation.runs):
        for kind, curves, title in (
            ("loss", run.losses, "loss (nats)"),
            ("accuracy", run.accuracies, "top-1"),
        ):
            if curves:
                figures[f"{kind}-{number}"] = curves_chart(
                    curves, title, run.epoch, kind == "accuracy"
                )
    rows = _class_rows(measures, counts, names)
    k = answers.top_classes.shape[1]
    right = int(answers.right.sum())
    scripts = {"plotly": get_plotlyjs(), "page": _template_source("page.js")}
    return (
        _environment()
        .get_template("page.html")
        .render(
            evaluation=evaluation,
            dataset=evaluation.dataset,
            date=datetime.datetime.now().astimezone(),
            num_images=len(answers.label),
            num_right=right,
            top_1=right / len(answers.label),
            interval=wilson_interval(right, len(answers.label)),
            k=k,
            top_k=float((answers.top_classes == answers.label[:, np.newaxis]).any(axis=1).mean()),
            calibration_error=calibration.expected_calibration_error,
            num_bins=len(calibration.images),
            mean_confidence=float(answers.confidence.mean(dtype=np.float64)),
            macro_f1=float(np.nanmean(measures.f1)),
            num_classes=len(names),
            num_present=len(measures.present),
            rows=rows[:_MOST_ROWS],
            num_rows=len(rows),
            worst=rows[:_CLASSES_AT_THE_TOP],
            best=rows[_CLASSES_AT_THE_TOP:][: -_CLASSES_AT_THE_TOP - 1 : -1],
            pairs=[
                (names[pair.true], names[pair.given], pair.images, int(measures.support[pair.true]))
                for pair in counts.most_confused(min(2 * _CLASSES_AT_THE_TOP, len(rows) + 1))
            ],
            photos=_photos(evaluation, answers, names),
            num_wrong=len(answers.label) - right,
            num_shown=len(confusion.classes),
            is_ordered=len(confusion.classes) > FEW_CLASSES,
            order_by_label=confusion.by_label.tolist(),
            shown_names=[names[label] for label in confusion.classes],
            # No tag can begin in JSON of plotly, which escapes "<".
            figures={name: markupsafe.Markup(figure.to_json()) for name, figure in figures.items()},
            scripts={name: markupsafe.Markup(source) for name, source in scripts.items()},
            policy=_content_security_policy(scripts.values()),
        )
    )


def names_for_people(class_names: Sequence[str]) -> list[str]:
    """Names of classes as the page shows them, each on one line; see `readable_name`."""
    return [printable(readable_name(name)) for name in class_names]


def _class_rows(
    measures: ClassMeasures, counts: ConfusionCounts, names: Sequence[str]
) -> list[_ClassRow]:
    """The classes that have images, the worst first."""
    recall, precision, f1 = measures.recall, measures.precision, measures.f1
    most = {pair.true: pair for pair in reversed(counts.most_confused(len(counts.images)))}
    rows = []
    for label in measures.worst_first().tolist():
        taken_for = most.get(label)
        rows.append(
            _ClassRow(
                names[label],
                int(measures.support[label]),
                int(measures.right[label]),
                float(recall[label]),
                float(precision[label]),
                float(f1[label]),
                names[taken_for.given] if taken_for else "",
                taken_for.images if taken_for else 0,
            )
        )
    return rows


def _photos(
    evaluation: Evaluation, answers: Answers, names: Sequence[str]
) -> dict[str, list[_Photo]]:
    """The images that were wrong with most confidence, and right with least."""
    chosen = {
        "wrong": answers.most_confident_mistakes(_PHOTOS_OF_A_KIND),
        "right": answers.least_confident_right(_PHOTOS_OF_A_KIND),
    }
    indices = answers.index[np.concatenate(list(chosen.values()))]
    pictures = thumbnails(evaluation.dataset, indices.tolist(), evaluation.max_image_pixels)

    def photo(position: int) -> _Photo:
        label, index = int(answers.label[position]), int(answers.index[position])
        bars = [
            _Bar(
                names[given],
                float(share),
                "true" if given == label else "" if rank else "wrong",
            )
            for rank, (given, share) in enumerate(
                zip(
                    answers.top_classes[position].tolist(),
                    answers.top_probabilities[position],
                    strict=True,
                )
            )
        ]
        place = printable(evaluation.dataset.describe(index))
        probability = float(answers.true_probability[position])
        return _Photo(place, names[label], pictures.get(index), bars, probability)

    return {kind: [photo(int(position)) for position in found] for kind, found in chosen.items()}


# ----------------------------------------------------------------------- the template


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.evaluation_report"),
        autoescape=True,  # names of classes and files are anybody's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, count=_count, short_place=_short_place)
    return environment


def _template_source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _short_place(place: str) -> str:
    """The name of an image's file; or all that tells which example it is."""
    return place if place.startswith("example ") else os.path.basename(place)


def _percent(share: float, digits: int = 1) -> str:
    return "\N{EN DASH}" if math.isnan(share) else f"{share:.{digits}%}"


def _count(number: int, noun: str = "", plural: str = "") -> str:
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _content_security_policy(scripts: Any) -> str:
    """Forbids the page to load anything, and to run scripts other than these."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
