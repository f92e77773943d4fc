"""Measures the accuracy of checkpoints on a dataset, and writes and shows what was answered."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import sys

import keras
import numpy as np
import tensorflow as tf

from image_datasets import dataset_factory
from image_datasets.file_names import same_spelling
from image_datasets.image_dataset import ImageDataset
from image_datasets.split_names import find_split
from nets.nets_factory import networks
from slimzoo import __version__, program, run_agreement
from slimzoo.configuration import PRECISIONS, InputConfig, preprocessing_name_flag
from slimzoo.flags import Theme, check_positive, flag, flag_lines, required_flag, settings
from slimzoo.output_folders import absolute, made_folder, results_folder
from slimzoo.tf_slim_flags import EVAL_FLAGS
from slimzoo_registry import import_modules
from training import devices
from training.checkpoints.description import ModelDescription
from training.checkpoints.finding import exists, find_checkpoint
from training.checkpoints.trained_model import (
    TrainedModel,
    load_trained_model,
    with_labels_of_network,
)
from training.ensemble import Member, images_in_a_batch
from training.evaluation import (
    MAX_NAMES,
    EvaluationResult,
    Evaluator,
    Predictions,
    why_left_out,
)
from training.evaluation_report import CONFUSION_NAME, PAGE_NAME, PER_CLASS_NAME
from training.evaluation_report.answers import AnswersCollector
from training.evaluation_report.page import Evaluation
from training.evaluation_report.report import write_report
from training.evaluation_report.run_record import read_run_record
from training.export.export_record import step_and_digest
from training.hosts.cluster import ClusterSettings
from training.hosts.cooperation import working_together
from training.storage.locks import locked
from training.storage.whole_files import remove_leftovers, write_text, written_together

_PREDICTIONS_NAME = "predictions.csv"
_NAMES_SHOWN = 3  # of images that were left out; evaluation.json has more


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(InputConfig):
    """What `eval_image_classifier` does."""

    first_flags = (
        "checkpoint_path",
        "dataset_name",
        "dataset_dir",
        "dataset_split_name",
        "model_name",
        "eval_dir",
        "eval_crops",
        "batch_size",
    )
    tf_slim_flags = EVAL_FLAGS

    checkpoint_path: str = required_flag(
        "The checkpoint, or the train_dir that holds it (its last), to evaluate, or a file of "
        "weights as convert_weights takes it, or zoo:NAME. Of several, separated by commas, the "
        "softmax outputs are averaged.",
        theme=Theme.NETWORK,
    )
    model_name: list[str] = flag(
        [],
        "The network of weights that come without a model.json: one name, or one for each of "
        f"several in checkpoint_path. Names: {', '.join(networks)}.",
        theme=Theme.NETWORK,
    )
    dataset_name: str | None = flag(
        None, "The dataset. Default: the one trained on.", theme=Theme.IMAGES
    )
    dataset_split_name: str | None = flag(
        None,
        "The split, in TFDS syntax; `all` is every image. Default: the one the run was validated "
        "on.",
        theme=Theme.IMAGES,
    )
    preprocessing_name: str | None = preprocessing_name_flag()
    eval_dir: str | None = flag(
        None,
        "Where evaluation.json, predictions.csv and the report go. Default: the folder "
        "`evaluation` beside the checkpoint; of several checkpoints, `evaluation_of_N_networks` in "
        "the folder that holds them all.",
        theme=Theme.OUTPUT,
    )
    report: bool = flag(
        True,
        "Write report.html, a page that shows what is confused, per_class.csv and confusion.csv.",
        theme=Theme.OUTPUT,
    )
    eval_image_size: int | None = flag(
        None,
        "Height and width given to the network, in pixels. Default: as trained.",
        theme=Theme.NETWORK,
    )
    eval_crops: int = flag(
        1,
        "Crops per image: 1 (the center), or 10 (four corners, center, and their mirror "
        "images; the softmax outputs are averaged). With 10, a batch holds batch_size / 10 "
        "images, rounded down, so that memory use stays about the same.",
        theme=Theme.IMAGES,
    )
    use_moving_average: bool = flag(
        True,
        "Evaluate the moving averages of the weights, if the run kept them.",
        theme=Theme.NETWORK,
    )
    mixed_precision: str = flag(
        "float32",
        "Number type in which the network computes. The weights are converted to it once, "
        "after loading; the checkpoint itself is not changed.",
        PRECISIONS,
        theme=Theme.NETWORK,
    )
    max_num_batches: int | None = flag(
        None, "Stop after so many batches of batch_size images. Default: all.", theme=Theme.IMAGES
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(eval_image_size=self.eval_image_size, max_num_batches=self.max_num_batches)
        if self.eval_crops not in (1, 10):
            raise ValueError(f"--eval_crops is {self.eval_crops}; it must be 1 or 10.")


def main() -> None:
    """Runs the command."""
    program.run(EvaluationConfig, evaluate)


def evaluate(config: EvaluationConfig) -> EvaluationResult:
    """Runs the evaluation command: evaluates a checkpoint, prints and writes what it found.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit.
      ConnectionError: if another host went away.
    """
    strategy = devices.make_strategy(
        config.distribution_strategy, config.num_replicas, settings(ClusterSettings, config)
    )
    with working_together(strategy):
        return _evaluate(config, strategy)


def _evaluate(config: EvaluationConfig, strategy: tf.distribute.Strategy) -> EvaluationResult:
    run_agreement.check_flags(strategy, config)
    import_modules(config.import_modules)
    paths = split_paths(config.checkpoint_path)
    runs = [ModelDescription.of_checkpoint(path) for path in paths]
    dataset = _dataset(config, paths[0], runs[0])
    with strategy.scope():
        models = _load_models(config, paths, dataset)
    description = models[0].description
    dataset, labels_offset = with_labels_of_network(
        description.class_names, dataset, description.labels_offset
    )
    evaluator = _make_evaluator(config, models, dataset, labels_offset, strategy)
    if not devices.is_chief(strategy):
        return evaluator.run()

    eval_dir = made_folder("eval_dir", config.eval_dir or _default_eval_dir(models))
    replaces = os.path.exists(os.path.join(eval_dir, _PREDICTIONS_NAME))
    answers = AnswersCollector(len(description.class_names)) if config.report else None
    with locked(eval_dir):
        remove_leftovers(eval_dir, folders=True)
        try:
            with written_together(eval_dir) as folder:
                path = os.path.join(folder, _PREDICTIONS_NAME)
                with Predictions(path, dataset, description.class_names) as predictions:
                    result = evaluator.run(predictions, answers=answers)
                written = [_write_result(config, models, dataset, result, folder), path]
                if answers is not None:
                    evaluation = _to_report_on(config, models, dataset, result)
                    written += write_report(folder, evaluation, answers.answers())
        finally:
            with contextlib.suppress(OSError):
                os.rmdir(eval_dir)  # if nothing has come into it
    _say_what_is_written(eval_dir, list(map(os.path.basename, written)), replaces)
    return result


def _load_models(
    config: EvaluationConfig, paths: list[str], dataset: ImageDataset
) -> list[TrainedModel]:
    """The networks whose softmax outputs are averaged; ValueError if they do not go together."""
    names: list[str | None] = [*config.model_name] or [None]
    if len(names) == 1:
        names *= len(paths)
    if len(names) != len(paths):
        raise ValueError(
            f"--model_name has {len(names)} names, and --checkpoint_path {len(paths)}; give one "
            "name for all, or one for each."
        )
    models = [
        load_trained_model(
            path,
            use_moving_average=config.use_moving_average,
            dtype_policy=config.mixed_precision,
            model_name=name,
            class_names=dataset.class_names,
            preprocessing_name=config.preprocessing_name,
        )
        for path, name in zip(paths, names, strict=True)
    ]
    if len({tuple(map(same_spelling, model.description.class_names)) for model in models}) > 1:
        raise ValueError("The checkpoints were trained on different classes.")
    if len({model.description.labels_offset for model in models}) > 1:
        raise ValueError("The checkpoints were trained with different --labels_offset.")
    return models


def _make_evaluator(
    config: EvaluationConfig,
    models: list[TrainedModel],
    dataset: ImageDataset,
    labels_offset: int,
    strategy: tf.distribute.Strategy,
) -> Evaluator:
    max_num_batches = config.max_num_batches
    batch_size = images_in_a_batch(
        config.batch_size, config.eval_crops, strategy.num_replicas_in_sync
    )
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
    return Evaluator(
        first.network_fn,
        first.preprocessing,
        dataset,
        strategy,
        batch_size=batch_size,
        image_size=first.image_size,
        num_crops=config.eval_crops,
        others=others,
        labels_offset=labels_offset,
        skip_corrupt_images=config.skip_corrupt_images,
        max_image_pixels=config.max_image_pixels,
        max_num_batches=max_num_batches,
    )


def _default_eval_dir(models: list[TrainedModel]) -> str:
    """With what else is made of it; of several, in no single one's folder but that around them."""
    folders = [results_folder(model.report.checkpoint) for model in models]
    if len(models) == 1:
        return os.path.join(folders[0], "evaluation")
    around = os.path.commonpath(list(map(absolute, folders)))
    if not any(map(os.path.isabs, folders)):
        around = os.path.relpath(around)
    return os.path.join(around, f"evaluation_of_{len(models)}_networks")


def _write_result(
    config: EvaluationConfig,
    models: list[TrainedModel],
    dataset: ImageDataset,
    result: EvaluationResult,
    folder: str,
) -> str:
    """Writes `evaluation.json`, prints what it says, and returns its path."""
    model_names = _names_of_networks(models)
    checkpoints = ",".join(model.report.checkpoint for model in models)
    description = models[0].description
    class_names = description.class_names
    known = set(map(same_spelling, class_names))
    absent = [name for name in dataset.absent_classes if same_spelling(name) in known]
    summary = {
        "checkpoint": checkpoints,
        # Of several networks it is the accuracy of no single one.
        "checkpoint_sha256": step_and_digest(checkpoints)[1] if len(models) == 1 else None,
        "model_name": model_names,
        "dataset_name": dataset.name,
        "dataset_dir": _dataset_dir(
            config, config.dataset_name or description.dataset_name, description
        ),
        "dataset_split_name": dataset.split,
        "num_classes": len(class_names),
        "num_classes_with_images": len(class_names) - len(absent),
        "eval_crops": config.eval_crops,
        "image_size": config.eval_image_size or description.image_size,
        "use_moving_average": config.use_moving_average,
        "mixed_precision": config.mixed_precision,
        **result.as_json(),
        "skipped": result.skipped,
    }
    json_path = os.path.join(folder, "evaluation.json")
    write_text(json_path, json.dumps(summary, indent=2) + "\n")
    print(f"{model_names} from {checkpoints}")
    crops = "" if config.eval_crops == 1 else f", {config.eval_crops} crops"
    several = "" if len(models) == 1 else f", {len(models)} networks averaged"
    some = f", {len(class_names) - len(absent)} of the {len(class_names)} classes" if absent else ""
    print(f"on {dataset.name}, split {dataset.split}{some}{crops}{several}: {result}")
    if result.num_skipped:
        print(_left_out(config, result))
    return json_path


def _left_out(config: EvaluationConfig, result: EvaluationResult) -> str:
    """How many images were left out, why, and the first of them by name."""
    count = result.num_skipped
    why = why_left_out(config.skip_corrupt_images, count, result.num_unread)
    names = ", ".join(result.skipped[:_NAMES_SHOWN])
    more = ""
    if count > _NAMES_SHOWN:
        more = f" and {count - _NAMES_SHOWN:,} more; evaluation.json names up to {MAX_NAMES}"
    return (
        f"{count:,} {'image was' if count == 1 else 'images were'} left out: {why}: {names}{more}."
    )


def _to_report_on(
    config: EvaluationConfig,
    models: list[TrainedModel],
    dataset: ImageDataset,
    result: EvaluationResult,
) -> Evaluation:
    """What the report says of the evaluation, besides its answers."""
    remarks = []
    if len(models) > 1:
        remarks.append(f"The softmax outputs of {len(models)} networks are averaged.")
    if config.eval_crops > 1:
        remarks.append(f"Of each image {config.eval_crops} crops are averaged.")
    if config.mixed_precision != EvaluationConfig.mixed_precision:
        remarks.append(f"Computed in {config.mixed_precision}.")
    if result.num_examples + result.num_skipped < dataset.num_examples:
        remarks.append(
            f"Only {result.num_examples + result.num_skipped:,} of the {dataset.num_examples:,} "
            "images were evaluated, by --max_num_batches."
        )
    if result.num_skipped:
        remarks.append(_left_out(config, result))
    defaults = flag_lines(EvaluationConfig(checkpoint_path="-")).splitlines()
    flags = [line for line in flag_lines(config).splitlines() if line not in defaults]
    command = [program.beside_this_program("eval_image_classifier"), *map(shlex.quote, flags)]
    return Evaluation(
        model_name=_names_of_networks(models),
        dataset=dataset,
        class_names=models[0].description.class_names,
        runs=[read_run_record(model.report.checkpoint) for model in models],
        loss=result.loss,
        remarks=remarks,
        command=" ".join(command),
        versions={
            "slimzoo": __version__,
            "TensorFlow": tf.__version__,
            "Keras": keras.__version__,
            "NumPy": np.__version__,
            "Python": sys.version.partition(" ")[0],
        },
        max_image_pixels=config.max_image_pixels,
    )


def _say_what_is_written(eval_dir: str, written: list[str], replaces: bool) -> None:
    names = ", ".join(written)
    replaced = " (in place of an earlier evaluation's; --eval_dir keeps both)" if replaces else ""
    print(f"Written to {eval_dir}: {names}{replaced}")
    if PAGE_NAME in written:
        print(f"See what is wrong, in a browser: {os.path.join(eval_dir, PAGE_NAME)}")
        return
    earlier = [os.path.join(eval_dir, name) for name in (PAGE_NAME, PER_CLASS_NAME, CONFUSION_NAME)]
    for path in filter(os.path.exists, earlier):
        print(f"{path} is of an earlier evaluation.")


def _names_of_networks(models: list[TrainedModel]) -> str:
    return ",".join(dict.fromkeys(model.description.model_name for model in models))


def split_paths(checkpoint_path: str) -> list[str]:
    """The checkpoints that --checkpoint_path names; a path that exists may hold a comma itself."""
    if "," not in checkpoint_path or exists(checkpoint_path):
        return [find_checkpoint(checkpoint_path)]
    paths = [path.strip() for path in checkpoint_path.split(",")]
    return [find_checkpoint(path) for path in paths if path]


def _dataset_dir(
    config: EvaluationConfig, dataset_name: str, description: ModelDescription | None
) -> str | None:
    """Where the dataset is: the folder that was trained on goes with its name, and no other."""
    if config.dataset_dir or not description or dataset_name != description.dataset_name:
        return config.dataset_dir
    return description.dataset_dir


def _dataset(
    config: EvaluationConfig, path: str, description: ModelDescription | None
) -> ImageDataset:
    """What to evaluate on: what the first run was validated on, unless something else is asked."""
    trained_on = description.dataset_name if description else None
    dataset_name = config.dataset_name or trained_on
    if not dataset_name:
        raise ValueError(
            f"{path} does not say what it was trained on: give --dataset_name, and for weights "
            "from another framework --model_name."
        )
    dataset_dir = _dataset_dir(config, dataset_name, description)
    split = config.dataset_split_name
    sizes: dict[str, int] = {}
    if description and dataset_name == trained_on:
        if not config.dataset_name and dataset_name not in dataset_factory.sources:
            # Under its name TFDS may have something else.
            description.check_modules(os.path.dirname(path), "dataset", dataset_name)
        is_named_by_folder = dataset_factory.is_named_by_folder(dataset_name, dataset_dir)
        if (
            is_named_by_folder
            and not split
            and absolute(dataset_dir or "") != description.dataset_dir
        ):
            # Photos in another folder may be divided in another way.
            sizes = dataset_factory.split_sizes(dataset_name, dataset_dir)
        split = split or description.validation_split_name
        if sizes and split and not find_split(re.split(r"\W", split)[0], sizes):
            split = None
    split = split or dataset_factory.default_validation_split(dataset_name, dataset_dir)
    if split is None:
        raise ValueError(
            f"{dataset_name} has no validation or test split: give --dataset_split_name, for "
            "example `all`, which is every image."
        )
    dataset = dataset_factory.get_dataset(dataset_name, split, dataset_dir)
    if dataset.num_examples < sum(sizes.values()):
        print(
            f"Evaluated are {dataset.num_examples:,} of {sum(sizes.values()):,} images, those of "
            f"{split}; --dataset_split_name=all takes every one."
        )
    return dataset
