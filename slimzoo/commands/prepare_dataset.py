"""Writes a dataset once in the size that training crops from; see `dataset_preparation`."""

from __future__ import annotations

import dataclasses
import re
import shlex

import tensorflow_datasets as tfds

from image_datasets import dataset_factory
from image_datasets.image_dataset import ImageDataset
from image_datasets.split_names import find_split
from slimzoo import program
from slimzoo.configuration import SourceConfig, respect_exif_flag
from slimzoo.flags import Theme, check_positive, flag, required_flag
from slimzoo.interruption import signals_noted
from slimzoo.output_folders import absolute, folder_to_write
from slimzoo.program import beside_this_program
from slimzoo_registry import import_modules, unknown_name_message
from training.dataset_preparation.directory import (
    PreparationPlan,
    PreparedDirectory,
    respects_exif_there,
)
from training.dataset_preparation.pixel_statistics import DatasetStatistics, load_statistics
from training.dataset_preparation.records import ENCODINGS
from training.dataset_preparation.writing import write_dataset, write_lost_shards
from training.storage.locks import locked


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationConfig(SourceConfig):
    """What `prepare_dataset` does."""

    first_flags = (
        "dataset_name",
        "dataset_dir",
        "dataset_split_names",
        "output_dir",
        "image_size",
        "encoding",
    )

    dataset_name: str = required_flag(
        "The dataset to prepare: a TFDS name (imagenet2012, imagenette/320px-v2), `folder` for "
        "a folder of images per class, or `tfrecord` for records as TF-Slim's scripts write them.",
        theme=Theme.IMAGES,
    )
    dataset_split_names: list[str] = flag(
        [],
        "Names of the splits to prepare, for example train,validation. Default: all.",
        theme=Theme.IMAGES,
    )
    output_dir: str = required_flag(
        "Folder for prepared datasets. This one is written to OUTPUT_DIR/PREPARED_NAME; train on "
        "it with --dataset_dir=OUTPUT_DIR --dataset_name=PREPARED_NAME.",
        theme=Theme.OUTPUT,
    )
    prepared_name: str | None = flag(
        None,
        "What the prepared dataset is called. Default: the name of the dataset or of its folder, "
        "the image size, and the encoding if it is raw: tf_flowers_256, tf_flowers_256_raw.",
        theme=Theme.OUTPUT,
    )
    image_size: int = flag(
        256,
        "Side of the stored square images, in pixels. Each image is resized until its short "
        "side has this length, and the central square is kept.",
        theme=Theme.IMAGES,
    )
    encoding: str = flag(
        "jpeg",
        "How images are kept: `jpeg` (small; must be decoded in every epoch) or `raw` (the pixels, "
        "192 KiB for 256x256, in the shuffle buffer too: 10,000 of them take 2 GB).",
        ENCODINGS,
        theme=Theme.OUTPUT,
    )
    jpeg_quality: int = flag(
        95,
        "JPEG quality for --encoding=jpeg, from 1 to 100; higher is larger and more exact. At"
        " 95, photos of flowers took 29 kB each, and pixel values (0 to 255) changed by 1.9 "
        "on average.",
        theme=Theme.OUTPUT,
    )
    examples_per_shard: int = flag(
        1024,
        "Images in a file. An interrupted run goes on after the last complete file, and several "
        "files are read at the same time.",
        theme=Theme.OUTPUT,
    )
    respect_exif: bool | None = respect_exif_flag()

    def __post_init__(self) -> None:
        """Checks ranges."""
        super().__post_init__()
        check_positive(image_size=self.image_size, examples_per_shard=self.examples_per_shard)
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"--jpeg_quality is {self.jpeg_quality}; it must be 1 to 100.")


def main() -> None:
    """Runs the command."""
    program.run(PreparationConfig, prepare)


def prepare(config: PreparationConfig) -> DatasetStatistics:
    """Runs the command: prepares a dataset, or what is left of it, and prints what it has become.

    Returns:
      The statistics of the training split: of the pixels before they are encoded as JPEG.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, if another
        dataset is in the way, or if an image cannot be decoded and such are not to be skipped.
      OSError: if the output cannot be written.
    """
    output_dir = folder_to_write("output_dir", absolute(config.output_dir))
    import_modules(config.import_modules)
    prepared_name = config.prepared_name or default_name(config)
    _check_name(prepared_name)

    plan, datasets = make_plan(config, prepared_name)
    directory = PreparedDirectory(output_dir, plan)
    if directory.is_finished():
        print(_checked(directory, datasets, config))
    else:
        with directory.being_written():
            if directory.needs_finishing_only():
                directory.finish({})
            else:
                # An interrupt inside TensorFlow's iterator can end in its "Aborted" rather than
                # in ours.
                with signals_noted() as signals:
                    write_dataset(
                        directory,
                        datasets,
                        dataset_dir=config.dataset_dir,
                        skip_corrupt_images=config.skip_corrupt_images,
                        max_image_pixels=config.max_image_pixels,
                        stop_requested=lambda: bool(signals),
                    )
    return _report(directory, output_dir)


def _checked(
    directory: PreparedDirectory, datasets: dict[str, ImageDataset], config: PreparationConfig
) -> str:
    """Writes what the finished dataset has lost, compares all of it, and says so."""
    said = [f"{directory.plan.prepared_name} is complete already: nothing was written."]
    if directory.lost_shards():
        said = [_write_again(directory, datasets, config)]
    said.append(directory.verify())
    for split in datasets:  # compares the sizes where there are no checksums
        data_dir = str(directory.folder.parents[1])
        dataset_factory.get_dataset(directory.plan.prepared_name, split, data_dir)
    return "\n".join(said)


def _write_again(
    directory: PreparedDirectory, datasets: dict[str, ImageDataset], config: PreparationConfig
) -> str:
    """Writes the files that the finished dataset has lost, and says which."""
    with locked(directory.folder), signals_noted() as signals:
        names = write_lost_shards(
            directory,
            datasets,
            dataset_dir=config.dataset_dir,
            skip_corrupt_images=config.skip_corrupt_images,
            max_image_pixels=config.max_image_pixels,
            stop_requested=lambda: bool(signals),
        )
    return f"Written again, as they were not there any more: {', '.join(names)}"


def make_plan(
    config: PreparationConfig, prepared_name: str
) -> tuple[PreparationPlan, dict[str, ImageDataset]]:
    """What decides the files of the prepared dataset, and the splits that are read for it."""
    name = config.dataset_name
    known = dataset_factory.split_sizes(name, config.dataset_dir)
    splits = list(dict.fromkeys(split.strip() for split in config.dataset_split_names)) or [
        split for split, num_examples in known.items() if num_examples
    ]
    splits = list(dict.fromkeys(find_split(split, known) or split for split in splits))
    for split in splits:
        if split not in known:
            message = unknown_name_message(f"split of {name}", split, known)
            raise ValueError(
                f"{message} Whole splits are prepared; parts such as train[:80%] can be taken of "
                "the prepared dataset."
            )
    if not splits:
        raise ValueError(f"The dataset {name!r} has no examples.")
    datasets = {
        split: dataset_factory.get_dataset(name, split, config.dataset_dir) for split in splits
    }
    _check_class_names(datasets[splits[0]].class_names)
    is_folder = dataset_factory.is_named_by_folder(name, config.dataset_dir)
    plan = PreparationPlan(
        prepared_name=prepared_name,
        dataset_name=name,
        dataset_dir=_folder_path(config) if is_folder else None,
        splits={split: dataset.num_examples for split, dataset in datasets.items()},
        class_names=list(datasets[splits[0]].class_names),
        image_size=config.image_size,
        encoding=config.encoding,
        jpeg_quality=config.jpeg_quality if config.encoding == "jpeg" else None,
        examples_per_shard=config.examples_per_shard,
        respect_exif=_respects_exif(config, prepared_name),
    )
    return plan, datasets


def _report(directory: PreparedDirectory, output_dir: str) -> DatasetStatistics:
    """Prints where the finished dataset is, what it is, and how to train on it."""
    plan, folder = directory.plan, directory.folder
    statistics = load_statistics(str(folder))
    info = tfds.builder_from_directory(str(folder)).info
    for split, left_out in directory.skipped_images().items():
        if left_out:
            shown = "".join(f"\n  {description}" for description in left_out[:10])
            more = f"\n  and {len(left_out) - 10:,} more" if len(left_out) > 10 else ""
            why = "as they cannot be read or decoded"
            print(f"Left out of {split}, {why}: {len(left_out):,}{shown}{more}")
    sizes = ", ".join(f"{split} {info.splits[split].num_examples:,}" for split in plan.splits)
    num_files = sum(info.splits[split].num_shards for split in plan.splits)
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    print(
        f"{plan.prepared_name}: {sizes} images of {plan.image_size}x{plan.image_size} "
        f"({plan.encoding}) in {num_files:,} files, {num_bytes / 1e6:,.1f} MB, in {folder}"
    )
    print(f"{plan.training_split}: {statistics}")
    driver = beside_this_program("train_image_classifier")
    flags = f"--dataset_name={plan.prepared_name} --dataset_dir={shlex.quote(output_dir)}"
    if len(plan.splits) == 1:
        split = plan.training_split
        flags += f" --dataset_split_name='{split}[:80%]' --validation_split_name='{split}[80%:]'"
    print(f"Train on it:\n  {driver} {flags}")
    return statistics


def default_name(config: PreparationConfig) -> str:
    """What a prepared dataset is called, if nothing else is asked for."""
    name = config.dataset_name.strip().partition(":")[0]
    name = dataset_factory.short_name(name, config.dataset_dir)
    suffix = "_raw" if config.encoding == "raw" else ""
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    if not name[:1].isalpha():  # a folder can be called by a year, or in Japanese
        name = f"{config.dataset_name}_{name}".rstrip("_")
    return f"{name}_{config.image_size}{suffix}"


def _respects_exif(config: PreparationConfig, prepared_name: str) -> bool:
    if config.respect_exif is not None:
        return config.respect_exif
    there = respects_exif_there(absolute(config.output_dir), prepared_name)
    if there is not None:
        return there
    return dataset_factory.respects_exif(config.dataset_name, config.dataset_dir)


def _folder_path(config: PreparationConfig) -> str | None:
    return absolute(config.dataset_dir) if config.dataset_dir else None


def _check_class_names(names: tuple[str, ...]) -> None:
    # TFDS keeps them as lines of a text file, and drops spaces around them when it reads it.
    lost = [name for name in names if name != name.strip() or {"\n", "\r"} & set(name)]
    if lost:
        raise ValueError(
            f"{len(lost):,} of the classes cannot be prepared, as TFDS keeps neither line breaks "
            f"in their names nor spaces around them: {', '.join(map(repr, lost[:5]))}. Rename "
            "their folders, or train on the dataset as it is."
        )


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"--prepared_name is {name!r}; a name of TFDS has lower-case letters, digits and "
            "underscores, and begins with a letter."
        )
    # Under such a name TFDS and this package would look for something else.
    if name in dataset_factory.sources or name in tfds.list_builders(with_community_datasets=False):
        raise ValueError(
            f"--prepared_name is {name!r}, which is the name of another dataset; "
            f"{name}_256 would do."
        )
