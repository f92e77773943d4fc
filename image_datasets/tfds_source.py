"""Datasets of TensorFlow Datasets by name, read undecoded and without needless network."""

from __future__ import annotations

import contextlib
import difflib
import glob
import json
import os
import pathlib
import random
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from image_datasets import record_files
from image_datasets.image_dataset import ImageDataset, fingerprint
from image_datasets.registry import DatasetSource, sources
from image_datasets.split_slices import SplitSlice, parse_split, slices_from
from slimzoo_registry import unknown_name_message

_CATALOG = "https://www.tensorflow.org/datasets/catalog/overview"

# Long enough for a slow connection; TFDS itself would retry for more than three minutes.
_CONNECTION_TIMEOUT_SECONDS = 5
_MOST_HOSTS_TRIED = 3


class TfdsSource(DatasetSource):
    """A dataset of TFDS, which is downloaded and prepared if necessary.

    `dataset_dir` is where prepared datasets are, or the folder of this very dataset (the one with
    `features.json`). None is TFDS's default, ~/tensorflow_datasets.

    Args:
      name: "cifar10", "imagenette/320px-v2", "cifar10:3.0.2"; or the name of a prepared dataset in
        `dataset_dir` whose source code is not at hand.
      sorts_classes: whether labels number the classes by the order of their names, where TFDS has
        another.
      missed: what was looked for before this dataset, which a message says where it is not there
        either; empty for nothing.
    """

    def __init__(self, name: str, sorts_classes: bool = False, missed: str = ""):
        self._name = name
        self._sorts_classes = sorts_classes
        self._missed = missed

    def load(self, split: str, dataset_dir: str | None) -> ImageDataset:
        """Returns one split; its order is TFDS's own for files that are not shuffled.

        Raises:
          ValueError: if the dataset or split is unknown, is not prepared and cannot be, is
            incomplete, or does not consist of labelled images.
        """
        name = self._name
        builder = self._prepared(dataset_dir)
        record_files.check_descriptions(name, pathlib.Path(builder.data_path))
        image_key, label_key = _image_and_label_keys(name, builder.info)
        slices = parse_split(split, builder.info.splits, name)
        for part in slices:
            _check_files(name, builder.info.splits[part.name])

        # Files stay encoded; pixels that are kept as such have nothing to be spared.
        is_encoded = isinstance(builder.info.features[image_key], tfds.features.Image)
        decoders = {image_key: tfds.decode.SkipDecoding()} if is_encoded else {}
        names = builder.info.features[label_key].names
        class_names = self._in_order(names)
        numbers = None
        if self._sorts_classes:
            numbers = np.array([class_names.index(one) for one in names], np.int64)

        # TFDS's 8 MiB for each of the files that are read by turns leave the processor's caches,
        # which took a quarter of the time for pixels of 192 KiB.
        buffer_options = {} if is_encoded else {"override_buffer_size": 1 << 20}

        def read(parts: list[SplitSlice], first_index: int, **read_options: Any) -> tf.data.Dataset:
            rows = builder.as_dataset(
                # Not `split` itself: TFDS reads too much for a term such as train[80%:20%].
                split="+".join(f"{part.name}[{part.start}:{part.stop}]" for part in parts),
                shuffle_files=False,
                decoders=tfds.decode.PartialDecoding(
                    {image_key: True, label_key: True}, decoders=decoders
                ),
                # Caching and prefetching are decided where it is known what follows.
                read_config=tfds.ReadConfig(
                    try_autocache=False, skip_prefetch=True, **buffer_options, **read_options
                ),
            )
            return rows.enumerate(first_index).map(
                lambda index, row: {
                    "image": row[image_key],
                    "label": row[label_key]
                    if numbers is None
                    else tf.gather(numbers, row[label_key]),
                    "index": index,
                }
            )

        return ImageDataset(
            name=name,
            split=split,
            num_examples=sum(part.stop - part.start for part in slices),
            class_names=class_names,
            make_examples=lambda: read(slices, 0),
            describe=lambda index: f"example {index} of {name}, split {split}",
            make_stored_examples=lambda start: read(
                slices_from(slices, start), start, interleave_cycle_length=1
            ),
            fingerprint=fingerprint([builder.info.full_name, *map(str, slices)]),
            parts=tuple(slices),
            find_damage=lambda: _find_damage(name, builder, slices),
        )

    def class_names(self, dataset_dir: str | None) -> tuple[str, ...]:
        """Returns the classes; the dataset is prepared if only that tells them."""
        name = self._name
        builder = _find_prepared(name, dataset_dir) or _builder_from_code(name, dataset_dir)
        _, label_key = _image_and_label_keys(name, builder.info)
        names = tuple(builder.info.features[label_key].names)
        # TFDS's stand-in for names that it has not read yet.
        if names == tuple(map(str, range(len(names)))):
            features = self._prepared(dataset_dir).info.features
            names = tuple(features[label_key].names)
        return self._in_order(names)

    def _prepared(self, dataset_dir: str | None) -> tfds.core.DatasetBuilder:
        try:
            return prepared_builder(self._name, dataset_dir)
        except ValueError as error:
            raise ValueError(f"{self._missed} {error}".strip()) from error

    def _in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(names) if self._sorts_classes else names)

    def split_sizes(self, dataset_dir: str | None) -> dict[str, int]:
        """Returns how many examples each split has, which is prepared if it is not."""
        builder = self._prepared(dataset_dir)
        return {split: info.num_examples for split, info in builder.info.splits.items()}


def prepared_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset that can be read; arguments and errors as `TfdsSource`."""
    if data_dir is not None:
        data_dir = os.path.abspath(os.path.expanduser(data_dir))
        if os.path.isfile(data_dir):
            raise ValueError(f"{data_dir} is a file; the folder of prepared datasets was expected.")
    builder = _find_prepared(name, data_dir)
    if builder is None:
        builder = _builder_from_code(name, data_dir)
        _prepare(name, builder)
    return builder


def _find_prepared(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    # What is on the disk comes before the source code, whose version may be newer: then TFDS
    # would download again. Neither the source code nor the network is needed here.
    if data_dir and os.path.exists(os.path.join(data_dir, "features.json")):
        with _damage_explained(name):
            builder = tfds.builder_from_directory(data_dir)
        if _base_name(name) != builder.name:
            raise ValueError(
                f"{data_dir} holds the dataset {builder.name!r}, but {name!r} was asked for."
            )
        return builder
    try:
        with _damage_explained(name):
            return tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    except ValueError as error:
        # The same dataset in several of TFDS's registered folders; TFDS's own words serve.
        raise ValueError(
            f"The dataset {name!r} cannot be read: {str(error).splitlines()[0]}"
        ) from error


@contextlib.contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    """Turns what TFDS's parsers raise of damaged descriptions into a ValueError."""
    try:
        yield
    except Exception as error:
        is_damage = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
        if isinstance(error, ValueError | OSError) and not is_damage:
            raise
        raise ValueError(
            f"its dataset_info.json or features.json is damaged ({error}). Remove the folder of "
            f"{name} and prepare the dataset again."
        ) from error


def _builder_from_code(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    # Community datasets are left out because listing them asks a server.
    known = tfds.list_builders(with_community_datasets=False)
    base_name = _base_name(name)
    if base_name not in known:
        prepared = _folder_names(data_dir) if data_dir else []
        candidates = sorted({*known, *sources, *prepared})
        near = difflib.get_close_matches(base_name, candidates, n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        where = f" Nothing of that name is in {data_dir}." if data_dir else ""
        if data_dir and glob.glob(os.path.join(glob.escape(data_dir), base_name, "*.incomplete")):
            raise ValueError(
                f"The dataset {name!r} in {data_dir} is not finished: the prepare_dataset command "
                "that began it goes on where it stopped."
            )
        raise ValueError(
            f"Unknown dataset {name!r}.{hint}{where} Known: "
            f"{''.join(f'{source}, ' for source in sources)}"
            f"and every name of TensorFlow Datasets, listed at {_CATALOG}."
        )
    try:
        configs = list(tfds.builder_cls(base_name).builder_configs)
        config = name.partition(":")[0].partition("/")[2]
        if config and config not in configs:
            raise ValueError(
                unknown_name_message(f"configuration of {base_name}", config, configs)
                if configs
                else f"The dataset {base_name!r} has no configurations; {config!r} was given."
            )
        return tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ImportError, OSError) as error:
        raise ValueError(f"The dataset {name!r} cannot be used: {error}") from error


def _prepare(name: str, builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares a dataset, or says why not."""
    where = f"The dataset {name!r} is not prepared in {builder.data_dir_root}"
    if not (_has_downloads(builder) or _may_reach_any_host(builder)):
        raise ValueError(
            f"{where}, and it cannot be downloaded: there is no network connection to its server. "
            "Give the folder that holds it as --dataset_dir, or run once where there is a network."
        )
    try:
        # Standard output belongs to results; TFDS's announcements are progress.
        with _unseeded_random_names(), contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
    except Exception as error:
        # Another process may have finished the same work meanwhile: TFDS writes to a folder of
        # its own and renames it, which fails when the dataset is there.
        if _is_prepared(builder):
            builder.info.read_from_directory(builder.data_path)
            return
        raise ValueError(f"{where}, and preparing it failed: {error}") from error
    if not _is_prepared(builder):
        raise ValueError(
            f"The dataset in {builder.data_path} is incomplete. Remove that folder and try again."
        )


def _is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    # `builder.is_prepared` takes the path for a pattern, and so finds nothing in a folder "a[1]".
    return (builder.data_path / "dataset_info.json").exists()


def _has_downloads(builder: tfds.core.DatasetBuilder) -> bool:
    """Returns whether files were downloaded before, which TFDS then uses without a network."""
    folder = builder.data_dir_root / "downloads" / builder.name
    return folder.exists() and any(".tmp." not in path.name for path in folder.iterdir())


def _may_reach_any_host(builder: tfds.core.DatasetBuilder) -> bool:
    """Returns False if downloading is bound to fail, without waiting for TFDS's many retries."""
    if urllib.request.getproxies() or builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return True  # the proxy reaches the host; the user may have brought the files
    addresses = {
        (url.hostname, url.port or {"http": 80, "ftp": 21}.get(url.scheme, 443))
        for url in map(urllib.parse.urlsplit, builder.url_infos or ())
        if url.hostname
    }
    if not addresses:
        return True  # nothing to download, or addresses that only the source code knows
    for address in sorted(addresses)[:_MOST_HOSTS_TRIED]:
        with contextlib.suppress(OSError):
            socket.create_connection(address, _CONNECTION_TIMEOUT_SECONDS).close()
            return True
    return False


@contextlib.contextmanager
def _unseeded_random_names() -> Iterator[None]:
    # TFDS names its temporary folder by Python's generator. Two processes that have seeded it
    # alike, as replicas of one run do, would write into the same one.
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)


def _image_and_label_keys(name: str, info: tfds.core.DatasetInfo) -> tuple[str, str]:
    """Returns the keys of the image and of the label among the features.

    An image is an Image feature, or a Tensor of uint8 [height, width, 3] that is called "image".

    Raises:
      ValueError: if there is not one that is meant: the one used for supervised learning, the one
        called "image" or "label", or the only one.
    """
    found = []
    wanted = (("image", tfds.features.Image), ("label", tfds.features.ClassLabel))
    supervised = info.supervised_keys if len(info.supervised_keys or ()) == 2 else (None, None)
    features = dict(info.features) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    for (usual_key, feature_type), supervised_key in zip(wanted, supervised, strict=True):
        keys = [key for key, feature in features.items() if isinstance(feature, feature_type)]
        if feature_type is tfds.features.Image and _is_pixels(features.get(usual_key)):
            keys.append(usual_key)
        preferred = [key for key in (supervised_key, usual_key) if key in keys]
        if not preferred and len(keys) != 1:
            raise ValueError(
                f"The dataset {name!r} cannot be used to classify images: it has "
                f"{'several' if keys else 'no'} {feature_type.__name__} features, "
                f"where one called {usual_key!r} is needed. "
                f"Its features: {', '.join(sorted(features))}."
            )
        found.append((preferred or keys)[0])
    return found[0], found[1]


def _is_pixels(feature: Any) -> bool:
    """Returns whether a feature is an image that is kept as pixels, rather than as a file."""
    return (
        isinstance(feature, tfds.features.Tensor)
        and feature.np_dtype == np.uint8
        and len(feature.shape) == 3
        and feature.shape[-1] == 3
    )


def _check_files(name: str, split_info: tfds.core.SplitInfo) -> None:
    """Raises ValueError if a file of the split is missing, or has another size than it had."""
    paths = _paths(split_info)
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ValueError(
            f"The dataset {name!r} is incomplete: {missing[0]} is missing"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}. "
            + record_files.remedy_of_missing(missing[0])
        )
    if paths and _is_tfrecord(paths[0]):
        record_files.check_sizes(name, paths, split_info.shard_lengths, split_info.num_bytes)


def _find_damage(
    name: str, builder: tfds.core.DatasetBuilder, slices: list[SplitSlice]
) -> str | None:
    for part in dict.fromkeys(one.name for one in slices):
        split_info = builder.info.splits[part]
        paths = _paths(split_info)
        if not paths or not _is_tfrecord(paths[0]):
            continue
        if damage := record_files.find_damage(paths, split_info.shard_lengths):
            return f"The dataset {name!r} is damaged: {damage}"
    return None


def _paths(split_info: tfds.core.SplitInfo) -> list[pathlib.Path]:
    return [pathlib.Path(path) for path in split_info.filepaths]


def _is_tfrecord(path: pathlib.Path) -> bool:
    return ".tfrecord" in path.name


def _base_name(name: str) -> str:
    return name.partition(":")[0].partition("/")[0]


def _folder_names(parent: str) -> list[str]:
    return os.listdir(parent) if os.path.isdir(parent) else []
