"""Turns weights of other frameworks into a checkpoint of this package."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil

import numpy as np
import tensorflow as tf

from image_datasets.shape_drawing import draw_shape
from nets import nets_factory, scopes
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from slimzoo import program
from slimzoo.chosen_preprocessing import Pipeline, choose_pipeline
from slimzoo.configuration import PreprocessingConfig
from slimzoo.flags import Theme, flag, parse_options, required_flag
from slimzoo.output_folders import absolute, new_folder
from slimzoo.program import beside_this_program
from slimzoo_registry import import_modules
from training.checkpoints.description import ModelDescription
from training.checkpoints.files import CHECKPOINT_NAME
from training.checkpoints.finding import find_checkpoint
from training.checkpoints.mismatch import BY_FLAGS_WITH_SCOPES
from training.checkpoints.restoring import RestoreReport, restore_network
from training.checkpoints.saving import tensorflow_variables
from training.checkpoints.trained_model import describe_weights, imagenet_classes_or
from training.storage.whole_files import written_whole
from training.zoo.cache import kept_checkpoint

_SAMPLES = ("star", "heart", "arrow", "ring")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionConfig(PreprocessingConfig):
    """What `convert_weights` does."""

    first_flags = (
        "checkpoint_path",
        "model_name",
        "output_dir",
        "source_model_name",
        "bgr_to_rgb",
    )

    checkpoint_path: str = required_flag(
        "The weights: a .caffemodel, bvlc_alexnet.npy, a PyTorch state dict (.pth), .safetensors, "
        "Keras' .weights.h5, a checkpoint of TF-Slim, or zoo:NAME for a published one, which is "
        "downloaded once (docs/weights.md lists them).",
        theme=Theme.NETWORK,
    )
    model_name: str = required_flag(
        f"Network that the weights are loaded into: {', '.join(nets_factory.networks)}.",
        theme=Theme.NETWORK,
    )
    network_options: list[str] = flag(
        [], "Options of the network as name=value, for example towers=1.", theme=Theme.NETWORK
    )
    source_model_name: str | None = flag(
        None,
        "Network that the weights were trained with, if it is not model_name. The command "
        "then measures and prints how far the logits differ because of the network and of the"
        " preprocessing. Default: model_name, and nothing is measured.",
        theme=Theme.NETWORK,
    )
    bgr_to_rgb: bool = flag(
        False,
        "Reverse the input channels of the first layer, so that weights trained on BGR (Caffe's) "
        "take RGB; the network is fed RGB from then on.",
        theme=Theme.NETWORK,
    )
    output_dir: str = required_flag(
        "Where checkpoint and model.json go; it is then the --checkpoint_path of the other "
        "drivers. A folder that does not exist, or is empty.",
        theme=Theme.OUTPUT,
    )
    dataset_name: str | None = flag(
        None,
        "Dataset that names the classes, in the order of its labels. Default: imagenet2012; "
        "weights with another number of outputs than 1,000 need it.",
        theme=Theme.IMAGES,
    )
    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`, of records for `tfrecord`; otherwise TFDS's data_dir.",
        theme=Theme.IMAGES,
    )
    checkpoint_exclude_scopes: list[str] = flag(
        [],
        "Scopes that keep their initial values, for example alexnet_v2/fc8.",
        theme=Theme.NETWORK,
    )
    ignore_missing_vars: bool = flag(
        False,
        "Convert even if the file lacks some of the network's variables.",
        theme=Theme.NETWORK,
    )
    use_moving_average: bool = flag(
        True,
        "Convert the moving averages of the weights, if the file has them.",
        theme=Theme.NETWORK,
    )


def main() -> None:
    """Runs the command."""
    program.run(ConversionConfig, convert)


def convert(config: ConversionConfig) -> RestoreReport:
    """Runs the command: writes a checkpoint and a model.json, and says what the conversion changed.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, or the file is
        not of a known format, damaged, or of another network; nothing is written then.
      OSError: if the output cannot be written.
    """
    output_dir = new_folder("output_dir", absolute(config.output_dir))
    import_modules(config.import_modules)
    network = nets_factory.networks[config.model_name]
    if config.bgr_to_rgb and network.channels == 1:
        raise ValueError(f"--bgr_to_rgb is given, but {network.name} takes grey images.")
    path = find_checkpoint(config.checkpoint_path)
    run = ModelDescription.of_checkpoint(path)
    if run is not None:
        raise ValueError(
            f"{path} is of a run of {run.model_name}, with a model.json, and needs no conversion: "
            "the other drivers take it as it is."
        )
    if published := kept_checkpoint(path):
        published.check_network(config.source_model_name or config.model_name)
    class_names = imagenet_classes_or(config.dataset_name, config.dataset_dir)
    description = describe_weights(path, config.model_name, class_names)
    own_pipeline = description.preprocessing_name
    # Reversed weights take RGB; a pipeline that knows no other order gives it anyway.
    takes_order = "channel_order" in preprocessing_factory.get_options(own_pipeline)
    order = {"channel_order": "rgb"} if config.bgr_to_rgb and takes_order else {}
    inherited = Pipeline(own_pipeline, order)
    pipeline = choose_pipeline(config, own_pipeline, inherited, network.channels)
    pipeline.try_out(description.image_size)
    description = dataclasses.replace(
        description,
        preprocessing_name=pipeline.name,
        preprocessing_options=pipeline.portable_options(),
        network_options={
            **description.network_options,
            **parse_options("network_options", config.network_options, network.options),
        },
        network_module=config.import_modules,
        dataset_name=config.dataset_name or "imagenet2012",
        dataset_dir=absolute(config.dataset_dir) if config.dataset_dir else None,
    )
    network_fn = description.build()
    report = restore_network(
        network_fn,
        path,
        exclude_scopes=config.checkpoint_exclude_scopes,
        ignore_missing=config.ignore_missing_vars,
        use_moving_average=config.use_moving_average,
        bgr_to_rgb=config.bgr_to_rgb,
        remedies=BY_FLAGS_WITH_SCOPES,
    )
    print(report)
    print(_differences(config, path, network_fn, pipeline))

    checkpoint = tf.train.Checkpoint(network=tensorflow_variables(network_fn.variables))
    with written_whole(output_dir) as temporary:
        os.makedirs(temporary)
        checkpoint.write(os.path.join(temporary, f"{CHECKPOINT_NAME}-0"))
        for name, source in pipeline.files().items():
            shutil.copyfile(source, os.path.join(temporary, name))
        description.save(temporary)
    prefix = os.path.join(output_dir, f"{CHECKPOINT_NAME}-0")
    print(f"Written: {prefix}, with model.json. Next:")
    for driver in ("eval_image_classifier", "export_saved_model"):
        path = f"--checkpoint_path={shlex.quote(output_dir)}{config.modules_flag()}"
        print(f"  {beside_this_program(driver)} {path}")
    return report


def _differences(
    config: ConversionConfig, path: str, network_fn: NetworkFn, pipeline: Pipeline
) -> str:
    """Says what the network and its preprocessing change, each measured by itself.

    The network: both are given the same pixels. The preprocessing: the network is given the same
    pictures through either pipeline.
    """
    options = f" with {','.join(config.network_options)}" if config.network_options else ""
    as_itself = config.source_model_name == config.model_name and not options
    if config.source_model_name is None or as_itself:
        order = ", in the order BGR" if config.bgr_to_rgb else ""
        return (
            f"The results are those of the original if the weights were trained with "
            f"{network_fn.name}{options} and the preprocessing {pipeline}{order}. If they were "
            "trained with another network, name it with --source_model_name, and the differences "
            "are measured."
        )
    source_fn = nets_factory.get_network_fn(
        str(config.source_model_name), num_classes=network_fn.num_classes
    )
    source_report = restore_network(
        source_fn,
        path,
        exclude_scopes=[
            scopes.moved(scope, network_fn.scope, source_fn.scope)
            for scope in config.checkpoint_exclude_scopes
        ],
        ignore_missing=config.ignore_missing_vars,
        use_moving_average=config.use_moving_average,
        remedies=dataclasses.replace(BY_FLAGS_WITH_SCOPES, network="--source_model_name={name}"),
    )
    # What keeps its initial values in both is to be the same in both.
    for name in source_report.skipped:
        twin = network_fn.variables.get(scopes.moved(name, source_fn.scope, network_fn.scope))
        if twin is None or twin.shape != source_fn.variables[name].shape:
            return f"Differences: not measured, because {name} has its initial values."
        source_fn.variables[name].assign(twin)
    # Of a size that both take: 227 pixels are none too many for a network of 224.
    size = max(fn.default_image_size for fn in (network_fn, source_fn))
    source_name = source_fn.preprocessing_name
    gray = preprocessing_factory.options_for_channels(source_name, source_fn.channels)
    trained_with = Pipeline(source_name, dict(gray))
    own = _sample_images(pipeline, network_fn.default_image_size)
    source = _sample_images(trained_with, size)
    given = source[..., ::-1] if config.bgr_to_rgb else source
    expected = source_fn(source)[0]
    return (
        f"Modelling difference ({source_fn.name} to {network_fn.name}, the same pixels): logits "
        f"are {_apart(network_fn(given)[0], expected)}.\n"
        f"Preprocessing difference ({trained_with} to {pipeline}, "
        f"{network_fn.name} on the same pictures): logits are "
        f"{_apart(network_fn(own)[0], network_fn(given)[0])}."
    )


def _sample_images(pipeline: Pipeline, size: int) -> tf.Tensor:
    """Drawn pictures, preprocessed."""
    preprocess = pipeline.make()
    generator = np.random.default_rng(0)
    return tf.stack([preprocess(draw_shape(shape, generator), size, size) for shape in _SAMPLES])


def _apart(logits: tf.Tensor, others: tf.Tensor) -> str:
    """How far logits are from others, beside how far those are spread."""
    distance = np.abs(logits.numpy() - others.numpy())
    return (
        f"{distance.max():.2g} apart at most and {distance.mean():.2g} on average, where their "
        f"standard deviation is {others.numpy().std():.2g}"
    )
