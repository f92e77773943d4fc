"""Exports a checkpoint in the formats of those who serve it, with a model card."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from image_datasets import dataset_factory
from nets import nets_factory
from preprocessing import preprocessing_factory
from preprocessing.preparation import Preparation, preparation
from slimzoo import __version__, program
from slimzoo.configuration import (
    CommandConfig,
    max_image_pixels_flag,
    preprocessing_name_flag,
)
from slimzoo.flags import Theme, check_not_negative, check_positive, flag, required_flag
from slimzoo.output_folders import folder_to_write, new_folder, results_folder
from slimzoo.steady_output import standard_error_kept_silent
from slimzoo.tf_slim_flags import EXPORT_FLAGS
from slimzoo_registry import import_modules
from training import input_pipeline
from training.checkpoints.trained_model import (
    TrainedModel,
    imagenet_classes_or,
    load_trained_model,
)
from training.export import keras_file, onnx_model, tflite_model
from training.export.export_record import (
    accuracy_of,
    check_replaceable,
    files_below,
    make_record,
)
from training.export.model_card import CardFacts, card
from training.export.prepared_images import PreparedClassifier
from training.export.saved_model import ServableClassifier, write_saved_model
from training.storage.whole_files import written_whole

FORMATS = ("saved_model", "tflite", "onnx", "keras")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(CommandConfig):
    """What `export_saved_model` does."""

    first_flags = (
        "checkpoint_path",
        "format",
        "precision",
        "export_dir",
        "overwrite",
        "model_name",
        "top_k",
    )
    tf_slim_flags = EXPORT_FLAGS

    checkpoint_path: str = required_flag(
        "The checkpoint, or the train_dir that holds it (its last), to export, or a file of "
        "weights as convert_weights takes it, or zoo:NAME.",
        theme=Theme.NETWORK,
    )
    model_name: str | None = flag(
        None,
        "The network of weights that come without a model.json: "
        f"{', '.join(nets_factory.networks)}.",
        theme=Theme.NETWORK,
    )
    preprocessing_name: str | None = preprocessing_name_flag()
    format: str = flag(
        "saved_model",
        "`saved_model` takes image files; `tflite` and `onnx` take images of the network's size, "
        "uint8; `keras` takes preprocessed images. The README.md in the export tells how.",
        FORMATS,
        theme=Theme.OUTPUT,
    )
    precision: str = flag(
        "float32",
        "Number type of the weights, with --format=tflite; int8 is calibrated with images of the "
        "dataset.",
        tflite_model.PRECISIONS,
        theme=Theme.OUTPUT,
    )
    num_calibration_images: int = flag(
        200,
        "How many images the ranges of int8 are measured with at most, taken evenly from the "
        "dataset.",
        theme=Theme.IMAGES,
    )
    dataset_name: str | None = flag(
        None,
        "Dataset that names the classes, in the order of its labels, for weights without"
        " a model.json; it must have as many classes as the weights have outputs. Default: "
        "imagenet2012 (1,000 classes). With --precision=int8 also the dataset of the calibration; "
        "default there: the one trained on.",
        theme=Theme.IMAGES,
    )
    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`, of records for `tfrecord`; otherwise TFDS's data_dir.",
        theme=Theme.IMAGES,
    )
    dataset_split_name: str | None = flag(
        None,
        "The split that the calibration of int8 takes its images from. Default: the one trained "
        "on, or train.",
        theme=Theme.IMAGES,
    )
    export_dir: str | None = flag(
        None,
        "Folder for the export. It must be empty or not exist yet. Default: a folder called like "
        "the format (`tflite_int8` and `tflite_float16` with these precisions), next to the "
        "checkpoint.",
        theme=Theme.OUTPUT,
    )
    overwrite: bool = flag(
        False,
        "Replace an earlier export in that folder, once the new one is complete. A folder with "
        "anything else in it is left alone.",
        theme=Theme.OUTPUT,
    )
    export_image_size: int | None = flag(
        None,
        "Height and width given to the network, in pixels. Default: as trained.",
        old_name="image_size",  # TF-Slim's
        theme=Theme.NETWORK,
    )
    top_k: int = flag(
        5, "How many of the likeliest classes the answers of a SavedModel name.", theme=Theme.OUTPUT
    )
    use_moving_average: bool = flag(
        True,
        "Export the moving averages of the weights, if the run kept them.",
        theme=Theme.NETWORK,
    )
    max_image_pixels: int = max_image_pixels_flag()

    def __post_init__(self) -> None:
        """Checks ranges, and that what is given goes together."""
        super().__post_init__()
        check_positive(
            # Either name may have been given.
            **{"image_size or --export_image_size": self.export_image_size},
            top_k=self.top_k,
            num_calibration_images=self.num_calibration_images,
        )
        check_not_negative(max_image_pixels=self.max_image_pixels)
        if self.precision != "float32" and self.format != "tflite":
            raise ValueError(
                f"--precision={self.precision} is for --format=tflite, not for {self.format}."
            )


def main() -> None:
    """Runs the command."""
    program.run(ExportConfig, export)


def export(config: ExportConfig) -> str:
    """Runs the export command; returns the folder of the export.

    Raises:
      ValueError: if the checkpoint does not exist or fit, the folder is in use, or the format
        needs a library that is not installed.
    """
    import_modules(config.import_modules)
    if config.format == "onnx":
        onnx_model.check_installed()
    model = load_trained_model(
        config.checkpoint_path,
        use_moving_average=config.use_moving_average,
        model_name=config.model_name,
        class_names=imagenet_classes_or(config.dataset_name, config.dataset_dir)
        if config.model_name
        else None,
        preprocessing_name=config.preprocessing_name,
    )
    folder = results_folder(model.report.checkpoint)
    name = config.format if config.precision == "float32" else f"{config.format}_{config.precision}"
    export_dir = _export_dir(config, os.path.join(folder, name))
    try:
        os.makedirs(os.path.dirname(os.path.abspath(export_dir)), exist_ok=True)
        with written_whole(export_dir, replaces_folder=config.overwrite) as temporary:
            os.mkdir(temporary)
            _fill(config, model, temporary)
    except (OSError, tf.errors.OpError) as error:
        why = program.error_text(error)
        raise ValueError(f"--export_dir {export_dir} cannot be written: {why}") from error
    _conclude(config, model, export_dir)
    return export_dir


def _export_dir(config: ExportConfig, default: str) -> str:
    wanted = config.export_dir or default
    folder = os.path.expanduser(wanted)
    if config.overwrite and os.path.isdir(folder) and os.listdir(folder):
        check_replaceable(folder)
        return folder_to_write("export_dir", wanted)
    try:
        return new_folder("export_dir", wanted)
    except ValueError as error:
        if config.overwrite or not os.path.isdir(folder):
            raise
        raise ValueError(f"{error} --overwrite replaces an earlier export.") from error


def _fill(config: ExportConfig, model: TrainedModel, folder: str) -> None:
    """Writes everything that an export consists of into a folder that is there."""
    description = model.description
    size = config.export_image_size or description.image_size
    prepared = preparation(model.preprocessing, size)
    if config.format == "saved_model":
        write_saved_model(
            ServableClassifier(
                model.network_fn,
                model.preprocessing,
                description.class_names,
                size,
                config.top_k,
                config.max_image_pixels,
            ),
            folder,
        )
    elif config.format == "keras":
        keras_file.write_keras_file(model.network_fn, os.path.join(folder, "model.keras"))
    else:
        content = _converted(config, model, size, prepared)
        pathlib.Path(folder, f"model.{config.format}").write_bytes(content)
    if config.format != "saved_model":
        labels = tflite_model.label_lines(description.class_names)
        pathlib.Path(folder, tflite_model.LABELS_NAME).write_text(labels, encoding="utf-8")
    options = _options(model, folder if config.format == "keras" else None)
    record = make_record(
        model.report.checkpoint,
        format=config.format,
        precision=config.precision,
        model_name=description.model_name,
        version=__version__,
        files=[*files_below(folder), "README.md"],
    )
    network = nets_factory.networks[description.model_name]
    facts = CardFacts(
        parameters=model.network_fn.model.count_params(),
        image_size=size,
        channels=model.network_fn.channels,
        summary=_summary(network),
        dataset_name=dataset_factory.short_name(description.dataset_name, description.dataset_dir),
        dataset_split_name=description.dataset_split_name,
        num_training_images=description.num_training_images,
        class_names=description.class_names,
        preprocessing_name=description.preprocessing_name,
        preprocessing_options=options,
        preparation=prepared,
        accuracy=accuracy_of(
            model.report.checkpoint,
            use_moving_average=config.use_moving_average,
            image_size=size,
        ),
        max_image_pixels=config.max_image_pixels,
        import_modules=config.import_modules,
    )
    pathlib.Path(folder, "README.md").write_text(card(record, facts), encoding="utf-8")
    record.save(folder)


def _summary(network: nets_factory.Network) -> str:
    """What a network is, by its docstring; how many weights it has for its own classes is not."""
    build = getattr(network.build, "func", network.build)  # one function makes several
    first_line = (build.__doc__ or network.name).strip().partition("\n")[0]
    return first_line.partition(":")[0].rstrip(".") + "."


def _converted(
    config: ExportConfig, model: TrainedModel, size: int, prepared: Preparation
) -> bytes:
    """The network as TFLite or ONNX."""
    description = model.description
    classifier = PreparedClassifier(
        model.network_fn, model.preprocessing, description.class_names, size
    )
    name = description.model_name
    said = (
        f"{name} from {os.path.basename(model.report.checkpoint)}, trained on "
        f"{description.dataset_name or 'an unknown dataset'}; {len(description.class_names)} "
        f"classes. Written by slimzoo {__version__}."
    )
    channels = classifier.channels
    color = "grey" if channels == 1 else "RGB"
    how = f"uint8 {color} [batch, {size}, {size}, {channels}], 0 to 255. {prepared.words}"
    if config.format == "onnx":
        return onnx_model.convert(classifier, name, said, how)
    images = list(_calibration_images(config, model, size)) if config.precision == "int8" else ()
    with standard_error_kept_silent():  # the converter reports its settings there
        content = tflite_model.convert(classifier, config.precision, images)
    return tflite_model.with_metadata(content, classifier, name, said, how)


def _calibration_images(
    config: ExportConfig, model: TrainedModel, size: int
) -> Iterator[np.ndarray]:
    """Images as evaluation prepares them, evenly taken from a split."""
    description = model.description
    name = config.dataset_name or description.dataset_name
    if not name:
        raise ValueError(
            "--precision=int8 measures the ranges of activations with images, and the weights do "
            "not say what they were trained on: give --dataset_name."
        )
    folder = config.dataset_dir or description.dataset_dir
    trained_on = description.dataset_split_name if name == description.dataset_name else None
    split = config.dataset_split_name or trained_on or "train"
    dataset = dataset_factory.get_dataset(name, split, folder)
    # One class may come after the other: a part of each is wanted.
    every = -(-dataset.num_examples // config.num_calibration_images)
    count = -(-dataset.num_examples // every)
    some = dataclasses.replace(
        dataset, num_examples=count, make_examples=lambda: dataset.examples().shard(every, 0)
    )
    print(f"Calibrating with {count:,} images of {dataset.name}, split {dataset.split}.")
    batches = input_pipeline.evaluation_batches(
        some,
        model.preprocessing,
        batch_size=1,
        image_size=size,
        skip_corrupt_images=True,
        max_image_pixels=config.max_image_pixels,
    )
    num_usable = 0
    for batch in batches:
        if batch["weight"][0] > 0:
            num_usable += 1
            # The converted network takes bytes, also of a pipeline that hands over floats.
            yield np.round(batch["image"][0]).astype(np.uint8)
    if not num_usable:
        raise ValueError(
            f"None of these {count:,} images can be read and decoded, which --precision=int8 needs "
            "to measure the ranges of activations: give --dataset_name, --dataset_dir and "
            "--dataset_split_name of images that can."
        )


def _options(model: TrainedModel, folder: str | None) -> dict[str, Any]:
    """Options of the preprocessing that are not its defaults; files are copied into `folder`."""
    name = model.description.preprocessing_name
    files = preprocessing_factory.file_options(name)
    options = {}
    for option, default in preprocessing_factory.get_options(name).items():
        value = getattr(model.preprocessing, option)
        if value == default:
            continue
        if option in files and folder:
            shutil.copyfile(value, os.path.join(folder, files[option]))
        options[option] = files.get(option, value)
    return options


def _conclude(config: ExportConfig, model: TrainedModel, export_dir: str) -> None:
    print(f"{model.description.model_name} from {model.report.checkpoint}")
    if config.format == "saved_model":
        print(f"Exported to {export_dir}, with the signatures serving_bytes and serving_default.")
    else:
        path = os.path.join(export_dir, f"model.{config.format}")
        megabytes = os.path.getsize(path) / 1e6
        print(f"Exported to {path}: {config.precision}, {megabytes:,.1f} MB.")
    if config.format == "keras":
        print(f"A process that loads it needs `{keras_file.IMPORT}` first, which registers layers.")
    print(f"How to call it, and what it is: {os.path.join(export_dir, 'README.md')}")
    if config.format == "saved_model" and set("[\\") & set(os.path.abspath(export_dir)):
        print(
            "NOTE: TensorFlow takes [ and \\ in a path for a pattern, and loads no SavedModel from "
            "there: move the folder to where it is served from."
        )
