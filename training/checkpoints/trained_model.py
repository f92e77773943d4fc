"""A network as a run left it: with its weights, its classes and its preprocessing."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from image_datasets import dataset_factory
from image_datasets.file_names import listed, printable, same_spelling
from image_datasets.image_dataset import ImageDataset
from image_datasets.label_names import BACKGROUND
from nets import nets_factory
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from training.checkpoints.class_names import names_of_outputs
from training.checkpoints.description import ModelDescription
from training.checkpoints.finding import find_checkpoint, is_of_a_run
from training.checkpoints.mismatch import BY_FLAGS
from training.checkpoints.restoring import RestoreReport, restore_network
from training.zoo.cache import kept_checkpoint
from weight_formats import is_weight_file


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A network with weights from a checkpoint, and what it was trained with."""

    network_fn: NetworkFn
    description: ModelDescription
    preprocessing: Preprocessing
    report: RestoreReport


def load_trained_model(
    checkpoint_path: str | None,
    *,
    use_moving_average: bool = True,
    dtype_policy: str = "float32",
    model_name: str | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing_name: str | None = None,
) -> TrainedModel:
    """Rebuilds the network of a run and restores its weights, or takes a file of weights.

    Args:
      checkpoint_path: a train_dir or a checkpoint in one, a file of weights, or `zoo:NAME` for a
        published checkpoint.
      use_moving_average: takes the weights' moving averages if the run kept them.
      dtype_policy: of Keras; `bfloat16` casts the weights once, `mixed_bfloat16` at each call.
      model_name: network of the weights, if there is no model.json. Published ones need none.
      class_names: of its outputs, likewise.
      preprocessing_name: of what feeds it, in that case; None is the network's own, or what it was
        published with.

    Raises:
      ValueError: if there is no such checkpoint or it does not fit its model.json, or the network
        is not known. It is not if a module of the user's own registers it and is not imported.
    """
    if preprocessing_name is not None:
        preprocessing_name = preprocessing_factory.pipeline_name(preprocessing_name)
    prefix = find_checkpoint(checkpoint_path)
    description = ModelDescription.of_checkpoint(prefix)
    if description is not None:
        description.check_names(os.path.dirname(prefix))
    if description is None:
        published = kept_checkpoint(prefix)
        if published and model_name:
            published.check_network(model_name)
        description = describe_weights(prefix, model_name, class_names, preprocessing_name)
    elif model_name and model_name != description.model_name:
        raise ValueError(
            f"--model_name is {model_name}, but {prefix} holds a run of {description.model_name}."
        )
    elif preprocessing_name not in (None, description.preprocessing_name):
        raise ValueError(
            f"--preprocessing_name is {preprocessing_name}, but {prefix} was trained with "
            f"{description.preprocessing_name}: leave the flag out."
        )
    try:
        network_fn = description.build(dtype_policy=dtype_policy)
    except (TypeError, ValueError) as error:  # of options that have the right types
        raise ValueError(f"The network of {prefix} cannot be built: {error}") from error
    report = restore_network(
        network_fn, prefix, use_moving_average=use_moving_average, remedies=BY_FLAGS
    )
    if not is_of_a_run(prefix) or report.unexpected or report.taken or report.not_taken:
        print(report)
    preprocessing = description.make_preprocessing(os.path.dirname(prefix), is_training=False)
    return TrainedModel(network_fn, description, preprocessing, report)


def describe_weights(
    path: str,
    model_name: str | None,
    class_names: Sequence[str] | None,
    preprocessing_name: str | None = None,
) -> ModelDescription:
    """Describes weights without a model.json: as published, or by the network's own defaults.

    Args:
      path: as `find_checkpoint` gives it.
      model_name: the network that they are loaded into; None is that which they are published for.
      class_names: that they were trained on, unless they are published.
      preprocessing_name: of what feeds it; None is as published, or the network's own.

    Raises:
      ValueError: if the network or its classes are not given, or the pipeline is not known.
    """
    published = kept_checkpoint(path)
    if published:
        model_name = model_name or published.network
        class_names = imagenet_classes_or(None, None)
    if not model_name and is_weight_file(path):
        raise ValueError(
            f"{path} holds weights, and does not say of what network: give --model_name."
        )
    if not model_name:
        raise ValueError(
            f"There is no model.json beside {path}, which says what network it is. Training writes "
            "it: copy it along with the checkpoint. For a checkpoint of TF-Slim give --model_name."
        )
    if class_names is None:
        raise ValueError(
            f"{path} does not say what its classes are called: give --dataset_name, whose classes "
            "they are."
        )
    network = nets_factory.networks[model_name]
    names, remark = names_of_outputs(path, network, class_names)
    if remark:
        print(remark)
    as_published = published if published and published.network == model_name else None
    preprocessing_name = (
        preprocessing_name
        or (as_published and as_published.preprocessing)
        or network.preprocessing_name
    )
    return ModelDescription(
        model_name=model_name,
        network_options=dict(as_published.network_options) if as_published else {},
        class_names=names,
        preprocessing_name=preprocessing_name,
        preprocessing_options=dict(
            preprocessing_factory.options_for_channels(preprocessing_name, network.channels)
        ),
        image_size=as_published.image_size if as_published else network.default_image_size,
        labels_offset=0,
        dataset_name="",
        dataset_dir=None,
        validation_split_name=None,
        network_module=[],
        moving_average_decay=None,
    )


def imagenet_classes_or(dataset_name: str | None, dataset_dir: str | None) -> tuple[str, ...]:
    """The classes of a dataset, or if none is named those of ILSVRC-2012, as TFDS names them."""
    if dataset_name is None:
        return dataset_factory.class_names("imagenet2012")
    return dataset_factory.class_names(dataset_name, dataset_dir)


def check_classes(class_names: list[str], dataset: ImageDataset, labels_offset: int) -> None:
    """Raises ValueError if a dataset's classes are not those that a network answers with."""
    check_class_names(class_names, dataset.class_names[labels_offset:], dataset.name)


def check_class_names(class_names: Sequence[str], there: Sequence[str], dataset_name: str) -> None:
    """Raises ValueError if names of classes are not those that a network answers with, in order.

    Args:
      class_names: of the network's outputs.
      there: those that are to be the same.
      dataset_name: whose they are, for the message.
    """
    if len(there) < 2:
        raise ValueError(f"{dataset_name} has {_class_list(there)}; a classifier needs two.")
    if _comparable(there) != _comparable(class_names):
        raise ValueError(
            f"The network answers with {_class_list(class_names)}, but {dataset_name} has "
            f"{_class_list(there)}."
        )


def with_labels_of_network(
    class_names: list[str], dataset: ImageDataset, labels_offset: int
) -> tuple[ImageDataset, int]:
    """Makes a dataset that has the network's classes, or some of them, ready to be evaluated on.

    Args:
      class_names: of the network's outputs.
      dataset: to evaluate on. Its classes are matched by name, unless all are the network's.
      labels_offset: that the network was trained with. Classes below it are left out, but for
        those that the network knows by name; and so is TF-Slim's background class, label 0.

    Returns:
      The dataset, and what is to be subtracted from its labels.

    Raises:
      ValueError: naming the classes that the network does not know.
    """
    there, known = _comparable(dataset.class_names), _comparable(class_names)
    if there[labels_offset:] == known:
        return dataset, labels_offset
    names = set(known)
    unknown = [
        name
        for label, name in enumerate(there)
        if name not in names and label >= labels_offset and (label, name) != (0, BACKGROUND)
    ]
    if unknown or names.isdisjoint(there):
        raise ValueError(
            f"The network answers with {len(known)} classes ({listed(known, 10)}), but "
            f"{dataset.name} has others: {listed(unknown or there)}. Name its classes as the "
            "network's are called, or leave these out."
        )
    return dataset.with_classes(class_names), 0


def _comparable(class_names: Sequence[str]) -> list[str]:
    return list(map(same_spelling, class_names))


def _class_list(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'} ({shown})"
