"""The driver that turns weights of other frameworks into a checkpoint of this package."""

from __future__ import annotations

import dataclasses
import os
import shutil

import numpy as np
import tensorflow as tf

from image_datasets.shape_drawing import draw_shape
from nets import nets_factory
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from slimzoo.chosen_preprocessing import Pipeline, choose_pipeline
from slimzoo.configuration import parse_options
from slimzoo.program import beside_this_program
from slimzoo.tool_configuration import ConversionConfig
from training.checkpoints import run_directory
from training.checkpoints.run_directory import CHECKPOINT_NAME, ModelDescription, RestoreReport
from training.checkpoints.trained_model import describe_weights, imagenet_classes_or, import_modules
from training.dataset_preparation.pixel_statistics import MEAN_IMAGE_NAME

_SAMPLES = ("star", "heart", "arrow", "ring")


def convert(config: ConversionConfig) -> RestoreReport:
    """Runs the driver: writes a checkpoint and a model.json, and says what the conversion changed.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, or the file is
        not of a known format, damaged, or of another network; nothing is written then.
      OSError: if the output cannot be written.
    """
    for flag in ("checkpoint_path", "model_name", "output_dir"):
        if not getattr(config, flag):
            raise ValueError(f"--{flag} is not given; --help says what it takes.")
    output_dir = os.path.abspath(os.path.expanduser(str(config.output_dir)))
    if os.path.exists(output_dir) and (not os.path.isdir(output_dir) or os.listdir(output_dir)):
        raise ValueError(
            f"{output_dir} exists already and is not overwritten. Remove it, or give another "
            "--output_dir."
        )
    import_modules(config.network_module)
    network = nets_factory.networks[str(config.model_name)]
    path = run_directory.find_checkpoint(config.checkpoint_path)
    run = ModelDescription.of_checkpoint(path)
    if run is not None:
        raise ValueError(
            f"{path} is of a run of {run.model_name}, with a model.json, and needs no conversion: "
            "the other drivers take it as it is."
        )
    _check_writable(output_dir)
    class_names = imagenet_classes_or(config.dataset_name, config.dataset_dir)
    description = describe_weights(path, config.model_name, class_names)
    own_pipeline = description.preprocessing_name
    # Reversed weights take RGB; a pipeline that knows no other order gives it anyway.
    takes_order = "channel_order" in preprocessing_factory.get_options(own_pipeline)
    order = {"channel_order": "rgb"} if config.bgr_to_rgb and takes_order else {}
    pipeline = choose_pipeline(config, own_pipeline, inherited=Pipeline(own_pipeline, order))
    pipeline.try_out(description.image_size)
    description = dataclasses.replace(
        description,
        preprocessing_name=pipeline.name,
        preprocessing_options=pipeline.portable_options(),
        network_options=parse_options("network_options", config.network_options, network.options),
        network_module=config.network_module,
        dataset_name=config.dataset_name or "imagenet2012",
        dataset_dir=os.path.abspath(os.path.expanduser(config.dataset_dir))
        if config.dataset_dir
        else None,
    )
    network_fn = description.build()
    report = run_directory.restore_network(
        network_fn,
        path,
        exclude_scopes=config.checkpoint_exclude_scopes,
        ignore_missing=config.ignore_missing_vars,
        bgr_to_rgb=config.bgr_to_rgb,
    )
    print(report)
    print(_differences(config, path, network_fn, pipeline))

    os.makedirs(output_dir, exist_ok=True)
    checkpoint = tf.train.Checkpoint(
        network=run_directory.tensorflow_variables(network_fn.variables)
    )
    prefix = checkpoint.write(os.path.join(output_dir, f"{CHECKPOINT_NAME}-0"))
    if mean_image := pipeline.options.get("mean_image"):
        shutil.copyfile(mean_image, os.path.join(output_dir, MEAN_IMAGE_NAME))
    description.save(output_dir)
    print(f"Written: {prefix}, with model.json. Next:")
    for driver in ("eval_image_classifier", "export_saved_model"):
        print(f"  {beside_this_program(driver)} --checkpoint_path={output_dir}")
    return report


def _check_writable(output_dir: str) -> None:
    """Says so before weights are read, and without making the folder."""
    existing = output_dir
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
        why = "read-only" if os.path.isdir(existing) else "no folder"
        raise ValueError(f"--output_dir {output_dir} cannot be written: {existing} is {why}.")


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
            f"Modelling difference: none if they were trained as {network_fn.name}{options}; "
            f"preprocessing difference: none if they were fed what {pipeline} gives{order}. "
            "--source_model_name measures both against another network."
        )
    source_fn = nets_factory.get_network_fn(
        str(config.source_model_name), num_classes=network_fn.num_classes
    )
    source_report = run_directory.restore_network(
        source_fn,
        path,
        exclude_scopes=[
            scope.replace(network_fn.name, source_fn.name, 1)
            for scope in config.checkpoint_exclude_scopes
        ],
        ignore_missing=config.ignore_missing_vars,
    )
    # What keeps its initial values in both is to be the same in both.
    for name in source_report.skipped:
        twin = network_fn.variables.get(name.replace(source_fn.name, network_fn.name, 1))
        if twin is None or twin.shape != source_fn.variables[name].shape:
            return f"Differences: not measured, because {name} has its initial values."
        source_fn.variables[name].assign(twin)
    # Of a size that both take: 227 pixels are none too many for a network of 224.
    size = max(fn.default_image_size for fn in (network_fn, source_fn))
    trained_with = Pipeline(source_fn.preprocessing_name, {})
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
