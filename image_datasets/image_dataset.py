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
      describe: tells a user where to find the image at an index: the path of its file, or
        "example 17 of cifar10, split train[:80%]".
    """

    name: str
    split: str
    num_examples: int
    class_names: tuple[str, ...]
    make_examples: Callable[[], tf.data.Dataset] = dataclasses.field(repr=False)
    describe: Callable[[int], str] = dataclasses.field(repr=False)

    @property
    def num_classes(self) -> int:
        """The number of classes; labels are 0 to `num_classes - 1`."""
        return len(self.class_names)

    def examples(self) -> tf.data.Dataset:
        """Returns the examples, each once, in the same order at every call.

        Nothing is shuffled, cached, repeated or decoded here. The result may also be built inside
        the function of `tf.data.Dataset.flat_map`.

        Returns:
          A dataset of dictionaries: "image", a scalar string with the encoded file; "label",
          int64 []; "index", int64 [], the position 0 to `num_examples - 1`.
        """
        return self.make_examples()
