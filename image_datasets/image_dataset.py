"""What every source of labelled images gives to training and evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf


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
          dataset does not tell it; "index", int64 [], the position 0 to `num_examples - 1`.
        """
        return self.make_examples()

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
