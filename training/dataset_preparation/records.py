"""Records of images of one size as TFDS reads them: the features, and one file of them at a time.

A file of records appears under its name when it is complete, and then the sums over its images lie
beside it already; what a killed process leaves has another name and is written again.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.record_files import FileRecord, measured
from training.dataset_preparation.pixel_statistics import PixelSums
from training.storage.whole_files import written_whole

ENCODINGS = ("jpeg", "raw")


@dataclasses.dataclass(frozen=True)
class PreparedImage:
    """An image on its way into a record.

    Attributes:
      position: in the split of the source.
      image: uint8 [image_size, image_size, 3]; None if it could not be read or decoded.
      products: int64 [3, 3], its `pixel_products`.
      encoded: what the record keeps of it.
      label: -1 if the source does not tell it.
      unread: whether it could not be read.
    """

    position: int
    image: npt.NDArray[np.uint8] | None
    products: npt.NDArray[np.int64]
    encoded: bytes
    label: int
    unread: bool = False


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of the files that a split is divided into.

    Attributes:
      path: of the file.
      sums_path: of the file with the sums over its images.
      start, stop: the positions in the split of the source that it holds.
    """

    path: pathlib.Path
    sums_path: pathlib.Path
    start: int
    stop: int

    def is_complete(self) -> bool:
        """Whether the file is there as it was written, and its sums are."""
        if not self.path.exists() or not self.sums_path.exists():
            return False
        try:
            record = self.read_record()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False  # sums that are torn are written again, with the file
        return record is None or record.num_bytes == self.path.stat().st_size

    def read_record(self) -> FileRecord | None:
        """Returns size and checksum of a complete shard; None if an earlier version wrote it."""
        with np.load(self.sums_path) as arrays:
            if "sha256" not in arrays:
                return None
            return FileRecord(int(arrays["num_bytes"]), str(arrays["sha256"]))

    def read_sums(self) -> tuple[PixelSums, list[int]]:
        """Returns the sums over the images of a complete shard, and positions left out of it."""
        with np.load(self.sums_path) as arrays:
            return PixelSums.from_arrays(arrays), arrays["skipped"].tolist()

    def write(
        self, images: Iterable[PreparedImage], image_size: int
    ) -> Generator[PreparedImage, None, None]:
        """Writes the file and its sums, and gives each image on once it is written.

        What has been written is removed when the iterator is closed before its end.

        Args:
          images: those of its positions, in order.
          image_size: their height and width, in pixels.
        """
        sums = PixelSums(image_size)
        skipped: list[int] = []
        with written_whole(str(self.path)) as records:
            with tf.io.TFRecordWriter(records) as writer:
                for image in images:
                    if image.image is None:
                        skipped.append(image.position)
                    else:
                        writer.write(serialized_example(image.encoded, image.label))
                        sums.add(image.image, image.products)
                    yield image
            _flush_to_disk(pathlib.Path(records))
            record = measured(pathlib.Path(records))
            arrays: dict[str, Any] = {
                "skipped": np.array(skipped, np.int64),
                "num_bytes": np.array(record.num_bytes),
                "sha256": np.array(record.sha256),
                **sums.arrays(),
            }
            self.sums_path.parent.mkdir(exist_ok=True)
            # The records come last: where they are, the sums are too.
            with (
                written_whole(str(self.sums_path)) as unfinished_sums,
                open(unfinished_sums, "wb") as file,
            ):
                np.savez(file, **arrays)


def make_features(
    image_size: int, encoding: str, class_names: Iterable[str]
) -> tfds.features.FeaturesDict:
    """Returns the features of the records.

    Args:
      image_size: height and width, in pixels.
      encoding: "jpeg" or "raw". Raw pixels are stored as bytes: TFDS's default would make eight
        of each, as the records know no smaller integer.
      class_names: of the labels.
    """
    shape = (image_size, image_size, 3)
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape, encoding_format="jpeg")
            if encoding == "jpeg"
            else tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
            "label": tfds.features.ClassLabel(names=list(class_names)),
        }
    )


def serialized_example(encoded: bytes, label: int) -> bytes:
    """The record of an image: what is kept of its pixels, and its label."""
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(encoded)
    example.features.feature["label"].int64_list.value.append(label)
    # The order of a map's entries is free, but the same input should give the same file.
    return example.SerializeToString(deterministic=True)


def _flush_to_disk(path: pathlib.Path) -> None:
    """Keeps a power cut from leaving a file that has its final name and not all of its bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_metadata(
    folder: pathlib.Path,
    features: tfds.features.FeaturesDict,
    lengths: dict[str, list[int]],
    shards: dict[str, list[Shard]],
    **description: Any,
) -> None:
    """Writes what TFDS needs to know in order to read the records.

    Args:
      folder: that holds the records.
      features: of a record.
      lengths: the number of examples in each shard of each split.
      shards: of each split.
      **description: further fields of `tfds.core.DatasetInfo`.
    """
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder),
        features=features,
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths[split],
                num_bytes=sum(shard.path.stat().st_size for shard in shards[split]),
            )
            for split in shards
        ],
        supervised_keys=("image", "label"),
        check_data=False,
        **description,
    )
