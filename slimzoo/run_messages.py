"""What a training run says at its beginning: what it is made of, and what to think of it.

Its lines fit into 80 columns, as long as folders and classes have short names.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator

import tensorflow as tf

from image_datasets.file_names import listed
from image_datasets.image_dataset import ImageDataset
from image_datasets.label_names import BACKGROUND
from nets import nets_factory
from preprocessing.preprocessing_factory import USE_GRAYSCALE
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import settings
from slimzoo.narrow_lines import in_narrow_lines
from slimzoo.run_folder import RESPECT_EXIF
from training.checkpoints.description import ModelDescription
from training.checkpoints.saving import RunCheckpoints
from training.dataset_preparation.pixel_statistics import dataset_of_statistics
from training.evaluation import EvaluationResult
from training.forecast import size
from training.hybrid.hybrid_network import HybridNetworkFn
from training.learning_rates import LearningRate, LearningRateSettings, LearningRateState
from training.progress import Progress
from training.training_state import TrainingState

# A standard deviation of validation's accuracy, above which it tells little.
_COARSE = 0.1


def announcement(
    config: TrainingConfig,
    description: ModelDescription,
    dataset: ImageDataset,
    validation_dataset: ImageDataset | None,
    state: TrainingState,
    *,
    first_step: int,
    num_steps: int,
    num_replicas: int,
    train_dir: str,
) -> str:
    """Says what is trained, on what, and where it goes.

    Args:
      config: of the run.
      description: of the model.
      dataset: trained on.
      validation_dataset: validated on; None without validation.
      state: what training changes.
      first_step: that the run goes on from.
      num_steps: of the whole run.
      num_replicas: that share a batch.
      train_dir: of the run.
    """
    preprocessing = description.preprocessing_name
    if config.dataset_statistics:
        preprocessing += f", statistics of {dataset_of_statistics(config.dataset_statistics)}"
    elif set(description.preprocessing_options) - {RESPECT_EXIF, USE_GRAYSCALE} and not (
        config.preprocessing_options
    ):
        preprocessing += " with the options of --checkpoint_path"
    if description.preprocessing_options.get(RESPECT_EXIF):
        preprocessing += ", photos turned by their EXIF orientation"
    validation = "no validation"
    if validation_dataset is not None:
        num_images, split = validation_dataset.num_examples, validation_dataset.split
        validation = f"validated on {num_images:,} in {split}"
    num_parameters = state.network_fn.model.count_params()
    num_trained = state.num_trainable_parameters()
    trained = f" ({num_trained:,} trained)" if num_trained != num_parameters else ""
    replicas = "1 replica" if num_replicas == 1 else f"{num_replicas} replicas"
    if num_replicas > 1 and not tf.config.list_physical_devices("GPU"):
        replicas += " (parts of a CPU)"
    gray = "grey " if state.network_fn.channels == 1 else ""
    lines = [
        f"{description.model_name}: {num_parameters:,} parameters{trained}, "
        f"{description.image_size}x{description.image_size} {gray}pixels, "
        f"{config.mixed_precision}, preprocessing {preprocessing}",
        f"{description.dataset_name}: {dataset.num_examples:,} images of "
        f"{len(description.class_names)} classes in {dataset.split}; {validation}",
        f"steps {first_step:,} to {num_steps:,} of {config.batch_size} images on "
        f"{replicas}; train_dir {train_dir}",
        _division(config, state),
        _settings_of_the_network(config),
    ]
    return "\n".join(map(in_narrow_lines, filter(None, lines)))


def _division(config: TrainingConfig, state: TrainingState) -> str:
    """What each device has of what is divided, and the rates; empty if nothing is."""
    if not isinstance(state.network_fn, HybridNetworkFn):
        return ""
    stage = state.network_fn.fully_connected
    total, most = stage.num_parameters()
    at_most = "" if most * len(stage.devices) == total else "at most "
    times = config.fc_updates_per_step
    rates = (
        f"; these have {times} updates a step, and the convolutions one at {times} times the rate"
        if times > 1
        else ""
    )
    return (
        f"hybrid, scheme {config.hybrid_scheme}: of the {total:,} parameters of the fully "
        f"connected layers a device has {at_most}{most:,}{rates}"
    )


def nothing_to_do(
    config: TrainingConfig,
    progress: Progress,
    steps_per_epoch: float,
    first_step: int,
    num_steps: int,
    rate_state: LearningRateState,
) -> str:
    """Says how far the run is, and what makes it go on."""
    taken = f"{first_step:,} of {num_steps:,} steps"
    further = f"--max_number_of_steps={2 * max(first_step, num_steps)}"
    if not config.max_number_of_steps:
        epochs = f"{progress.epoch:.4g} of {config.num_epochs:.4g}"
        taken += f", which are {epochs} epochs in whole batches"
        further = f"--num_epochs={2 * max(math.ceil(progress.epoch), config.num_epochs):.10g}"
    place = progress.num_taken / config.batch_size
    rate = LearningRate(
        settings(LearningRateSettings, config), steps_per_epoch, 2 * place, rate_state
    )(place)
    lines = [
        f"This run has taken {taken}; nothing to do.",
        f"To train it further, give it more: with {further} the learning rate goes on at "
        f"{rate:.2g}; a --learning_rate above or below {config.learning_rate:g} raises or lowers "
        "that.",
    ]
    return "\n".join(map(in_narrow_lines, lines))


def large_batch(batch_size: int, num_examples: int, num_replicas: int) -> str:
    """Says that a batch is larger than the dataset, and which is not; empty if it is not.

    Args:
      batch_size: images a step.
      num_examples: that are trained on.
      num_replicas: that share a batch evenly.
    """
    smaller = max(num_examples // 4 // num_replicas, 1) * num_replicas
    if batch_size <= num_examples or smaller >= batch_size:
        return ""
    updates = num_examples / smaller
    return in_narrow_lines(
        f"NOTE: a batch of {batch_size:,} images is larger than the dataset, of {num_examples:,}: "
        f"an epoch is {num_examples / batch_size:.2g} updates of the weights. --batch_size="
        f"{smaller} makes them {updates:.2g}."
    )


def slow_number_type(mixed_precision: str) -> str:
    """Says that float16 trains slowly without a GPU; empty where it does not.

    Args:
      mixed_precision: the flag.
    """
    if mixed_precision != "float16" or tf.config.list_physical_devices("GPU"):
        return ""
    return in_narrow_lines(
        "NOTE: there is no GPU, and on a CPU float16 trains several times more slowly than "
        "float32. --mixed_precision=bfloat16 is the fastest on CPUs that have AVX512-BF16 or AMX."
    )


def nothing_learned(result: EvaluationResult, top_1: float, has_trained_weights: bool) -> str:
    """Says that a network is no better than one that does not look; empty if it is better.

    Args:
      result: of a validation.
      top_1: the best share of right answers of all validations.
      has_trained_weights: whether the run began with some.
    """
    majority, count = result.majority, result.num_examples
    # One standard deviation, by which an accuracy of so many images differs by chance.
    by_chance = math.sqrt(majority * (1 - majority) / count)
    difference = top_1 - majority
    apart = round(difference * count)
    if majority == 1 or difference > by_chance:
        return ""
    of_majority = f"the {majority:.2%} of who always names the most frequent class"
    if by_chance > _COARSE and abs(difference) <= 2 * by_chance:
        how_far = "the same"
        if apart:
            how_far = f"{abs(apart):,} image{'' if abs(apart) == 1 else 's'} apart"
        return in_narrow_lines(
            f"NOTE: {count:,} validation images are too few to tell whether "
            f"the network has learned: its {top_1:.2%} and {of_majority} are {how_far}. "
            "More validation images would tell."
        )
    comparison = "hardly more than" if apart > 0 else "less than" if apart else "just"
    advice = (
        "Give it more steps (--num_epochs, or a smaller --batch_size) or another --learning_rate"
    )
    if not has_trained_weights:
        advice += ", or begin with trained weights (--checkpoint_path)"
    return in_narrow_lines(
        f"NOTE: {top_1:.2%} is {comparison} {of_majority}: so far the network tells no class from "
        f"another. {advice}."
    )


def warnings(
    description: ModelDescription,
    dataset: ImageDataset,
    validation_dataset: ImageDataset | None,
    checkpoints: RunCheckpoints,
) -> Iterator[str]:
    """What a user should know of the disk, and of the images that are trained and validated on."""
    needed = checkpoints.bytes_to_come()
    free = shutil.disk_usage(checkpoints.train_dir).free
    if free < needed and checkpoints.writes:
        yield (
            f"{size(free)} are free in {checkpoints.train_dir}, and its checkpoints need up to "
            f"{size(needed)} more, {size(checkpoints.num_bytes())} each. Free some space, or give "
            "a smaller --keep_checkpoints, or a --train_dir on another disk."
        )
    offset = description.labels_offset
    if left_out := [name for name in dataset.class_names[:offset] if name != BACKGROUND]:
        yield (
            f"--labels_offset={offset} leaves out the images of {listed(left_out)}, and "
            f"{dataset.name} has no background class that comes before the others. Without the "
            "flag all classes are trained."
        )
    known = set(description.class_names)
    for one in filter(None, (dataset, validation_dataset)):
        if absent := [name for name in one.absent_classes if name in known]:
            yield (
                f"there is no image of {len(absent):,} of the {len(known):,} classes in "
                f"{one.split}: {listed(absent)}."
            )
    if validation_dataset is not None and (shared := validation_dataset.num_shared(dataset)):
        yield (
            f"{shared:,} of the {validation_dataset.num_examples:,} validation images are trained "
            f"on as well, as {dataset.split} and {validation_dataset.split} overlap."
        )


def _settings_of_the_network(config: TrainingConfig) -> str:
    """The flags that the network has values of its own for, as a line; empty without any."""
    own = nets_factory.networks[config.model_name].hyperparameters
    values = {name: getattr(config, name) for name in own}
    shown = " ".join(
        f"--{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.items()
    )
    return f"with {shown}" if shown else ""
