"""Evaluation that counts every example once."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tqdm

from image_datasets.image_dataset import ImageDataset
from nets.nets_factory import NetworkFn
from preprocessing.base import Preprocessing
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS
from training import devices, input_errors, input_pipeline
from training.ensemble import Ensemble, Member
from training.input_pipeline import Example
from training.storage.whole_files import written_whole

MAX_NAMES = 100
"""How many of the images that were left out are named."""


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found. All averages are over `num_examples`.

    Attributes:
      num_examples: images that were counted.
      num_skipped: images that were left out: they could not be read or decoded, or their class is
        below the labels' offset.
      loss: mean cross-entropy in nats, of the averaged softmax outputs if there are ten crops or
        several networks.
      top_1: share of examples whose likeliest class is right.
      top_k: share of examples whose class is among the `k` likeliest.
      k: 5, or the number of classes if that is less.
      num_unread: how many of those left out could not be read.
      skipped: names of those left out, of the first `MAX_NAMES` if they are more.
      majority: share of examples that have the most frequent class: who names it always has this
        top-1.
    """

    num_examples: int
    num_skipped: int
    loss: float
    top_1: float
    top_k: float
    k: int
    num_unread: int = 0
    skipped: tuple[str, ...] = ()
    majority: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """What was counted and averaged, with `top_5` (or `top_3`, ...) for `top_k`."""
        values = dataclasses.asdict(self)
        for name in ("skipped", "majority"):
            del values[name]
        k = values.pop("k")
        values[f"top_{k}"] = values.pop("top_k")
        return values

    def averages(self) -> str:
        """The averages, for people."""
        top_k = "" if self.k == 1 else f"top-{self.k} {self.top_k:.2%}, "
        return f"top-1 {self.top_1:.2%}, {top_k}loss {self.loss:.4f}"

    def __str__(self) -> str:
        return f"{self.averages()}, {self.num_examples:,} images"


class TakesAnswers(Protocol):
    """What is given the answers for each batch."""

    def add(self, batch: dict[str, np.ndarray]) -> None:
        """Takes "index", "label", "loss" [n], "probabilities" [n, classes], "top_classes" [n, k].

        Only of images that count.
        """


class Evaluator:
    """Evaluates a network on a dataset, again and again if need be.

    Args:
      network_fn: the network.
      preprocessing: made for evaluation; both its halves are used.
      dataset: what to evaluate on.
      strategy: the devices that share the work.
      batch_size: images in a batch, over all replicas.
      image_size: height and width given to the network, in pixels.
      num_crops: 1 or 10, whose softmax outputs are averaged.
      others: further networks, with whose softmax outputs this one's are averaged.
      labels_offset: subtracted from labels.
      skip_corrupt_images: leaves out and counts images that cannot be read or decoded.
      max_image_pixels: images that have more cannot be decoded; 0 sets no limit.
      max_num_batches: stops there; None is all.
    """

    def __init__(
        self,
        network_fn: NetworkFn,
        preprocessing: Preprocessing,
        dataset: ImageDataset,
        strategy: tf.distribute.Strategy,
        *,
        batch_size: int,
        image_size: int,
        num_crops: int = 1,
        others: Sequence[Member] = (),
        labels_offset: int = 0,
        skip_corrupt_images: bool = False,
        max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
        max_num_batches: int | None = None,
    ):
        devices.per_replica_batch_size(batch_size, strategy)
        self._ensemble = Ensemble([Member(network_fn, preprocessing, image_size), *others])
        self._dataset = dataset
        self._strategy = strategy
        batches = input_pipeline.evaluation_batches(
            dataset,
            self._ensemble.views,
            batch_size=batch_size,
            image_size=image_size,
            num_crops=num_crops,
            labels_offset=labels_offset,
            skip_corrupt_images=skip_corrupt_images,
            max_image_pixels=max_image_pixels,
        )
        self._max_image_pixels = max_image_pixels
        if max_num_batches:
            batches = batches.take(max_num_batches)
        self._num_batches = min(
            -(-dataset.num_examples // batch_size), max_num_batches or dataset.num_examples
        )
        self._batches = strategy.experimental_distribute_dataset(batches)
        self._step = tf.function(
            lambda batch: strategy.run(self._replica_step, (batch,)), autograph=False
        )

    def run(
        self,
        predictions: TakesAnswers | None = None,
        progress: bool = True,
        *,
        answers: TakesAnswers | None = None,
    ) -> EvaluationResult:
        """Evaluates once.

        Args:
          predictions: takes the answer for each example, if given; on one host only.
          progress: whether to show a progress bar on a terminal.
          answers: takes them as well, for a report.

        Returns:
          The averages.

        Raises:
          ValueError: if an image cannot be read or decoded and such are not to be skipped, if the
            source of the images fails, or if none is left.
        """
        bar = tqdm.tqdm(
            total=self._num_batches,
            desc="evaluating",
            unit="batch",
            leave=False,
            disable=None if progress else True,
        )
        k = min(5, self._ensemble.num_classes)
        totals = np.zeros(5)
        num_of_class = np.zeros(self._ensemble.num_classes, np.int64)
        seen = 0
        skipped: list[str] = []
        with bar:
            for batch in self._answers():
                counted = batch["weight"] > 0
                hits = batch["top_classes"] == batch["label"][:, np.newaxis]
                totals += [
                    counted.sum(),
                    batch["loss"][counted].sum(dtype=np.float64),
                    hits[counted, 0].sum(),
                    hits[counted, :k].sum(),
                    batch["unread"].sum(),
                ]
                num_of_class += np.bincount(batch["label"][counted], minlength=len(num_of_class))
                seen += len(counted)
                left_out = batch["index"][~counted & (batch["index"] >= 0)]
                names = map(self._dataset.describe, left_out[: MAX_NAMES - len(skipped)].tolist())
                skipped.extend(names)
                counted_batch = {key: value[counted] for key, value in batch.items()}
                for taker in filter(None, (predictions, answers)):
                    taker.add(counted_batch)
                bar.update()
        count, loss, top_1, top_k, unread = totals
        expected = min(seen, self._dataset.num_examples)
        if not count:
            raise ValueError(
                f"No image of {self._dataset.name}, split {self._dataset.split}, could be counted."
            )
        return EvaluationResult(
            int(count),
            expected - int(count),
            loss / count,
            top_1 / count,
            top_k / count,
            k,
            num_unread=int(unread),
            skipped=tuple(skipped),
            majority=num_of_class.max() / count,
        )

    def _answers(self) -> Iterator[dict[str, np.ndarray]]:
        """The answers for each batch, over all replicas of all hosts."""
        try:
            for batch in input_errors.marked(self._batches):
                yield {key: self._gather(answer) for key, answer in self._step(batch).items()}
        except input_errors.InputError as error:
            explained = input_errors.explained(error, self._dataset, self._max_image_pixels)
            raise explained from error.__cause__

    def _gather(self, answer: tf.Tensor) -> np.ndarray:
        if isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return self._strategy.gather(answer, axis=0).numpy()
        # On one host nothing has to be sent.
        return np.concatenate(self._strategy.experimental_local_results(answer))

    def _replica_step(self, batch: Example) -> Example:
        averaged = self._ensemble.log_probabilities(batch)
        return {
            "loss": -tf.gather(averaged, batch["label"], axis=1, batch_dims=1),
            "probabilities": tf.exp(averaged),
            "top_classes": tf.math.top_k(averaged, min(5, averaged.shape[-1])).indices,
            **{key: batch[key] for key in ("label", "weight", "unread", "index")},
        }


class Predictions:
    """Writes the answer for each example as a line of a CSV file; a context manager.

    An earlier file stays until the end, and for good if that does not come.

    Args:
      path: of the file.
      dataset: names examples and classes.
      class_names: of the network's outputs.
    """

    def __init__(self, path: str, dataset: ImageDataset, class_names: list[str]):
        # Both are left in __exit__.
        self._whole = contextlib.ExitStack()
        temporary = self._whole.enter_context(written_whole(path))
        file = open(temporary, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._file = self._whole.enter_context(file)
        self._writer = csv.writer(self._file)
        self._dataset = dataset
        self._class_names = class_names
        self._writer.writerow(
            ["index", "example", "label", "prediction", "probability", "loss"]
            + [f"probability:{name}" for name in class_names]
        )

    def add(self, batch: dict[str, np.ndarray]) -> None:
        """Writes a batch of answers."""
        for i, index in enumerate(batch["index"]):
            probabilities = batch["probabilities"][i]
            best = batch["top_classes"][i, 0]
            self._writer.writerow(
                [
                    index,
                    self._dataset.describe(int(index)),
                    self._class_names[batch["label"][i]],
                    self._class_names[best],
                    f"{probabilities[best]:.8g}",
                    f"{batch['loss'][i]:.8g}",
                ]
                + [f"{probability:.8g}" for probability in probabilities]
            )

    def __enter__(self) -> Predictions:
        """Returns itself."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Puts the file in its place, or removes it if there was an error."""
        self._whole.__exit__(*error)


def why_left_out(skip_corrupt_images: bool, left_out: int = 1, unread: int = 0) -> str:
    """What images may have been left out for, after "an image was left out: ".

    Args:
      skip_corrupt_images: whether images that cannot be read or decoded are left out.
      left_out: how many were.
      unread: how many of them could not be read.
    """
    others = "of a class that is unknown or below --labels_offset"
    if skip_corrupt_images:
        others = f"not decoded, or {others}"
    if not unread:
        return others
    if unread == left_out:
        return "not read"
    return f"{unread:,} not read, the others {others}"
