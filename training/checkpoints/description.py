"""`model.json`: all that is needed to rebuild a trained network and to feed it as in training."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

from nets import nets_factory
from nets.nets_factory import NetworkFn
from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from training.checkpoints.finding import is_of_a_run
from training.storage.whole_files import write_text

_DESCRIPTION_NAME = "model.json"


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
      network_module: imported before the network is looked up.
      moving_average_decay: of the weights' averages; None if none were kept.
    """

    model_name: str
    network_options: dict[str, Any]
    class_names: list[str]
    preprocessing_name: str
    preprocessing_options: dict[str, Any]
    image_size: int
    labels_offset: int
    dataset_name: str
    dataset_dir: str | None
    validation_split_name: str | None
    network_module: list[str]
    moving_average_decay: float | None

    def save(self, folder: str) -> None:
        """Writes `model.json` into `folder`, whole or not at all."""
        write_text(os.path.join(folder, _DESCRIPTION_NAME), json.dumps(vars(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str) -> ModelDescription | None:
        """Reads the `model.json` of `folder`, or of the train_dir above; None if there is none."""
        path = _find_beside(folder, _DESCRIPTION_NAME)
        if path is None:
            return None
        try:
            return cls(**json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged or of another version: {error}") from error

    @classmethod
    def of_checkpoint(cls, path: str) -> ModelDescription | None:
        """Reads the `model.json` of a checkpoint; None if there is none.

        Weight files from elsewhere have none, even if they lie in the folder of a run.
        """
        return cls.load(os.path.dirname(path)) if is_of_a_run(path) else None

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
            options[option] = _find_beside(folder, file_name)
            if options[option] is None:
                raise ValueError(
                    f"{folder} has no {file_name}, the {option.replace('_', ' ')} that this "
                    "network was trained with; copy it along with the checkpoint."
                )
        return options


def _find_beside(folder: str, name: str) -> str | None:
    """The file of a run that is in a folder, or in the train_dir above; None if there is none."""
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        path = os.path.join(place, name)
        if os.path.exists(path):
            return path
    return None
