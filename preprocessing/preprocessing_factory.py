"""The registry of preprocessing pipelines.

    preprocess = get_preprocessing("alexnet", is_training=True)
    image = preprocess(image, 224, 224)  # one image, as in TF-Slim

    example = preprocess.host(encoded, 224, 224, seed=seed)  # or in two halves:
    images = preprocess.device(batch)

A pipeline of one's own is a frozen dataclass derived from `Preprocessing`:

    @register_preprocessing("mine")
    @dataclasses.dataclass(frozen=True)
    class MyPreprocessing(Preprocessing): ...
"""

from __future__ import annotations

import dataclasses
from typing import Any

# The imports of pipelines are what registers them.
from preprocessing import (  # noqa: F401
    alexnet_preprocessing,
    caffe_preprocessing,
    cifar_preprocessing,
    cifarnet_preprocessing,
    torchvision_preprocessing,
)
from preprocessing.base import (
    PREPROCESSINGS,
    Preprocessing,
    check_options,
    register_preprocessing,
)

__all__ = [
    "PREPROCESSINGS",
    "Preprocessing",
    "get_options",
    "get_preprocessing",
    "register_preprocessing",
]


def get_options(name: str) -> dict[str, Any]:
    """Returns the options of the pipeline registered under `name`, with their defaults."""
    fields = dataclasses.fields(PREPROCESSINGS[name])
    return {field.name: field.default for field in fields if field.name != "is_training"}


def get_preprocessing(name: str, is_training: bool = False, **options: Any) -> Preprocessing:
    """Returns the pipeline registered under `name`.

    Args:
      name: for example "alexnet".
      is_training: whether it augments.
      **options: fields of the pipeline's class, for example resize_side=256.

    Raises:
      ValueError: if there is no such pipeline or option, naming those that exist and the nearest.
    """
    cls = PREPROCESSINGS[name]
    check_options(cls, options)
    return cls(is_training=is_training, **options)
