"""Which preprocessing feeds a network: by flags, by statistics, or as the checkpoint had it."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from preprocessing import preprocessing_factory
from preprocessing.base import Preprocessing
from preprocessing.preprocessing_factory import USE_GRAYSCALE
from slimzoo.configuration import PreprocessingConfig
from slimzoo.flags import parse_options
from training.dataset_preparation.pixel_statistics import load_statistics, mean_image_path


class Pipeline(NamedTuple):
    """A registered preprocessing and its options, of which those that are files are paths."""

    name: str
    options: dict[str, Any]

    def make(self, is_training: bool = False) -> Preprocessing:
        """Makes it; ValueError if an option is unknown or out of range."""
        return preprocessing_factory.get_preprocessing(self.name, is_training, **self.options)

    def files(self) -> dict[str, str]:
        """The path of each option that is a file, by the name under which a run keeps a copy."""
        names = preprocessing_factory.file_options(self.name)
        return {
            file_name: self.options[option]
            for option, file_name in names.items()
            if self.options.get(option)
        }

    def portable_options(self) -> dict[str, Any]:
        """The options of a run that has copies of the files in its folder."""
        names = preprocessing_factory.file_options(self.name)
        return {
            option: names[option] if option in names and value else value
            for option, value in self.options.items()
        }

    def try_out(self, image_size: int) -> None:
        """Preprocesses an image, for training and for evaluation.

        Files are read where a pipeline is traced: without this, that would be at the first step.

        Raises:
          ValueError: if an option is out of range, or a mean image does not fit.
        """
        image = np.zeros([image_size, image_size, 3], np.uint8)
        for is_training in (True, False):
            preprocessing = self.make(is_training)
            example = preprocessing.host(image, image_size, image_size, seed=[0, 0])
            preprocessing.device({key: value[tf.newaxis] for key, value in example.items()})

    def __str__(self) -> str:
        shown = (
            f", {name} of its own" if isinstance(value, list | tuple) else f", {name}={value}"
            for name, value in self.options.items()
        )
        return f"`{self.name}`" + "".join(shown)


def choose_pipeline(
    config: PreprocessingConfig,
    default_name: str,
    inherited: Pipeline | None = None,
    channels: int = 3,
) -> Pipeline:
    """Chooses by flags; what they do not say is inherited, or the pipeline's own default.

    Args:
      config: the flags.
      default_name: the network's own pipeline.
      inherited: that of the weights that are started from.
      channels: of the network's images, which flags cannot change: 3 for RGB, 1 for grey.

    Raises:
      ValueError: if the pipeline or an option does not exist, the statistics do not fit it, or it
        is to give images that the network does not take.
    """
    name = preprocessing_factory.pipeline_name(
        config.preprocessing_name or (inherited.name if inherited else default_name)
    )
    given = parse_options(
        "preprocessing_options",
        config.preprocessing_options,
        preprocessing_factory.get_options(name),
        current_name=lambda option: preprocessing_factory.current_option_name(name, option),
    )
    options = dict(inherited.options) if inherited and inherited.name == name else {}
    if config.dataset_statistics:
        found = _statistics_options(config.dataset_statistics, name)
        options = preprocessing_factory.merge_options(name, options, found)
    options = preprocessing_factory.merge_options(name, options, given)
    takes_grey = channels == 1
    if takes_grey and not preprocessing_factory.PREPROCESSINGS[name].takes_grayscale:
        raise ValueError(
            f"--preprocessing_name is {config.preprocessing_name or name}, which is for RGB; the "
            "network takes grey ones: give "
            f"{' or '.join(preprocessing_factory.taking_grayscale())}."
        )
    if given.get(USE_GRAYSCALE, takes_grey) != takes_grey:
        raise ValueError(
            f"--preprocessing_options has {USE_GRAYSCALE}={given[USE_GRAYSCALE]}, but the network "
            f"takes {'grey' if takes_grey else 'RGB'} images. Leave it out: networks say what "
            "images they take."
        )
    options.pop(USE_GRAYSCALE, None)
    options |= preprocessing_factory.options_for_channels(name, channels)
    for option in preprocessing_factory.file_options(name):
        if isinstance(options.get(option), str):
            options[option] = os.path.expanduser(options[option])
    return Pipeline(name, options)


def _statistics_options(path: str, preprocessing_name: str) -> dict[str, Any]:
    """What of a dataset's statistics a pipeline has options for."""
    statistics = load_statistics(path)
    known = preprocessing_factory.get_options(preprocessing_name)
    scale = preprocessing_factory.PREPROCESSINGS[preprocessing_name].pixel_scale / 255
    found = {
        "mean_rgb": [scale * mean for mean in statistics.mean_rgb],
        "deviation_rgb": [scale * statistics.covariance_rgb[i][i] ** 0.5 for i in range(3)],
        "color_deviations": statistics.color_deviations,
        "color_components": statistics.color_components,
        "mean_image": mean_image_path(path),
    }
    taken = {name: value for name, value in found.items() if name in known}
    if not taken:
        raise ValueError(
            f"--dataset_statistics is given, but the preprocessing {preprocessing_name!r} takes "
            f"none of {', '.join(found)}; it has {', '.join(known)}."
        )
    return taken
