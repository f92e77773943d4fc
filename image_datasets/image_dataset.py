"""What every source of labelled images gives to training and evaluation."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets.file_names import same_spelling
from image_datasets.file_reading import read_files
from image_datasets.split_slices import SplitSlice, num_shared, parse_split

_FILES_READ_TOGETHER = 16  # by one thread, one after the other


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """One split of a labelled image dataset, in an order that never changes.

    Attributes:
      name: what the user called the dataset, for example "cifar10" or "folder".
      split: the split as the user wrote it, for example "train[:80%]".
      num_examples: how many examples the split selects; at least 1.
      class_names: the name of each label, so that `class_names[label]` names an example's class.
      make_examples: builds the dataset that `examples` returns.
      make_stored_examples: builds the dataset that `stored_examples` returns, given its `start`.
      describe: tells a user where to find the image at an index: the path of its file, or
        "example 17 of cifar10, split train[:80%]".
      fingerprint: of what the examples are and their order, 0 to 2**63 - 1, so that a run that goes
        on knows whether they have changed; 0 where the source does not tell.
      parts: the positions that the split selects, if the source knows them.
      absent_classes: names of classes without an example, if the source knows them unread.
      find_damage: reads the files of records that the split is in, and names one that is damaged,
        with what to do about it; None if all are whole, or if there are no such files.
    """

    name: str
    split: str
    num_examples: int
    class_names: tuple[str, ...]
    make_examples: Callable[[], tf.data.Dataset] = dataclasses.field(repr=False)
    describe: Callable[[int], str] = dataclasses.field(repr=False)
    make_stored_examples: Callable[[int], tf.data.Dataset] | None = dataclasses.field(
        default=None, repr=False
    )
    fingerprint: int = 0
    parts: tuple[SplitSlice, ...] = ()
    absent_classes: tuple[str, ...] = ()
    find_damage: Callable[[], str | None] = dataclasses.field(default=lambda: None, repr=False)

    @classmethod
    def from_files(
        cls,
        name: str,
        split: str,
        files: Mapping[str, Sequence[tuple[str, int]]],
        class_names: Sequence[str],
        *,
        root: str = "",
        called: str | None = None,
    ) -> ImageDataset:
        """Returns one split of a dataset whose images are files, which are read one by one.

        Args:
          name: of the dataset.
          split: in TFDS syntax: "train", "train[:80%]", "train+validation".
          files: for each split path and label of its images, in the order of examples. The order
            should mix the classes, so that "train[:10%]" is a fair sample.
          class_names: the name of each label.
          root: the folder that the paths are relative to.
          called: what error messages call the dataset; None is `name`.

        Returns:
          The dataset; `describe` gives the path of an image. One that cannot be read, also when it
          is tried again, is `file_reading.UNREADABLE` in its place.

        Raises:
          ValueError: if the split cannot be read, does not exist or selects nothing, or if a label
            has no name.
        """
        called = called or name
        split_infos = {
            part: tfds.core.SplitInfo(name=part, shard_lengths=[len(rows)], num_bytes=0)
            for part, rows in files.items()
        }
        parts = parse_split(split, split_infos, called)
        rows = [row for part in parts for row in files[part.name][part.start : part.stop]]
        for path, label in rows:
            if not -1 <= label < len(class_names):
                raise ValueError(
                    f"{path} of {called} has the label {label}; the names of its "
                    f"{len(class_names)} classes allow 0 to {len(class_names) - 1}, or -1 for an "
                    "image whose class is not told."
                )

        @functools.cache
        def path_and_label_tensors() -> tuple[tf.Tensor, tf.Tensor]:
            # Made once, outside any graph, so that a graph refers to a million paths rather than
            # holding a copy; and on first use, because a tensor starts TensorFlow's runtime, after
            # which multi-worker strategies can no longer be set up.
            with tf.init_scope(), tf.device("CPU:0"):
                full_paths = [os.fsencode(os.path.join(root, path)) for path, _ in rows]
                labels = [label for _, label in rows]
                return tf.constant(full_paths), tf.constant(labels, tf.int64)

        def make_examples(start: int = 0) -> tf.data.Dataset:
            examples = tf.data.Dataset.from_tensor_slices(path_and_label_tensors()).enumerate()
            read = (
                examples.skip(start)
                .batch(_FILES_READ_TOGETHER)
                .map(
                    lambda index, example: {
                        "image": read_files(example[0]),
                        "label": example[1],
                        "index": index,
                    },
                    num_parallel_calls=tf.data.AUTOTUNE,
                    deterministic=True,
                )
                .unbatch()
            )
            count = max(len(rows) - start, 0)
            return read.apply(tf.data.experimental.assert_cardinality(count))

        return cls(
            name=name,
            split=split,
            num_examples=len(rows),
            class_names=tuple(class_names),
            make_examples=make_examples,
            describe=lambda index: os.path.join(root, rows[index][0]),
            make_stored_examples=make_examples,
            fingerprint=fingerprint(f"{path}\0{label}" for path, label in rows),
            parts=tuple(parts),
            absent_classes=_absent_classes(class_names, {label for _, label in rows}),
        )

    @property
    def num_classes(self) -> int:
        """The number of classes; labels are 0 to `num_classes - 1`."""
        return len(self.class_names)

    def examples(self) -> tf.data.Dataset:
        """Returns the examples, each once, in the same order at every call.

        Nothing is shuffled, cached, repeated or decoded here. The result may also be built inside
        the function of `tf.data.Dataset.flat_map`.

        Returns:
          A dataset of dictionaries: "image", a scalar string with the encoded file, or uint8
          [height, width, 3] where the dataset keeps pixels; "label", int64 [], -1 where the
          dataset does not tell it; "index", int64 [], the position 0 to `num_examples - 1`. A file
          that `describe` names and that cannot be read is `file_reading.UNREADABLE`.
        """
        return self.make_examples()

    def num_shared(self, other: ImageDataset) -> int:
        """Returns how many examples `other`, a split of the same dataset, has as well.

        It is 0 where the sources do not know which positions their splits select.
        """
        return num_shared(self.parts, other.parts)

    def with_classes(self, class_names: Sequence[str]) -> ImageDataset:
        """Returns the same examples with the labels of other classes, matched by their names.

        Args:
          class_names: of the new labels. An example whose class is not among them gets -1. Accents
            may be spelled in either way.
        """
        new_labels = {same_spelling(name): label for label, name in enumerate(class_names)}
        labels = [new_labels.get(same_spelling(name), -1) for name in self.class_names]

        def relabel(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            label = tf.gather(tf.constant(labels, tf.int64), tf.maximum(example["label"], 0))
            return {**example, "label": tf.where(example["label"] < 0, example["label"], label)}

        def relabelled(examples: tf.data.Dataset) -> tf.data.Dataset:
            return examples.map(tf.autograph.experimental.do_not_convert(relabel))

        absent = set(self.absent_classes)
        there = {
            label
            for label, name in zip(labels, self.class_names, strict=True)
            if name not in absent
        }
        return dataclasses.replace(
            self,
            class_names=tuple(class_names),
            make_examples=lambda: relabelled(self.make_examples()),
            make_stored_examples=lambda start: relabelled(self.stored_examples(start)),
            absent_classes=_absent_classes(class_names, there),
        )

    def cached(self) -> ImageDataset:
        """Returns this dataset, whose examples stay in memory once all have been read.

        Encoded images stay encoded; so an example takes what it takes in its file.
        """
        examples = self.make_examples().cache()
        return dataclasses.replace(self, make_examples=lambda: examples)

    def stored_examples(self, start: int = 0) -> tf.data.Dataset:
        """Returns the examples from a position on, in the order in which slices count them.

        The example at position p is the one that the split "NAME[p:p+1]" selects. TFDS reads
        several files by turns, so that `examples` may have another order.

        Args:
          start: the first position; what comes before it is neither read nor decoded where the
            source can tell where it is.

        Returns:
          A dataset as `examples` gives, whose "index" is the position.
        """
        if self.make_stored_examples is None:
            return self.make_examples().skip(start)
        return self.make_stored_examples(start)


def fingerprint(parts: Iterable[str]) -> int:
    """A number, 0 to 2**63 - 1, that is another one for other texts or another order of them."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(os.fsencode(part) + b"\n")
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _absent_classes(class_names: Sequence[str], labels: Container[int]) -> tuple[str, ...]:
    return tuple(name for label, name in enumerate(class_names) if label not in labels)
