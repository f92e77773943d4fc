"""The folder of a run: what is described in it, and whether a run may go on there."""

from __future__ import annotations

import json
import os
import pathlib

from image_datasets import dataset_factory
from image_datasets.file_names import same_spelling
from image_datasets.image_dataset import ImageDataset
from nets import nets_factory
from preprocessing import preprocessing_factory
from slimzoo.chosen_preprocessing import Pipeline, choose_pipeline
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import current_names, flag_lines, parse_options
from slimzoo.output_folders import absolute, made_folder
from training.checkpoints.description import ModelDescription
from training.checkpoints.finding import find_checkpoint, latest_checkpoint
from training.checkpoints.trained_model import check_classes
from training.dataset_preparation.directory import respects_exif_there
from training.storage.whole_files import written_whole
from training.zoo.cache import kept_checkpoint
from training.zoo.table import PublishedCheckpoint, named_checkpoint

FLAGS_NAME = "flags.txt"
RESPECT_EXIF = "respect_exif"  # the option that every preprocessing has

# What of the description may differ when a run goes on: a folder may be moved, photos be added, and
# a run be validated on something else from some step on.
_MAY_CHANGE = ("dataset_dir", "validation_split_name", "dataset_split_name", "num_training_images")

# Flags that may differ when a run goes on, and change nothing of what it learns.
_OF_NO_CONSEQUENCE = (
    *("--train_dir", "--checkpoint", "--on_damaged_checkpoint"),
    *("--worker_hosts", "--task_index", "--cluster_timeout_secs"),
)

# Without effect under other strategies.
_OF_HYBRID = ("hybrid_scheme", "fc_updates_per_step")

# Defaults that are none now, and say what those of today say of a run that goes on.
_EARLIER_DEFAULTS = ("--num_epochs_per_decay=2.0",)

# What users call now what old files, and the description of the model, call as it was called once.
_CURRENT_NAMES = current_names(TrainingConfig)


def published_weights(config: TrainingConfig) -> PublishedCheckpoint | None:
    """The published checkpoint that a run starts from; None if it starts from none.

    Raises:
      ValueError: if `zoo:NAME` names none, or one of another network than is trained.
    """
    if published := named_checkpoint(config.checkpoint_path):
        published.check_network(config.model_name)
        return published
    kept = kept_checkpoint(os.path.expanduser(config.checkpoint_path or ""))
    return kept if kept and kept.network == config.model_name else None


def choose_run_pipeline(config: TrainingConfig) -> Pipeline:
    """Chooses by flags; what they do not say is as with the weights that a run starts from."""
    inherited = None
    published = published_weights(config)
    if published and latest_checkpoint(absolute(_train_dir(config))) is None:
        find_checkpoint(config.checkpoint_path)  # what cannot be downloaded is said at once
    try:
        path = None if published else find_checkpoint(config.checkpoint_path)
    except ValueError:
        path = None  # none is given; or it is gone, and the run goes on without it
    source = ModelDescription.of_checkpoint(path) if path else None
    if path and source and source.model_name == config.model_name:
        source.check_names(os.path.dirname(path))
        options = source.resolved_options(os.path.dirname(path))
        inherited = Pipeline(source.preprocessing_name, options)
    elif published and published.preprocessing:
        inherited = Pipeline(published.preprocessing, {})
    network = nets_factory.networks[config.model_name]
    pipeline = choose_pipeline(config, network.preprocessing_name, inherited, network.channels)
    options = {name: value for name, value in pipeline.options.items() if name != RESPECT_EXIF}
    if _respects_exif(config, pipeline):
        options[RESPECT_EXIF] = True  # its absence is what runs had before there was a choice
    return Pipeline(pipeline.name, options)


def _respects_exif(config: TrainingConfig, pipeline: Pipeline) -> bool:
    """Whether photos are turned, which goes with the images and not with weights started from."""
    given = [option.partition("=")[0].strip() for option in config.preprocessing_options]
    if RESPECT_EXIF in given:
        wanted = bool(pipeline.options[RESPECT_EXIF])
        if config.respect_exif not in (None, wanted):
            raise ValueError(
                f"--respect_exif is {config.respect_exif}, and --preprocessing_options has "
                f"{RESPECT_EXIF}={wanted}. Give one of them."
            )
        return wanted
    if config.respect_exif is not None:
        return config.respect_exif
    train_dir = absolute(_train_dir(config))
    if latest_checkpoint(train_dir) is not None:
        try:
            earlier = ModelDescription.load(train_dir)
        except ValueError:
            earlier = None  # which is said where the run is taken up
        if earlier is not None:
            return bool(earlier.preprocessing_options.get(RESPECT_EXIF, False))
    if config.dataset_dir:
        # Of photos that were turned when they were prepared, new ones are to be turned as well.
        name = config.dataset_name.strip().partition(":")[0]
        prepared = respects_exif_there(absolute(config.dataset_dir), name)
        if prepared is not None:
            return prepared
    return dataset_factory.respects_exif(config.dataset_name, config.dataset_dir)


def describe(
    config: TrainingConfig,
    pipeline: Pipeline,
    dataset: ImageDataset,
    validation_dataset: ImageDataset | None,
) -> ModelDescription:
    """Describes the model that a run will train; ValueError if something does not exist or fit."""
    network = nets_factory.networks[config.model_name]
    class_names = list(dataset.class_names[config.labels_offset :])
    if not class_names:
        raise ValueError(
            f"--labels_offset is {config.labels_offset}, but {dataset.name} has only "
            f"{dataset.num_classes} classes."
        )
    if validation_dataset is not None:
        check_classes(class_names, validation_dataset, config.labels_offset)
    check_classes(class_names, dataset, config.labels_offset)
    published = published_weights(config)
    own_size = published.image_size if published else network.default_image_size
    image_size = config.train_image_size or own_size
    pipeline.try_out(image_size)
    return ModelDescription(
        model_name=config.model_name,
        network_options={
            **(published.network_options if published else {}),
            **parse_options("network_options", config.network_options, network.options),
        },
        class_names=class_names,
        preprocessing_name=pipeline.name,
        preprocessing_options=pipeline.portable_options(),
        image_size=image_size,
        labels_offset=config.labels_offset,
        dataset_name=config.dataset_name,
        dataset_dir=_absolute(config.dataset_dir),
        validation_split_name=validation_dataset.split if validation_dataset else None,
        network_module=config.import_modules,
        moving_average_decay=config.moving_average_decay,
        dataset_split_name=dataset.split,
        num_training_images=dataset.num_examples,
    )


def _absolute(folder: str | None) -> str | None:
    if folder is None or "://" in folder:  # gs:// and the like, which TFDS takes
        return folder
    return absolute(folder)


def make_train_dir(config: TrainingConfig) -> str:
    """Makes the folder of the run, and returns it; ValueError if it cannot be written."""
    return made_folder("train_dir", _train_dir(config))


def _train_dir(config: TrainingConfig) -> str:
    data = dataset_factory.short_name(config.dataset_name, config.dataset_dir)
    default = os.path.join("runs", f"{config.model_name}-{data}".replace("/", "-"))
    return config.train_dir or default


def fill_train_dir(train_dir: str, pipeline: Pipeline, description: ModelDescription) -> None:
    """Copies the files of the preprocessing; ValueError if the folder holds another run.

    Whether a run is there its checkpoints say, and nothing else.
    """
    resumes = latest_checkpoint(train_dir) is not None
    earlier = None
    try:
        earlier = ModelDescription.load(train_dir)
    except ValueError as error:
        print(f"WARNING: {error} It is written anew, from the flags.")
    if earlier is not None and resumes:
        _check_same_run(earlier, description, train_dir)
    for name, source in pipeline.files().items():
        _copy_file(source, pathlib.Path(train_dir, name), resumes)


def is_described(train_dir: str) -> bool:
    """Whether a run says what it is, so that a command that trains nothing need not."""
    try:
        return ModelDescription.load(train_dir) is not None
    except ValueError:
        return False


def _copy_file(source: str, copy: pathlib.Path, resumes: bool) -> None:
    """Puts a file of the preprocessing into the run's folder; one that goes on had the same."""
    try:
        content = pathlib.Path(source).read_bytes()
        if not resumes or not copy.exists():
            with written_whole(str(copy)) as temporary:
                pathlib.Path(temporary).write_bytes(content)
        elif copy.read_bytes() != content:
            raise ValueError(
                f"{copy.parent} holds a run with another {copy.name} than {source}. Give another "
                "--train_dir, or start from its weights with --checkpoint_path."
            )
    except OSError as error:
        raise ValueError(f"The preprocessing needs {error.filename}: {error.strerror}.") from error


def changed_flags(config: TrainingConfig, train_dir: str) -> str:
    """Says which flags a run that goes on had before and has not now; empty if it has the same."""
    before = _flags_of(train_dir)
    if not before:
        return ""
    now = flag_lines(config).splitlines()
    before, now = (
        [line for line in lines if not line.startswith(_OF_NO_CONSEQUENCE)]
        for lines in (before, now)
    )
    # A flag that an earlier version did not have had its default.
    known = set(map(_name, before))
    new = [line for line in flag_lines(TrainingConfig()).splitlines() if _name(line) not in known]
    added = [
        line
        for line in now
        if line not in before
        and line not in new
        and (config.distribution_strategy == "hybrid" or _name(line) not in _OF_HYBRID)
    ]
    removed = [line for line in before if line not in (*now, *_EARLIER_DEFAULTS)]
    if not added and not removed:
        return ""
    return (
        f"The flags are not those it ran with: now {' '.join(added) or 'the defaults'}, "
        f"before {' '.join(removed) or 'the defaults'}."
    )


def _name(flag_line: str) -> str:
    return flag_line.removeprefix("--no").removeprefix("--").partition("=")[0]


def batch_size_before(train_dir: str) -> int | None:
    """The --batch_size that a run had; None if its flags do not tell."""
    for line in _flags_of(train_dir):
        name, _, value = line.partition("=")
        if name == "--batch_size" and value.isdecimal():
            return int(value)
    return None


def _flags_of(train_dir: str) -> list[str]:
    """The lines of flags.txt, under the names that flags have now; none if it cannot be read."""
    try:
        lines = pathlib.Path(train_dir, FLAGS_NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        print(f"WARNING: {train_dir}/{FLAGS_NAME} cannot be read, and is written anew: {error}.")
        return []
    return [_with_current_name(line) for line in lines]


def _with_current_name(flag_line: str) -> str:
    name, *value = flag_line.removeprefix("--").split("=", 1)
    return "=".join([f"--{_CURRENT_NAMES.get(name, name)}", *value])


def _check_same_run(earlier: ModelDescription, now: ModelDescription, train_dir: str) -> None:
    # As JSON gives them back, which knows no tuples.
    before, after = dict(vars(earlier)), json.loads(json.dumps(vars(now)))
    before["class_names"] = list(map(same_spelling, earlier.class_names))
    after["class_names"] = list(map(same_spelling, now.class_names))
    if earlier.preprocessing_name == now.preprocessing_name:  # its options may have had other names
        before["preprocessing_options"] = preprocessing_factory.merge_options(
            earlier.preprocessing_name, earlier.preprocessing_options, {}
        )
    for name in sorted(before, key=lambda name: name == "class_names"):  # they go with a dataset
        if name not in _MAY_CHANGE and before[name] != after[name]:
            raise ValueError(
                f"{train_dir} holds a run with {_CURRENT_NAMES.get(name, name)} {before[name]!r}; "
                f"now it is {after[name]!r}. "
                "Give another --train_dir, or start from its weights with --checkpoint_path."
            )
