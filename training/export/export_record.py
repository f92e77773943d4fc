"""`export.json`: of which checkpoint an export is, and whether a newer one has taken its place."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
from typing import Annotated

from training.checkpoints.files import own_checkpoints_in, step_of
from training.storage.json_files import Between, make_dataclass, read_dataclass, read_object
from training.storage.whole_files import is_leftover

RECORD_NAME = "export.json"
_EVALUATION = os.path.join("evaluation", "evaluation.json")


@dataclasses.dataclass(frozen=True)
class ExportRecord:
    """What an export was made of.

    Attributes:
      format: `saved_model`, `tflite`, `onnx` or `keras`.
      precision: number type of its weights.
      model_name: of the network.
      checkpoint: the prefix of its files.
      step: that the checkpoint was saved at; None for weights from elsewhere.
      checkpoint_sha256: of the checkpoint's index, which holds checksums of all weights; None for
        weights from elsewhere.
      written: when, in UTC.
      slimzoo_version: that wrote it.
      files: all that the export consists of, besides this record, by their paths in its folder.
    """

    format: str
    precision: str
    model_name: str
    checkpoint: str
    step: int | None
    checkpoint_sha256: str | None
    written: str
    slimzoo_version: str
    files: list[str]

    def save(self, folder: str) -> None:
        """Writes `export.json` into a folder that is not in its place yet."""
        text = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        pathlib.Path(folder, RECORD_NAME).write_text(text, encoding="utf-8")

    @property
    def is_of(self) -> str:
        """The checkpoint, in words."""
        return os.path.basename(self.checkpoint) if self.step is None else f"step {self.step:,}"

    @property
    def flags(self) -> str:
        """The flags of `export_saved_model` that write it anew in its default folder."""
        flags = [f"--format={self.format}"] if self.format != "saved_model" else []
        flags += [f"--precision={self.precision}"] if self.precision != "float32" else []
        return " ".join([*flags, "--overwrite"])


def make_record(
    checkpoint: str,
    *,
    format: str,
    precision: str,
    model_name: str,
    version: str,
    files: list[str],
) -> ExportRecord:
    """Describes an export that is being written; arguments as the record's fields."""
    step, digest = step_and_digest(checkpoint)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return ExportRecord(
        format, precision, model_name, checkpoint, step, digest, now, version, sorted(files)
    )


def step_and_digest(checkpoint: str) -> tuple[int | None, str | None]:
    """The step of a checkpoint of a run and the SHA-256 of its index; None for other weights."""
    if checkpoint not in own_checkpoints_in(os.path.dirname(checkpoint)):
        return None, None
    index = pathlib.Path(f"{checkpoint}.index").read_bytes()
    return step_of(checkpoint), hashlib.sha256(index).hexdigest()


def read_record(folder: str) -> ExportRecord | None:
    """Reads the record of an export; None if the folder holds none."""
    try:
        return read_dataclass(ExportRecord, os.path.join(folder, RECORD_NAME))
    except (OSError, ValueError):
        return None


def check_replaceable(folder: str) -> None:
    """Checks that a folder holds an export, and nothing but that.

    Raises:
      ValueError: if not; such a folder is never removed.
    """
    record = read_record(folder)
    if record is None:
        raise ValueError(
            f"{folder} holds no {RECORD_NAME} and so is no export of this command; --overwrite "
            "does not replace it. Remove it, or give another --export_dir."
        )
    # An empty folder holds nothing that could be lost.
    others = sorted(set(files_below(folder)) - {*record.files, RECORD_NAME})
    if others:
        raise ValueError(
            f"{folder} holds what is not of the export: {', '.join(others[:5])}. --overwrite would "
            "remove it: move it, or give another --export_dir."
        )


def files_below(folder: str) -> list[str]:
    """The paths, relative to a folder, of all files in it at any depth, sorted."""
    return sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, folders, names in os.walk(folder)
        for name in [*names, *(one for one in folders if os.path.islink(os.path.join(place, one)))]
    )


@dataclasses.dataclass(frozen=True)
class MeasuredAccuracy:
    """What `evaluation.json` says of a checkpoint, as far as it is handed on with it.

    Attributes:
      top_1: share of the images whose likeliest class is theirs.
      num_examples: the images.
      num_classes: of the network.
      dataset_name: evaluated on.
      dataset_split_name: likewise.
      eval_crops: of each image.
      mixed_precision: number type in which the network computed.
      num_classes_with_images: in the split; None if it is not known.
      dataset_dir: where the dataset was; None if that was not said.
    """

    top_1: Annotated[float, Between(0, 1)]
    num_examples: Annotated[int, Between(1)]
    num_classes: int
    dataset_name: str
    dataset_split_name: str
    eval_crops: int
    mixed_precision: str
    num_classes_with_images: int | None = None
    dataset_dir: str | None = None


def accuracy_of(
    checkpoint: str, *, use_moving_average: bool, image_size: int
) -> MeasuredAccuracy | None:
    """The evaluation beside a checkpoint, if it is of what is exported; None if there is none.

    Args:
      checkpoint: that is exported.
      use_moving_average: whether the averages of the weights are, if the run kept them.
      image_size: height and width given to the network, in pixels.
    """
    names = [field.name for field in dataclasses.fields(MeasuredAccuracy)]
    try:
        found = read_object(os.path.join(os.path.dirname(checkpoint), _EVALUATION))
        accuracy = make_dataclass(
            MeasuredAccuracy, {name: found[name] for name in names if name in found}
        )
    except (OSError, ValueError):
        return None
    _, digest = step_and_digest(checkpoint)
    is_of_it = (
        digest is not None
        and found.get("checkpoint_sha256") == digest
        and found.get("use_moving_average") == use_moving_average
        and found.get("image_size") == image_size
    )
    return accuracy if is_of_it else None


@dataclasses.dataclass(frozen=True)
class Outdated:
    """What was made of an earlier checkpoint than the one beside it.

    Attributes:
      exports: folders, and their records.
      evaluation: what the evaluation is of; None if there is none or it is of today's.
    """

    exports: dict[str, ExportRecord]
    evaluation: str | None

    def lines(self, checkpoint: str) -> list[str]:
        """What to tell a user, a sentence a line."""
        now = f"{os.path.basename(checkpoint)} is there now"
        said = [
            f"NOTE: {folder} is of {record.is_of}, and {now}: export again, with {record.flags}."
            for folder, record in self.exports.items()
        ]
        if self.evaluation:
            folder = os.path.join(os.path.dirname(checkpoint), os.path.dirname(_EVALUATION))
            said.append(f"NOTE: {folder} is of {self.evaluation}, and {now}: evaluate again.")
        return said


def outdated(checkpoint: str) -> Outdated:
    """Finds the exports and the evaluation beside a checkpoint that are of another one."""
    folder = os.path.dirname(checkpoint)
    step, digest = step_and_digest(checkpoint)
    exports = {}
    for name in sorted(filter(lambda name: not is_leftover(name), os.listdir(folder))):
        record = read_record(os.path.join(folder, name))
        if record and (record.step, record.checkpoint_sha256) != (step, digest):
            exports[os.path.join(folder, name)] = record
    try:
        found = read_object(os.path.join(folder, _EVALUATION))
    except (OSError, ValueError):
        found = {}
    evaluated, evaluated_digest = found.get("checkpoint"), found.get("checkpoint_sha256")
    evaluation = os.path.basename(evaluated) if isinstance(evaluated, str) else None
    is_same = evaluation == os.path.basename(checkpoint)  # all that earlier versions tell
    if is_same and evaluated_digest in (digest, None):
        evaluation = None
    return Outdated(exports, evaluation)
