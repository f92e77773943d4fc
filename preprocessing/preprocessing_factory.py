"""The registry of preprocessing pipelines.

    preprocess = get_preprocessing("alexnet", is_training=True)
    image = preprocess(image, 224, 224)  # one image, as in TF-Slim

    example = preprocess.host(encoded, 224, 224, seed=seed)  # or in two halves:
    images = preprocess.device(batch)

A pipeline of one's own is a frozen dataclass derived from `Preprocessing`:

    @register_preprocessing("mine")
    @dataclasses.dataclass(frozen=True)
    class MyPreprocessing(Preprocessing): ...

An option of it that is a file says so: `mean_image: str | None = file_option("mean_image.npy")`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# The imports of pipelines are what registers them.
from preprocessing import (  # noqa: F401
    alexnet_preprocessing,
    base,
    caffe_preprocessing,
    cifar_preprocessing,
    cifarnet_preprocessing,
    cuda_convnet_preprocessing,
    inception_preprocessing,
    lenet_preprocessing,
    torchvision_preprocessing,
    vgg_preprocessing,
)
from preprocessing.base import (
    PREPROCESSINGS,
    Preprocessing,
    current_options,
    file_option,
    register_preprocessing,
    taking_grayscale,
)

__all__ = [
    "PREPROCESSINGS",
    "USE_GRAYSCALE",
    "Preprocessing",
    "current_option_name",
    "file_option",
    "file_options",
    "get_options",
    "get_preprocessing",
    "merge_options",
    "options_for_channels",
    "pipeline_name",
    "register_preprocessing",
    "taking_grayscale",
]

USE_GRAYSCALE = "use_grayscale"  # the option of every pipeline that networks of grey images set


# TF-Slim's networks have the pipelines of their families, and its users name either.
_PIPELINES_OF_FAMILIES = {
    **dict.fromkeys(("inception", "mobilenet", "nasnet", "pnasnet"), "inception"),
    **dict.fromkeys(("resnet", "vgg"), "vgg"),
}


def pipeline_name(name: str) -> str:
    """Returns the pipeline that TF-Slim knew under the name of a network.

    Args:
      name: for example "resnet_v1_50", which is "vgg"; all others are returned as they are.
    """
    family = name.partition("_")[0]
    return name if name in PREPROCESSINGS else _PIPELINES_OF_FAMILIES.get(family, name)


def get_options(name: str) -> dict[str, Any]:
    """Returns the options of the pipeline registered under `name`, with their defaults."""
    fields = dataclasses.fields(PREPROCESSINGS[name])
    return {field.name: field.default for field in fields if field.name != "is_training"}


def get_preprocessing(name: str, is_training: bool = False, **options: Any) -> Preprocessing:
    """Returns the pipeline registered under `name`.

    Args:
      name: for example "alexnet", or a network of TF-Slim such as "resnet_v1_50".
      is_training: whether it augments.
      **options: fields of the pipeline's class, for example resize_side=256; one that was renamed
        may have its old name.

    Raises:
      ValueError: if there is no such pipeline or option, naming those that exist and the nearest.
    """
    cls = PREPROCESSINGS[pipeline_name(name)]
    return cls(is_training=is_training, **current_options(cls, options))


def current_option_name(name: str, option: str) -> str:
    """Returns the name that an option of a pipeline has now.

    Old runs and command lines may have another one, such as "colour_noise_scale".

    Args:
      name: of the pipeline, for example "alexnet".
      option: that was given; one that was not renamed, or does not exist, is returned as it is.
    """
    return base.current_option_name(PREPROCESSINGS[name], option)


def file_options(name: str) -> dict[str, str]:
    """Returns the options of a pipeline that are files.

    Args:
      name: for example "alexnet_2012".

    Returns:
      For each of these options the name under which a run keeps its copy of the file.
    """
    fields = dataclasses.fields(PREPROCESSINGS[name])
    return {
        field.name: field.metadata["file_name"] for field in fields if "file_name" in field.metadata
    }


def options_for_channels(name: str, channels: int) -> dict[str, bool]:
    """Returns the option, if one is needed, with which a pipeline gives images of `channels`.

    Args:
      name: for example "lenet", which gives grey images by itself.
      channels: 3 for RGB, 1 for grey.
    """
    wanted = channels == 1
    return {} if get_options(name)[USE_GRAYSCALE] == wanted else {USE_GRAYSCALE: wanted}


def merge_options(
    name: str, inherited: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns options of a pipeline where what is given wins over what is inherited.

    Given a mean, an inherited mean image goes, which would be subtracted instead of it.

    Args:
      name: for example "alexnet_2012".
      inherited: its options until now.
      given: options that replace them.

    Returns:
      The options under the names that they have now.

    Raises:
      ValueError: if there is no such pipeline or option.
    """
    cls = PREPROCESSINGS[name]
    inherited, given = current_options(cls, inherited), current_options(cls, given)
    overruled = [
        field.name for field in dataclasses.fields(cls) if field.metadata.get("replaces") in given
    ]
    kept = {option: value for option, value in inherited.items() if option not in overruled}
    return {**kept, **given}
