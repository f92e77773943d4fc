"""`model.json`: all that is needed to rebuild a trained network and to feed it as in training."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import typing
from typing import Annotated, Any

from nets import nets_factory
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from slimzoo_registry import unknown_name_message
from training.checkpoints.finding import is_of_a_run
from training.storage.json_files import (
    Between,
    check_types,
    is_like,
    make_dataclass,
    read_object,
    shown,
)
from training.storage.whole_files import write_text

_DESCRIPTION_NAME = "model.json"
# Of what the names in it mean. A file that has no number is of version 1.
_VERSION = 2
# What pipelines are called now that version 1 called otherwise: TF-Slim's has that name since.
_RENAMED_PIPELINES = {"cifarnet": "cuda_convnet"}
# Far beyond what can be trained, and far below what would take all memory of a machine.
_MOST_PIXELS = 16_384
_MOST_CLASSES = 1_000_000


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """All that is needed to rebuild a trained network and feed it as in training.

    Attributes:
      model_name: in the registry of networks.
      network_options: those that it was built with.
      class_names: of its outputs, in order.
      preprocessing_name: in the registry of pipelines.
      preprocessing_options: those that it was made with.
      image_size: height and width, in pixels.
      labels_offset: subtracted from the dataset's labels.
      dataset_name: trained on.
      dataset_dir: where that was.
      validation_split_name: what it was validated on; None if it was not.
      network_module: the modules that it was trained with, which register what is none of this
        package's. They run code, so that only the command line has them imported.
      moving_average_decay: of the weights' averages; None if none were kept.
      dataset_split_name: of the images trained on; None in runs of earlier versions.
      num_training_images: that were trained on; None likewise.
      version: of the meaning of its names; what `load` gives has the current one.
    """

    model_name: str
    network_options: dict[str, Any]
    class_names: Annotated[list[str], Between(1, _MOST_CLASSES)]
    preprocessing_name: str
    preprocessing_options: dict[str, Any]
    image_size: Annotated[int, Between(1, _MOST_PIXELS)]
    labels_offset: Annotated[int, Between(0)]
    dataset_name: str
    dataset_dir: str | None
    validation_split_name: str | None
    network_module: list[str]
    moving_average_decay: Annotated[float, Between(0, 1)] | None
    dataset_split_name: str | None = None
    num_training_images: Annotated[int, Between(0)] | None = None
    version: Annotated[int, Between(1, _VERSION)] = _VERSION

    def save(self, folder: str) -> None:
        """Writes `model.json` into `folder`, whole or not at all."""
        write_text(os.path.join(folder, _DESCRIPTION_NAME), json.dumps(vars(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str) -> ModelDescription | None:
        """Reads the `model.json` of `folder`, or of the train_dir above; None if there is none.

        Raises:
          ValueError: naming the field that has another type or is out of range.
        """
        path = _find_beside(folder, _DESCRIPTION_NAME)
        if path is None:
            return None
        try:
            description = make_dataclass(cls, {"version": 1, **read_object(path)})
        except ValueError as error:
            raise ValueError(f"{path} is damaged or of another version: {error}.") from error
        return description._with_current_names()

    @classmethod
    def of_checkpoint(cls, path: str) -> ModelDescription | None:
        """Reads the `model.json` of a checkpoint; None if there is none.

        Weight files from elsewhere have none, even if they lie in the folder of a run.
        """
        return cls.load(os.path.dirname(path)) if is_of_a_run(path) else None

    def _with_current_names(self) -> ModelDescription:
        name = self.preprocessing_name
        if self.version == 1:
            name = _RENAMED_PIPELINES.get(name, name)
        return dataclasses.replace(self, preprocessing_name=name, version=_VERSION)

    def check_names(self, folder: str) -> None:
        """Checks that what it names is registered, and takes the options that it has.

        Args:
          folder: that `load` was given.

        Raises:
          ValueError: if not, naming the field, or the flag that brings what is missing.
        """
        path = _find_beside(folder, _DESCRIPTION_NAME) or _DESCRIPTION_NAME
        for registry, field in (
            (nets_factory.networks, "model_name"),
            (preprocessing_factory.PREPROCESSINGS, "preprocessing_name"),
        ):
            name = getattr(self, field)
            if name in registry:
                continue
            self.check_modules(folder, registry.kind, name)
            message = unknown_name_message(registry.kind, name[:100], registry)
            raise ValueError(f"{path}: {field}: {message}")
        try:
            _check_options(
                "network_options",
                self.network_options,
                nets_factory.networks[self.model_name].options,
                {},
            )
            name = self.preprocessing_name
            options = preprocessing_factory.merge_options(name, self.preprocessing_options, {})
            _check_options(
                "preprocessing_options",
                options,
                preprocessing_factory.get_options(name),
                typing.get_type_hints(preprocessing_factory.PREPROCESSINGS[name]),
            )
            pipeline = preprocessing_factory.get_preprocessing(name, **options)  # checks ranges
            channels = nets_factory.networks[self.model_name].channels
            if pipeline.channels != channels:
                raise ValueError(
                    f"{name} gives images of {pipeline.channels} channels and {self.model_name} "
                    f"takes {channels}"
                )
        except ValueError as error:
            why = str(error).removesuffix(".")
            raise ValueError(f"{path} is damaged or of another version: {why}.") from error

    def check_modules(self, folder: str, kind: str, name: str) -> None:
        """Raises ValueError if a module that may register `name` has not been imported.

        Args:
          folder: that `load` was given.
          kind: what the name is of, such as "network".
          name: that is not registered.
        """
        if all(module in sys.modules for module in self.network_module):
            return
        path = _find_beside(folder, _DESCRIPTION_NAME) or _DESCRIPTION_NAME
        raise ValueError(
            f"{path} is of a run with modules of its own, which may hold the {kind} {name!r}. Give "
            f"--import_modules={','.join(self.network_module)} to import them, which runs their "
            "code: only if you know whose they are."
        )

    def build(self, dtype_policy: str = "float32", is_training: bool = False) -> NetworkFn:
        """Builds the network, with new weights."""
        return nets_factory.get_network_fn(
            self.model_name,
            num_classes=len(self.class_names),
            is_training=is_training,
            dtype_policy=dtype_policy,
            **self.network_options,
        )

    def make_preprocessing(self, folder: str, is_training: bool) -> Preprocessing:
        """Makes the pipeline that feeds the network.

        Args:
          folder: the train_dir, or the folder of a checkpoint in it, which has its mean image.
          is_training: whether it augments.

        Raises:
          ValueError: if the mean image is not there.
        """
        return preprocessing_factory.get_preprocessing(
            self.preprocessing_name, is_training, **self.resolved_options(folder)
        )

    def resolved_options(self, folder: str) -> dict[str, Any]:
        """The options of the preprocessing, with the paths of its files in a run's folder."""
        name = self.preprocessing_name
        options = preprocessing_factory.merge_options(name, self.preprocessing_options, {})
        for option in preprocessing_factory.file_options(name):
            if not (file_name := options.get(option)):
                continue
            if file_name != os.path.basename(file_name):
                raise ValueError(
                    f"{folder} is of a run whose {option} is {shown(file_name)}; the name of a "
                    "file beside model.json is expected."
                )
            options[option] = _find_beside(folder, file_name)
            if options[option] is None:
                raise ValueError(
                    f"{folder} has no {file_name}, the {option.replace('_', ' ')} that this "
                    "network was trained with; copy it along with the checkpoint."
                )
        return options


def _check_options(
    field: str, options: dict[str, Any], defaults: dict[str, Any], annotations: dict[str, Any]
) -> None:
    """Raises ValueError if an option is unknown, or has another type than it should."""
    for name, value in options.items():
        if name not in defaults:
            raise ValueError(f"{field}: {unknown_name_message('option', name, defaults)}")
        if name not in annotations and not is_like(value, defaults[name]):
            raise ValueError(
                f"{field}: {name} is {shown(value)}; a value such as {shown(defaults[name])} is "
                "expected"
            )
    check_types(options, annotations, f"{field}: ")


def _find_beside(folder: str, name: str) -> str | None:
    """The file of a run that is in a folder, or in the train_dir above; None if there is none."""
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        path = os.path.join(place, name)
        if os.path.exists(path):
            return path
    return None
