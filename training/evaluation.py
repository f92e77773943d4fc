"""Evaluation that counts every example once."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from nets.nets_factory import NetworkFn
from preprocessing.base import Preprocessing
from slimzoo.configuration import EvaluationConfig
from training import devices, input_pipeline
from training.checkpoints import run_directory
from training.checkpoints.run_directory import ModelDescription
from training.checkpoints.trained_model import check_classes, load_trained_model
from training.input_pipeline import Example, compiled_device_half


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found. All averages are over `num_examples`.

    Attributes:
      num_examples: images that were counted.
      num_skipped: images that were left out: they could not be decoded, or their class is below
        the labels' offset.
      loss: mean cross-entropy in nats, of the averaged softmax outputs if there are ten crops or
        several networks.
      top_1: share of examples whose likeliest class is right.
      top_k: share of examples whose class is among the `k` likeliest.
      k: 5, or the number of classes if that is less.
    """

    num_examples: int
    num_skipped: int
    loss: float
    top_1: float
    top_k: float
    k: int

    def as_json(self) -> dict[str, Any]:
        """A dictionary with `top_5` (or `top_3`, ...) for `top_k`."""
        values = dataclasses.asdict(self)
        k = values.pop("k")
        values[f"top_{k}"] = values.pop("top_k")
        return values

    def __str__(self) -> str:
        top_k = "" if self.k == 1 else f"top-{self.k} {self.top_k:.2%}, "
        return f"top-1 {self.top_1:.2%}, {top_k}loss {self.loss:.4f}, {self.num_examples:,} images"


class Member(NamedTuple):
    """One of several networks whose softmax outputs are averaged, and what it is fed with.

    Attributes:
      network_fn: the network.
      preprocessing: made for evaluation.
      image_size: height and width given to the network, in pixels.
    """

    network_fn: NetworkFn
    preprocessing: Preprocessing
    image_size: int


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
      skip_corrupt_images: leaves out and counts images that cannot be decoded.
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
        max_num_batches: int | None = None,
    ):
        devices.per_replica_batch_size(batch_size, strategy)
        self._members = [Member(network_fn, preprocessing, image_size), *others]
        self._views = input_pipeline.Views(
            [(member.preprocessing, member.image_size) for member in self._members]
        )
        self._device_halves = [
            compiled_device_half(
                member.preprocessing, tf.as_dtype(member.network_fn.model.compute_dtype)
            )
            for member in self._members
        ]
        self._dataset = dataset
        self._strategy = strategy
        batches = input_pipeline.evaluation_batches(
            dataset,
            self._views,
            batch_size=batch_size,
            image_size=image_size,
            num_crops=num_crops,
            labels_offset=labels_offset,
            skip_corrupt_images=skip_corrupt_images,
        )
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
        self, predictions: Predictions | None = None, progress: bool = True
    ) -> EvaluationResult:
        """Evaluates once.

        Args:
          predictions: takes the answer for each example, if given; on one host only.
          progress: whether to show a progress bar on a terminal.

        Returns:
          The averages.

        Raises:
          ValueError: if an image cannot be decoded and such are not to be skipped, or if none is
            left.
        """
        bar = tqdm.tqdm(
            total=self._num_batches,
            desc="evaluating",
            unit="batch",
            leave=False,
            disable=None if progress else True,
        )
        k = min(5, self._members[0].network_fn.num_classes or 1)
        totals = np.zeros(4)
        seen = 0
        with bar:
            for batch in self._answers():
                counted = batch["weight"] > 0
                hits = batch["top_classes"] == batch["label"][:, np.newaxis]
                totals += [
                    counted.sum(),
                    batch["loss"][counted].sum(dtype=np.float64),
                    hits[counted, 0].sum(),
                    hits[counted, :k].sum(),
                ]
                seen += len(counted)
                if predictions is not None:
                    predictions.add({key: value[counted] for key, value in batch.items()})
                bar.update()
        count, loss, top_1, top_k = totals
        expected = min(seen, self._dataset.num_examples)
        if not count:
            raise ValueError(
                f"No image of {self._dataset.name}, split {self._dataset.split}, could be counted."
            )
        return EvaluationResult(
            int(count), expected - int(count), loss / count, top_1 / count, top_k / count, k
        )

    def _answers(self) -> Iterator[dict[str, np.ndarray]]:
        """The answers for each batch, over all replicas of all hosts."""
        try:
            for batch in self._batches:
                yield {key: self._gather(answer) for key, answer in self._step(batch).items()}
        except tf.errors.InvalidArgumentError as error:
            raise corrupt_image_error(self._dataset, error) from error

    def _gather(self, answer: tf.Tensor) -> np.ndarray:
        if isinstance(self._strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return self._strategy.gather(answer, axis=0).numpy()
        # On one host nothing has to be sent.
        return np.concatenate(self._strategy.experimental_local_results(answer))

    def _replica_step(self, batch: Example) -> Example:
        outputs = []
        for number, (member, device_half) in enumerate(
            zip(self._members, self._device_halves, strict=True)
        ):
            images = device_half(self._views.of(number, batch))
            crops = 1 if images.shape.rank == 4 else images.shape[1]
            logits, _ = member.network_fn(
                tf.reshape(images, [-1, *images.shape[-3:]]), is_training=False
            )
            outputs.append(tf.reshape(tf.nn.log_softmax(logits), [-1, crops, logits.shape[-1]]))
        log_probabilities = tf.concat(outputs, axis=1)
        count = float(log_probabilities.shape[1])
        # The mean of softmax outputs, in logarithms: precise where they are tiny.
        averaged = tf.reduce_logsumexp(log_probabilities, axis=1) - tf.math.log(count)
        return {
            "loss": -tf.gather(averaged, batch["label"], axis=1, batch_dims=1),
            "probabilities": tf.exp(averaged),
            "top_classes": tf.math.top_k(averaged, min(5, averaged.shape[-1])).indices,
            **{key: batch[key] for key in ("label", "weight", "index")},
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
        self._path = path
        self._file = open(f"{path}.incomplete", "w", newline="")  # noqa: SIM115, see __exit__
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

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        """Puts the file in its place, or removes it if there was an error."""
        self._file.close()
        if error_type is None:
            os.replace(self._file.name, self._path)
        else:
            os.remove(self._file.name)


def evaluate(config: EvaluationConfig) -> EvaluationResult:
    """Runs the evaluation driver: evaluates a checkpoint, prints and writes what it found.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit.
    """
    strategy = devices.make_strategy(config.distribution_strategy, config.num_replicas)
    paths = _split_paths(config.checkpoint_path)
    dataset = _dataset(config, paths)
    names: list[str | None] = [*config.model_name] or [None]
    if len(names) == 1:
        names *= len(paths)
    if len(names) != len(paths):
        raise ValueError(
            f"--model_name has {len(names)} names, and --checkpoint_path {len(paths)}; give one "
            "name for all, or one for each."
        )
    with strategy.scope():
        models = [
            load_trained_model(
                path,
                use_moving_average=config.use_moving_average,
                network_module=config.network_module,
                dtype_policy=config.mixed_precision,
                model_name=name,
                class_names=dataset.class_names,
            )
            for path, name in zip(paths, names, strict=True)
        ]
    for model in models:
        check_classes(model.description.class_names, dataset, model.description.labels_offset)
    description = models[0].description
    if len({model.description.labels_offset for model in models}) > 1:
        raise ValueError("The checkpoints were trained with different --labels_offset.")

    folder = os.path.dirname(models[0].report.checkpoint)
    eval_dir = os.path.expanduser(config.eval_dir or os.path.join(folder, "evaluation"))
    batch_size, max_num_batches = config.batch_size, config.max_num_batches
    if config.eval_crops > 1:
        # Ten crops of one image are ten images to the network, and fill as much memory.
        replicas = strategy.num_replicas_in_sync
        batch_size = max(batch_size // config.eval_crops // replicas, 1) * replicas
        if max_num_batches:
            max_num_batches = -(-max_num_batches * config.batch_size // batch_size)
    first, *others = (
        Member(
            model.network_fn,
            model.preprocessing,
            config.eval_image_size or model.description.image_size,
        )
        for model in models
    )
    evaluator = Evaluator(
        first.network_fn,
        first.preprocessing,
        dataset,
        strategy,
        batch_size=batch_size,
        image_size=first.image_size,
        num_crops=config.eval_crops,
        others=others,
        labels_offset=description.labels_offset,
        skip_corrupt_images=config.skip_corrupt_images,
        max_num_batches=max_num_batches,
    )
    if not devices.is_chief(strategy):
        return evaluator.run()
    predictions_path = os.path.join(eval_dir, "predictions.csv")
    replaces = os.path.exists(predictions_path)
    try:
        os.makedirs(eval_dir, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--eval_dir {eval_dir} cannot be written: {error.strerror}.") from error
    with Predictions(predictions_path, dataset, description.class_names) as predictions:
        result = evaluator.run(predictions)
    model_names = ",".join(dict.fromkeys(model.description.model_name for model in models))
    checkpoints = ",".join(model.report.checkpoint for model in models)
    summary = {
        "checkpoint": checkpoints,
        "model_name": model_names,
        "dataset_name": dataset.name,
        "dataset_split_name": dataset.split,
        "eval_crops": config.eval_crops,
        "mixed_precision": config.mixed_precision,
        **result.as_json(),
    }
    json_path = os.path.join(eval_dir, "evaluation.json")
    run_directory.write_text(json_path, json.dumps(summary, indent=2) + "\n")
    print(f"{model_names} from {checkpoints}")
    crops = "" if config.eval_crops == 1 else f", {config.eval_crops} crops"
    several = "" if len(models) == 1 else f", {len(models)} networks averaged"
    print(f"on {dataset.name}, split {dataset.split}{crops}{several}: {result}")
    if result.num_skipped:
        print(
            f"{result.num_skipped:,} images were left out: "
            f"{why_left_out(config.skip_corrupt_images)}."
        )
    replaced = " (in place of an earlier evaluation's; --eval_dir keeps both)" if replaces else ""
    print(f"Written: {json_path}, {predictions_path}{replaced}")
    return result


def _split_paths(checkpoint_path: str | None) -> list[str]:
    """The checkpoints that --checkpoint_path names; a path that exists may hold a comma itself."""
    given = checkpoint_path or ""
    if "," not in given or run_directory.exists(given):
        return [run_directory.find_checkpoint(checkpoint_path)]
    paths = [path.strip() for path in given.split(",")]
    return [run_directory.find_checkpoint(path) for path in paths if path]


def _dataset(config: EvaluationConfig, paths: list[str]) -> ImageDataset:
    """What to evaluate on: what the first run was validated on, unless something else is asked."""
    description = ModelDescription.of_checkpoint(paths[0])
    trained_on = description.dataset_name if description else None
    dataset_name = config.dataset_name or trained_on
    if not dataset_name:
        raise ValueError(
            f"{paths[0]} does not say what it was trained on: give --dataset_name, and for weights "
            "of another framework --model_name."
        )
    dataset_dir, split = config.dataset_dir, config.dataset_split_name
    if description and dataset_name == trained_on:
        # The folder that was trained on goes with its name, and with no other dataset.
        dataset_dir = dataset_dir or description.dataset_dir
        split = split or description.validation_split_name
    split = split or dataset_factory.default_validation_split(dataset_name, dataset_dir)
    if split is None:
        raise ValueError(
            f"{dataset_name} has no validation or test split: give --dataset_split_name."
        )
    return dataset_factory.get_dataset(dataset_name, split, dataset_dir)


def why_left_out(skip_corrupt_images: bool) -> str:
    """What images may have been left out for, after "images were left out: "."""
    decoding = "they cannot be decoded, or " if skip_corrupt_images else ""
    return f"{decoding}their class is unknown or below --labels_offset"


def corrupt_image_error(dataset: ImageDataset, error: tf.errors.OpError) -> Exception:
    """The error to raise when reading failed: one that names the image, if it was an image."""
    name = input_pipeline.find_corrupt_image(dataset)
    if name is None:
        return error
    return ValueError(
        f"This image cannot be decoded: {name}. Replace it, or leave out such images with "
        "--skip_corrupt_images."
    )
