"""Where a prepared dataset goes, what was asked of it, and how far it has come.

output_dir/tf_flowers_256/1.0.0/                what TFDS reads: the finished dataset
tf_flowers_256-train.tfrecord-00000-of-00004 ...
dataset_info.json, features.json, label.labels.txt
preparation.json                            what was asked for, and what was left out
dataset_statistics.json, mean_image.npy
checksums.tsv                               name, bytes and SHA-256 of each of these but the plan
output_dir/tf_flowers_256/1.0.0.incomplete/     the same, while it is being written
sums/                                       of each complete file of records
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import tqdm

from image_datasets.record_files import CHECKSUMS_NAME, checksums_text, measured, read_checksums
from training.dataset_preparation.records import Shard
from training.storage.json_files import check_types, read_object
from training.storage.locks import locked
from training.storage.whole_files import write_text

VERSION = "1.0.0"
_PLAN_NAME = "preparation.json"


@dataclasses.dataclass(frozen=True)
class PreparationPlan:
    """All that decides what the files of a prepared dataset hold.

    Attributes:
      prepared_name: what the prepared dataset is called.
      dataset_name: the source.
      dataset_dir: the folder of images; None for a dataset of TFDS, which is known by its name.
      splits: the number of examples in each split of the source, those that cannot be decoded
        included.
      class_names: of the labels.
      image_size: height and width, in pixels.
      encoding: "jpeg" or "raw".
      jpeg_quality: of "jpeg"; None for "raw".
      examples_per_shard: examples of the source in a file.
      respect_exif: whether photos are turned as their cameras noted.
    """

    prepared_name: str
    dataset_name: str
    dataset_dir: str | None
    splits: dict[str, int]
    class_names: list[str]
    image_size: int
    encoding: str
    jpeg_quality: int | None
    examples_per_shard: int
    respect_exif: bool = False

    @property
    def training_split(self) -> str:
        """The split whose statistics are the dataset's: "train", or else the first."""
        return "train" if "train" in self.splits else next(iter(self.splits))


class PreparedDirectory:
    """The folder of one prepared dataset.

    Args:
      output_dir: a data_dir of TFDS.
      plan: what is asked for.

    Attributes:
      folder: of the finished dataset.
      incomplete: the folder in which it is written.
      plan: what is asked for.
    """

    def __init__(self, output_dir: str, plan: PreparationPlan):
        self.plan = plan
        self.folder = pathlib.Path(output_dir, plan.prepared_name, VERSION)
        self.incomplete = self.folder.with_name(f"{VERSION}.incomplete")

    def is_finished(self) -> bool:
        """Whether the dataset is there, as planned.

        Raises:
          ValueError: if another one is there, finished or not.
        """
        for folder in (self.folder, self.incomplete):
            if folder.exists():
                self._check_same_plan(folder)
        return self.folder.exists()

    def lost_shards(self) -> dict[str, list[Shard]]:
        """Returns the files of each split that are not in the finished folder any more.

        They are to be written there again, and are then to have the checksums that are recorded.

        Raises:
          ValueError: if some are lost and there are no checksums.
        """
        lost = {
            split: [
                dataclasses.replace(
                    shard,
                    path=self.folder / shard.path.name,
                    sums_path=self.folder / "sums" / shard.sums_path.name,
                )
                for shard in self.shards(split)
                if not (self.folder / shard.path.name).exists()
            ]
            for split in self.plan.splits
        }
        names = [shard.path.name for shards in lost.values() for shard in shards]
        if names and read_checksums(self.folder) is None:
            raise self._damaged(f"{', '.join(names[:3])} is not there any more")
        return {split: shards for split, shards in lost.items() if shards}

    def check_rewritten(self, shard: Shard) -> None:
        """Raises ValueError, and removes the file, if a lost one has become another."""
        records = read_checksums(self.folder) or {}
        if shard.read_record() != records.get(shard.path.name):
            shard.path.unlink()
            raise self._damaged(
                f"{shard.path.name} was lost, and cannot be written again as it was: the images, "
                "or the programs that decode them, have changed"
            )

    def remove_temporary_files(self) -> None:
        """Removes from the finished folder what is needed while lost files are written again."""
        shutil.rmtree(self.folder / "sums", ignore_errors=True)
        for path in self.folder.glob("*.incomplete"):
            path.unlink()

    def verify(self) -> str:
        """Compares all files of the finished dataset with their checksums, which reads them all.

        Returns:
          What was compared, for people.

        Raises:
          ValueError: naming a file that is another than was written, and what to do.
        """
        records = read_checksums(self.folder)
        if records is None:
            return "It has no checksums, as an earlier version prepared it."
        total = sum(record.num_bytes for record in records.values())
        with tqdm.tqdm(
            total=total, desc="verifying", unit="B", unit_scale=True, leave=False, disable=None
        ) as bar:
            for name, record in records.items():
                path = self.folder / name
                if not path.exists():
                    raise self._damaged(f"{name} is not there any more")
                # The sizes first: no need to read what has another one.
                if path.stat().st_size != record.num_bytes or measured(path, bar.update) != record:
                    raise self._not_as_written(path)
        return (
            f"Its {len(records):,} files ({total / 1e6:,.1f} MB) have the checksums with which "
            "they were written."
        )

    def _not_as_written(self, path: pathlib.Path) -> ValueError:
        if ".tfrecord" not in path.name:
            return self._damaged(f"{path.name} is not as it was written")
        return ValueError(
            f"{path} is damaged: it is not as it was written. Remove that file, and the same "
            "command writes it again."
        )

    def _damaged(self, why: str) -> ValueError:
        return ValueError(
            f"{self.folder} is damaged: {why}. Remove that folder, and the same command prepares "
            "the dataset again."
        )

    @contextlib.contextmanager
    def being_written(self) -> Iterator[None]:
        """Creates the incomplete folder if need be, and keeps other processes out of it.

        Raises:
          ValueError: if another process is writing there.
          OSError: if the folder cannot be created.
        """
        try:
            self.incomplete.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"--output_dir: the folder {self.incomplete} cannot be created: {error.strerror}."
            ) from error
        with locked(self.incomplete):
            if not (self.incomplete / _PLAN_NAME).exists():
                self._write_plan()
            yield

    def shards(self, split: str) -> list[Shard]:
        """Returns the files of a split that are or will be in the incomplete folder."""
        num_examples, size = self.plan.splits[split], self.plan.examples_per_shard
        count = -(-num_examples // size)
        name = f"{self.plan.prepared_name}-{split}.tfrecord"
        return [
            Shard(
                path=self.incomplete / f"{name}-{number:05d}-of-{count:05d}",
                sums_path=self.incomplete / "sums" / f"{split}-{number:05d}.npz",
                start=number * size,
                stop=min((number + 1) * size, num_examples),
            )
            for number in range(count)
        ]

    def num_complete(self, split: str) -> int:
        """Returns how many shards of a split, from the first on, are complete."""
        shards = self.shards(split)
        complete = (number for number, shard in enumerate(shards) if not shard.is_complete())
        return next(complete, len(shards))

    def needs_finishing_only(self) -> bool:
        """Whether all files are written, and only removing and renaming was interrupted."""
        return _read_json(self.incomplete / _PLAN_NAME).get("is_complete", False)

    def finish(self, skipped: dict[str, list[str]]) -> None:
        """Removes temporary files and renames the folder to its final name.

        Call it after everything else has been written.

        Args:
          skipped: for each split, descriptions of the images that were left out.
        """
        if not self.needs_finishing_only():
            self._write_checksums()
            self._write_plan(is_complete=True, skipped_images=skipped)
        shutil.rmtree(self.incomplete / "sums", ignore_errors=True)
        for path in self.incomplete.glob("*.incomplete"):
            path.unlink()
        self.incomplete.replace(self.folder)

    def skipped_images(self) -> dict[str, list[str]]:
        """Returns, for each split of the finished dataset, what was left out of it."""
        return _read_json(self.folder / _PLAN_NAME).get("skipped_images", {})

    def _write_checksums(self) -> None:
        shards = [shard for split in self.plan.splits for shard in self.shards(split)]
        records = {shard.path.name: shard.read_record() for shard in shards}
        for path in sorted(self.incomplete.iterdir()):
            is_other = path.is_file() and path.suffix != ".incomplete"
            if is_other and path.name not in (_PLAN_NAME, CHECKSUMS_NAME):
                records[path.name] = records.get(path.name) or measured(path)
        text = checksums_text({name: record for name, record in records.items() if record})
        write_text(str(self.incomplete / CHECKSUMS_NAME), text)

    def _write_plan(self, **more: Any) -> None:
        document = {**dataclasses.asdict(self.plan), **more}
        write_text(str(self.incomplete / _PLAN_NAME), json.dumps(document, indent=2) + "\n")

    def _check_same_plan(self, folder: pathlib.Path) -> None:
        if folder == self.incomplete and all(
            path.suffix == ".incomplete" for path in folder.iterdir()
        ):
            return  # it ended before the plan was written whole
        if not (folder / _PLAN_NAME).exists():
            raise ValueError(
                f"{folder} exists and was not made by prepare_dataset, which overwrites nothing. "
                "Give another --output_dir or --prepared_name."
            )
        there = {"respect_exif": False, **_read_json(folder / _PLAN_NAME)}
        asked = json.loads(json.dumps(dataclasses.asdict(self.plan)))
        differences = [
            f"  {key}: {_shown(there.get(key))} there, {_shown(value)} asked for"
            for key, value in asked.items()
            if there.get(key) != value
        ]
        if differences:
            state = "an unfinished" if folder == self.incomplete else "a"
            raise ValueError(
                f"{folder} holds {state} dataset prepared differently, and is not overwritten:\n"
                + "\n".join(differences)
                + "\nAsk for what is there, give another --prepared_name or --output_dir, or "
                "remove that folder."
            )


def respects_exif_there(output_dir: str, prepared_name: str) -> bool | None:
    """Returns whether photos are turned in a prepared dataset, finished or not; None without one.

    Raises:
      ValueError: if what it says of itself is damaged.
    """
    for version in (VERSION, f"{VERSION}.incomplete"):
        path = pathlib.Path(output_dir, prepared_name, version, _PLAN_NAME)
        if path.exists():
            return bool(_read_json(path).get("respect_exif", False))
    return None


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        document = read_object(path)
        check_types(document, {"is_complete": bool, "skipped_images": dict[str, list[str]]})
        return document
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Remove its folder to start anew.") from error


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
