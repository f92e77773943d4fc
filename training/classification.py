"""What a trained network says about images without labels, one answer for each file.

There are two kinds of classifier: a network with its preprocessing, as evaluation has it, and a
SavedModel that was exported. Both take files in batches, in order, and go on past a bad one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from image_datasets.file_reading import UNREADABLE
from image_datasets.image_dataset import ImageDataset
from preprocessing import image_formats, image_sizes
from preprocessing.decoding import plain_message
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from training import input_errors, input_pipeline
from training.ensemble import Ensemble, Member, images_in_a_batch

_SIGNATURE = "serving_bytes"
_SAVED_MODEL_FILE = "saved_model.pb"


class Answer(NamedTuple):
    """What a network says about one file.

    Attributes:
      path: of the file.
      probabilities: float32 [num_classes], in the order of the class names; None if the image
        cannot be read or decoded.
      error: why it cannot, to be read after the name of the file; empty if it can.
    """

    path: str
    probabilities: np.ndarray | None
    error: str = ""

    def likeliest(self, count: int) -> list[int]:
        """Returns the `count` likeliest classes, best first, or all; none if there is no answer."""
        if self.probabilities is None:
            return []
        # Of equal ones the first in the list comes first, as with tf.math.top_k.
        return np.argsort(-self.probabilities, kind="stable")[:count].tolist()


class ImageClassifier(Protocol):
    """What answers for files.

    Attributes:
      class_names: in the order of the probabilities.
    """

    class_names: list[str]

    def answers(self, paths: Sequence[str]) -> Iterator[Answer]:
        """Yields an answer for each file, in order, as batches are done.

        Args:
          paths: of the files. It does not matter what they are called.

        Raises:
          ValueError: if something else than a file is wrong.
        """


class NetworkClassifier:
    """A network with its weights, which answers as in evaluation.

    Args:
      member: the network and what feeds it.
      class_names: of the network's outputs.
      batch_size: images that the network sees at a time; crops are images too.
      num_crops: 1, or 10 whose softmax outputs are averaged.
      max_image_pixels: an image that has more by its header is not decoded; 0 sets no limit.
    """

    def __init__(
        self,
        member: Member,
        class_names: Sequence[str],
        *,
        batch_size: int,
        num_crops: int = 1,
        max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
    ):
        self.class_names = list(class_names)
        self._ensemble = Ensemble([member])
        self._image_size = member.image_size
        self._batch_size = images_in_a_batch(batch_size, num_crops)
        self._num_crops = num_crops
        self._max_image_pixels = max_image_pixels
        self._probabilities = tf.function(
            lambda batch: tf.exp(self._ensemble.log_probabilities(batch)), autograph=False
        )

    def answers(self, paths: Sequence[str]) -> Iterator[Answer]:
        """See `ImageClassifier.answers`."""
        if not paths:
            return
        dataset = _unlabelled(paths)
        batches = input_pipeline.evaluation_batches(
            dataset,
            self._ensemble.views,
            # The last batch is filled up, so that nothing is traced anew for it.
            batch_size=min(self._batch_size, len(paths)),
            image_size=self._image_size,
            num_crops=self._num_crops,
            skip_corrupt_images=True,
            max_image_pixels=self._max_image_pixels,
        )
        with _errors_explained(dataset, self._max_image_pixels):
            for batch in input_errors.marked(batches):
                probabilities = self._probabilities(batch).numpy()
                # What fills the last batch up has the index 0 as well.
                count = min(len(probabilities), len(paths) - int(batch["index"][0]))
                for number in range(count):
                    path = paths[int(batch["index"][number])]
                    if batch["weight"][number] > 0:
                        yield Answer(path, probabilities[number])
                        continue
                    was_read = batch["unread"][number] == 0
                    why = why_unusable(path, self._max_image_pixels, was_read)
                    yield Answer(path, None, why)


class SavedModelClassifier:
    """A SavedModel that `export_saved_model` wrote, which answers by its own signature.

    Args:
      folder: of the SavedModel.
      batch_size: images in a request.

    Raises:
      ValueError: if it cannot be loaded, or has not the signature of an export.
    """

    def __init__(self, folder: str, *, batch_size: int):
        try:
            with _loadable(folder) as path:
                self._model = tf.saved_model.load(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            message = plain_message(error) if isinstance(error, tf.errors.OpError) else error
            raise ValueError(f"The SavedModel {folder} cannot be loaded: {message}") from error
        self._answer = self._model.signatures.get(_SIGNATURE)
        answered = set(self._answer.structured_outputs) if self._answer else set()
        names = getattr(self._model, "class_names", None)
        if not {"probabilities", "valid"} <= answered or names is None:
            raise ValueError(
                f"{folder} holds a SavedModel without what export_saved_model gives it: the "
                f"signature {_SIGNATURE} with the answers `probabilities` and `valid`, and "
                "class_names. Export the checkpoint again, or give the checkpoint itself."
            )
        self.class_names = [name.decode() for name in names.numpy()]
        self._batch_size = batch_size

    def answers(self, paths: Sequence[str]) -> Iterator[Answer]:
        """See `ImageClassifier.answers`."""
        if not paths:
            return
        dataset = _unlabelled(paths)
        batch_size = min(self._batch_size, len(paths))
        batches = dataset.examples().batch(batch_size).prefetch(1)
        with _errors_explained(dataset):
            for batch in input_errors.marked(batches):
                contents, first = batch["image"], int(batch["index"][0])
                count = len(contents)
                # The last batch is filled up, so that nothing is compiled anew for it.
                full = tf.gather(contents, tf.minimum(tf.range(batch_size), count - 1))
                answers = {
                    key: answer.numpy() for key, answer in self._answer(image_bytes=full).items()
                }
                for number, path in enumerate(paths[first : first + count]):
                    if answers["valid"][number]:
                        yield Answer(path, answers["probabilities"][number])
                        continue
                    was_read = contents[number].numpy() != UNREADABLE
                    # How large an image may be is said in the export, where it cannot be read.
                    why = why_unusable(path, 0, was_read)
                    yield Answer(path, None, why)


def is_saved_model(path: str) -> bool:
    """Whether a folder holds a SavedModel."""
    return os.path.isfile(os.path.join(path, _SAVED_MODEL_FILE))


def why_unusable(
    path: str, max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS, was_read: bool = True
) -> str:
    """Says why a file is no image that can be classified, to be read after its name.

    Args:
      path: of a file that could not be read or decoded.
      max_image_pixels: that it was decoded with; 0 sets no limit.
      was_read: whether it could be read then.
    """
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not was_read:
        return "could not be read, though it can be now"
    if why := image_sizes.why_too_large(tf.constant(contents), max_image_pixels):
        return f"is too large: {why.removesuffix('.')}"
    return image_formats.why_not_decoded(contents)


def _unlabelled(paths: Sequence[str]) -> ImageDataset:
    """The files as a dataset, in their order.

    All have one label: an example without has no weight, as one that cannot be decoded has none.
    """
    return ImageDataset.from_files(
        "images", "train", {"train": [(path, 0) for path in paths]}, ["not told"], called="images"
    )


@contextlib.contextmanager
def _errors_explained(
    dataset: ImageDataset, max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS
) -> Iterator[None]:
    try:
        yield
    except input_errors.InputError as error:
        raise input_errors.explained(error, dataset, max_image_pixels) from error.__cause__


@contextlib.contextmanager
def _loadable(folder: str) -> Iterator[str]:
    r"""A path by which TensorFlow loads a SavedModel; it takes [ and \ for a pattern."""
    if not set("[\\") & set(folder) or os.sep == "\\":
        yield folder
        return
    with tempfile.TemporaryDirectory() as beside:
        link = os.path.join(beside, "saved_model")
        os.symlink(os.path.abspath(folder), link)
        yield link
