"""The table of published checkpoints, which `zoo:NAME` stands for wherever a checkpoint is given.

Its rows are `published_checkpoints.tsv`. A module of a user's own, brought by `--import_modules`,
can add more:

    published_checkpoints.register("my_net")(PublishedCheckpoint(name="my_net", ...))
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import json
import os
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

from slimzoo_registry import Registry, UnknownNameError

PREFIX = "zoo:"
_ROWS = pathlib.Path(__file__).with_name("published_checkpoints.tsv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedCheckpoint:
    """Weights that their authors publish, trained on ILSVRC-2012.

    Attributes:
      name: that it is asked for by.
      network: in the registry of networks.
      url: of an archive or a file of weights.
      image_size: height and width that it was trained and measured with, in pixels.
      num_classes: 1,001 with TF-Slim's background class first, or 1,000.
      network_options: what the network is built with.
      preprocessing: the pipeline that it was measured with, if that is not the network's own.
      top_1: accuracy in percent on the validation images, one crop, as the authors give it.
      top_5: likewise; None if they do not give it.
      date: in the name of the file; empty if it has none.
      license: as the authors give it.
      digest: `sha1:` or `sha256:` and what the file's digest begins with; empty if the authors give
        none.
      checkpoint: its place in the archive, or the end of that; empty if it is not known.
      source: the page on which the authors publish it.
    """

    name: str
    network: str
    url: str
    image_size: int
    num_classes: int
    network_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocessing: str | None = None
    top_1: float | None = None
    top_5: float | None = None
    date: str = ""
    license: str = ""
    digest: str = ""
    checkpoint: str = ""
    source: str = ""

    @property
    def file_name(self) -> str:
        """What the file at `url` is called."""
        return os.path.basename(urllib.parse.urlsplit(self.url).path)

    def check_network(self, model_name: str) -> None:
        """Raises ValueError if it is of another network than `model_name`."""
        if model_name != self.network:
            raise ValueError(
                f"{PREFIX}{self.name} has weights of {self.network}, and not of {model_name}: give "
                f"--model_name={self.network}."
            )


published_checkpoints: Registry[PublishedCheckpoint] = Registry("published checkpoint")


def named_checkpoint(path: str | None) -> PublishedCheckpoint | None:
    """The published checkpoint that a path such as `zoo:vgg_16` names; None if it is a path.

    Raises:
      ValueError: if there is none of that name, with those that may be meant.
    """
    if not path or not path.startswith(PREFIX):
        return None
    name = path.removeprefix(PREFIX)
    if name in published_checkpoints:
        return published_checkpoints[name]
    of_network = [one for one, row in published_checkpoints.items() if row.network == name]
    near = difflib.get_close_matches(name, published_checkpoints, n=5)
    if of_network:
        hint = f"Of the network {name} there are {', '.join(of_network)}"
    elif near:
        hint = f"There are {', '.join(near)}, and others"
    else:
        known = sorted({row.network for row in published_checkpoints.values()})
        hint = f"There are some of {', '.join(known)}"
    raise UnknownNameError(f"Unknown published checkpoint {name!r}. {hint} (docs/weights.md).")


def _read_rows() -> None:
    with open(_ROWS, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            published_checkpoints.register(row["name"])(
                PublishedCheckpoint(
                    name=row["name"],
                    network=row["network"],
                    url=row["url"],
                    image_size=int(row["image_size"]),
                    num_classes=int(row["num_classes"]),
                    network_options=json.loads(row["network_options"]),
                    preprocessing=row["preprocessing"] or None,
                    top_1=float(row["top_1"]),
                    top_5=float(row["top_5"]) if row["top_5"] else None,
                    date=row["date"],
                    license=row["license"],
                    digest=row["digest"],
                    checkpoint=row["checkpoint"],
                    source=row["source"],
                )
            )


_read_rows()
