"""Exports a checkpoint as a SavedModel that takes image files and answers with class names."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from nets.nets_factory import networks
from slimzoo import program
from slimzoo.configuration import CommandConfig, max_image_pixels_flag
from slimzoo.flags import Theme, check_not_negative, check_positive, flag, required_flag
from slimzoo.output_folders import new_folder
from slimzoo_registry import import_modules
from training.checkpoints.trained_model import imagenet_classes_or, load_trained_model
from training.export import ServableClassifier, write_saved_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(CommandConfig):
    """What `export_saved_model` does."""

    first_flags = (
        "checkpoint_path",
        "export_dir",
        "model_name",
        "dataset_name",
        "top_k",
    )

    checkpoint_path: str = required_flag(
        "The checkpoint, or the train_dir that holds it (its last), to export, or a file of "
        "weights as convert_weights takes it.",
        theme=Theme.NETWORK,
    )
    model_name: str | None = flag(
        None,
        f"The network of weights that come without a model.json: {', '.join(networks)}.",
        theme=Theme.NETWORK,
    )
    dataset_name: str | None = flag(
        None,
        "Dataset that names the classes, in the order of its labels. Only for weights without"
        " a model.json; it must have as many classes as the weights have outputs. Default: "
        "imagenet2012 (1,000 classes).",
        theme=Theme.IMAGES,
    )
    dataset_dir: str | None = flag(
        None, "The folder of images for `folder`; otherwise TFDS's data_dir.", theme=Theme.IMAGES
    )
    export_dir: str | None = flag(
        None,
        "Folder for the SavedModel. It must be empty or not exist yet; nothing is "
        "overwritten. Default: the folder `saved_model` next to the checkpoint.",
        theme=Theme.OUTPUT,
    )
    export_image_size: int | None = flag(
        None,
        "Height and width given to the network, in pixels. Default: as trained.",
        theme=Theme.NETWORK,
    )
    top_k: int = flag(5, "How many of the likeliest classes the answers name.", theme=Theme.OUTPUT)
    use_moving_average: bool = flag(
        True,
        "Export the moving averages of the weights, if the run kept them.",
        theme=Theme.NETWORK,
    )
    max_image_pixels: int = max_image_pixels_flag()

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(export_image_size=self.export_image_size, top_k=self.top_k)
        check_not_negative(max_image_pixels=self.max_image_pixels)


def main() -> None:
    """Runs the command."""
    program.run(ExportConfig, export)


def export(config: ExportConfig) -> str:
    """Runs the export command; returns the folder of the SavedModel.

    Raises:
      ValueError: if the checkpoint does not exist or fit, or the folder is in use.
    """
    import_modules(config.import_modules)
    model = load_trained_model(
        config.checkpoint_path,
        use_moving_average=config.use_moving_average,
        model_name=config.model_name,
        class_names=imagenet_classes_or(config.dataset_name, config.dataset_dir)
        if config.model_name
        else None,
    )
    folder = os.path.dirname(model.report.checkpoint)
    export_dir = new_folder("export_dir", config.export_dir or os.path.join(folder, "saved_model"))
    description = model.description
    classifier = ServableClassifier(
        model.network_fn,
        model.preprocessing,
        description.class_names,
        config.export_image_size or description.image_size,
        config.top_k,
        config.max_image_pixels,
    )
    try:
        write_saved_model(classifier, export_dir)
    except (OSError, tf.errors.OpError) as error:
        why = program.error_text(error)
        raise ValueError(f"--export_dir {export_dir} cannot be written: {why}") from error
    print(f"{description.model_name} from {model.report.checkpoint}")
    print(f"Exported to {export_dir}, with the signatures serving_bytes and serving_default.")
    if set("[\\") & set(os.path.abspath(export_dir)):
        print(
            "NOTE: TensorFlow takes [ and \\ in a path for a pattern, and loads no SavedModel from "
            "there: move the folder to where it is served from."
        )
    return export_dir
