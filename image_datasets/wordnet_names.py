"""Names for people of the classes that are known by WordNet ids, as ImageNet's are.

`imagenet_synsets.tsv` holds the 1,000 classes of ILSVRC 2012 to 2017 in the order of their labels:
the id (a noun's offset in WordNet 3.0, after "n"), and the first word of that synset. Two names
stand for two classes each, "crane" and "maillot", so that a name is shown beside its id and never
instead of it.
"""

from __future__ import annotations

import functools
import importlib.resources

_FILE_NAME = "imagenet_synsets.tsv"


@functools.cache
def imagenet_names() -> dict[str, str]:
    """Returns the name of each of ImageNet's 1,000 classes by its id, in the order of labels."""
    file = importlib.resources.files(__package__) / _FILE_NAME
    rows = (line.partition("\t") for line in file.read_text(encoding="utf-8").splitlines())
    return {class_id: name for class_id, _, name in rows}


def description(class_name: str) -> str:
    """Returns what a class is in words: "shovel" for "n04208210"; other names as they are."""
    return imagenet_names().get(class_name, class_name)


def readable_name(class_name: str) -> str:
    """Returns a class as a person can read it.

    Args:
      class_name: for example "n04208210", or any other name.

    Returns:
      The id and its name, "n04208210 shovel"; a name that is no id of ImageNet's as it is.
    """
    name = imagenet_names().get(class_name)
    return f"{class_name} {name}" if name else class_name
