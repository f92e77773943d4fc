"""Says what a trained network sees on images without labels, and sorts them by it if asked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import tempfile

import tqdm

from image_datasets import dataset_factory
from image_datasets.file_names import printable
from nets.nets_factory import networks
from slimzoo import program
from slimzoo.classify.answer_files import AnswerFile, answer_file, check_output
from slimzoo.classify.answer_table import MOST_ROWS, Row, class_counts, in_short, table
from slimzoo.classify.given_images import GivenImages, find_images
from slimzoo.classify.sorted_images import SortedImages
from slimzoo.configuration import PRECISIONS, CommandConfig, max_image_pixels_flag
from slimzoo.flags import Theme, check_not_negative, check_positive, flag, required_flag
from slimzoo.output_folders import folder_to_write
from slimzoo_registry import import_modules
from training.checkpoints.finding import exists
from training.checkpoints.trained_model import (
    TrainedModel,
    check_class_names,
    imagenet_classes_or,
    load_trained_model,
)
from training.classification import (
    ImageClassifier,
    NetworkClassifier,
    SavedModelClassifier,
    is_saved_model,
)
from training.ensemble import Member
from training.export.export_record import read_record
from training.zoo.table import PREFIX

_MOST_PROBLEMS = 20
_MOST_PROBLEMS_IN_A_LINE = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(CommandConfig):
    """What `classify_images` does."""

    first_flags = (
        "checkpoint_path",
        "images",
        "output",
        "copy_to",
        "top_k",
        "crops",
    )

    checkpoint_path: str = required_flag(
        "What answers: a checkpoint, or the train_dir that holds it (its last), a file of weights "
        "as convert_weights takes it, zoo:NAME, or the folder of a SavedModel from "
        "export_saved_model.",
        theme=Theme.NETWORK,
    )
    images: list[str] = flag(
        [],
        "Images to classify: files, folders (with all that is in them, at any depth) and patterns "
        "such as 'photos/**/*.jpg', separated by commas; or as arguments, without this flag. `-` "
        "is standard input: the names of files, one a line, or the bytes of one image.",
        takes_arguments=True,
        theme=Theme.IMAGES,
    )
    model_name: str | None = flag(
        None,
        f"The network of weights that come without a model.json: {', '.join(networks)}.",
        theme=Theme.NETWORK,
    )
    dataset_name: str | None = flag(
        None,
        "Dataset that names the classes, in the order of its labels. For weights without a "
        "model.json, by default imagenet2012; otherwise its names must be those of the network.",
        theme=Theme.IMAGES,
    )
    dataset_dir: str | None = flag(
        None,
        "The folder of images for `folder`, of records for `tfrecord`; otherwise TFDS's data_dir.",
        theme=Theme.IMAGES,
    )
    top_k: int = flag(
        5, "How many of the likeliest classes are named for each image.", theme=Theme.OUTPUT
    )
    output: str | None = flag(
        None,
        "File for the answers, CSV or JSON Lines by its ending, .csv or .jsonl. It is there "
        "whole or not at all. With it, of more than "
        f"{MOST_ROWS} images only sums are shown on the terminal.",
        theme=Theme.OUTPUT,
    )
    overwrite: bool = flag(False, "Let `output` replace a file that exists.", theme=Theme.OUTPUT)
    copy_to: str | None = flag(
        None,
        "Folder into which each image is copied, below a folder for its likeliest class. Nothing "
        "there is overwritten: images of the same name get a number.",
        theme=Theme.OUTPUT,
    )
    link_to: str | None = flag(
        None, "As copy_to, with symbolic links to the images instead of copies.", theme=Theme.OUTPUT
    )
    crops: int = flag(
        1,
        "Crops per image: 1 (the center), or 10 (four corners, center, and their mirror images; "
        "the softmax outputs are averaged).",
        theme=Theme.NETWORK,
    )
    batch_size: int = flag(
        64, "Images, or crops, that the network sees at a time.", theme=Theme.LENGTH
    )
    image_size: int | None = flag(
        None,
        "Height and width given to the network, in pixels. Default: as trained.",
        theme=Theme.NETWORK,
    )
    use_moving_average: bool = flag(
        True, "Take the moving averages of the weights, if the run kept them.", theme=Theme.NETWORK
    )
    mixed_precision: str = flag(
        "float32", "Number type in which the network computes.", PRECISIONS, theme=Theme.NETWORK
    )
    respect_exif: bool | None = flag(
        None,
        "Turn each photo as its camera noted (EXIF orientation). Default: as the network was "
        "trained; for weights of which that is not known yes.",
        theme=Theme.IMAGES,
    )
    max_image_pixels: int = max_image_pixels_flag()

    def __post_init__(self) -> None:
        """Checks ranges, and flags that exclude each other."""
        super().__post_init__()
        check_positive(top_k=self.top_k, batch_size=self.batch_size, image_size=self.image_size)
        check_not_negative(max_image_pixels=self.max_image_pixels)
        if self.crops not in (1, 10):
            raise ValueError(f"--crops is {self.crops}; it must be 1 or 10.")
        if self.copy_to and self.link_to:
            raise ValueError("--copy_to and --link_to are both given; give one of them.")


# What is fixed in an export, and has no effect on it.
_NOT_FOR_EXPORTS = (
    *("model_name", "crops", "image_size", "use_moving_average", "mixed_precision"),
    *("max_image_pixels", "respect_exif"),
)


@dataclasses.dataclass(frozen=True)
class ClassifiedImages:
    """What was said.

    Attributes:
      rows: of each image that was classified, in order, its name and likeliest classes: top_k, or
        if only sums are shown one.
      problems: what is wrong with each of the others, by its name.
    """

    rows: list[Row]
    problems: dict[str, str]


def main() -> None:
    """Runs the command."""
    program.run(ClassificationConfig, classify)


def classify(config: ClassificationConfig) -> ClassifiedImages:
    """Runs the command: classifies images, and prints, writes and sorts as it is asked.

    Raises:
      ValueError: if something in the configuration does not exist or does not fit, or no image can
        be classified.
      OSError: if the output cannot be written.
    """
    if not config.images:
        raise ValueError(
            "No image is given. Name files, folders or patterns after the flags, or - for "
            "standard input."
        )
    output = check_output(config.output, config.overwrite) if config.output else None
    sort_flag, sort_folder = _sort_folder(config)
    with tempfile.TemporaryDirectory(prefix="classify_images_") as temporary:
        given = find_images(config.images, temporary)
        if not given.paths:
            raise ValueError(f"There is no image to classify: {_in_a_line(given.problems)}.")
        if sort_folder:
            _check_sort_folder(sort_flag, sort_folder, given)
        import_modules(config.import_modules)
        classifier = _load_classifier(config)
        shows_rows = not output or len(given.paths) <= MOST_ROWS
        top_k = min(config.top_k, len(classifier.class_names))
        images = (
            SortedImages(sort_folder, classifier.class_names, link=bool(config.link_to))
            if sort_folder
            else None
        )
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(answer_file(output, top_k)) if output else None
                result = _answer_all(classifier, given, top_k, file, images, shows_rows)
                if not result.rows:
                    why = _in_a_line(result.problems)
                    raise ValueError(f"No image could be classified: {why}.")
        except KeyboardInterrupt as interruption:
            interruption.args = (_what_is_done(config, output, images),)
            raise
    _say(result, shows_rows, output)
    if images:
        _say_sorted(config, images)
    if output:
        print(f"Written: {output}")
    return result


def _answer_all(
    classifier: ImageClassifier,
    given: GivenImages,
    top_k: int,
    file: AnswerFile | None,
    images: SortedImages | None,
    keeps_all: bool,
) -> ClassifiedImages:
    """Classifies the images; what comes of each is written and put in place at once."""
    rows: list[Row] = []
    problems: dict[str, str] = {}
    bar = tqdm.tqdm(
        total=len(given.paths), desc="classifying", unit="image", leave=False, disable=None
    )
    with bar:
        for answer in classifier.answers(given.paths):
            name = given.shown_name(answer.path)
            likeliest = [
                (classifier.class_names[label], float(answer.probabilities[label]))
                for label in answer.likeliest(top_k)
                if answer.probabilities is not None
            ]
            if file:
                file.add(name, answer.error, likeliest)
            if answer.probabilities is None:
                problems[name] = answer.error
            else:
                rows.append(Row(name, likeliest if keeps_all else likeliest[:1]))
                if images:
                    images.put(answer.path, answer.likeliest(1)[0])
            bar.update()
    for name, why in given.problems.items():
        problems[name] = why
        if file:
            file.add(name, why, [])
    return ClassifiedImages(rows, problems)


def _load_classifier(config: ClassificationConfig) -> ImageClassifier:
    path = os.path.expanduser(config.checkpoint_path)
    if os.path.basename(path) == "saved_model.pb":
        path = os.path.dirname(path) or "."
    classifier: ImageClassifier
    labels_offset = 0
    if is_saved_model(path):
        _check_flags_for_export(config, path)
        classifier = SavedModelClassifier(path, batch_size=config.batch_size)
        record = read_record(path)
        what = f", {record.model_name} of {record.is_of}" if record else ""
        print(f"SavedModel {path}{what}")
    else:
        model = _load_model(config, path)
        description = model.description
        labels_offset = description.labels_offset
        size = config.image_size or description.image_size
        preprocessing = model.preprocessing
        if config.respect_exif is not None or not description.dataset_name:
            # Weights from elsewhere may be asked about photos that a phone took on its side.
            preprocessing = preprocessing.replace(respect_exif=config.respect_exif is not False)
        classifier = NetworkClassifier(
            Member(model.network_fn, preprocessing, size),
            description.class_names,
            batch_size=config.batch_size,
            num_crops=config.crops,
            max_image_pixels=config.max_image_pixels,
        )
        print(f"{description.model_name} from {model.report.checkpoint}")
    if config.dataset_name:
        names = dataset_factory.class_names(config.dataset_name, config.dataset_dir)
        check_class_names(classifier.class_names, names[labels_offset:], config.dataset_name)
    return classifier


def _load_model(config: ClassificationConfig, path: str) -> TrainedModel:
    _, ending = os.path.splitext(path)
    record = read_record(path)
    if record or ending in (".tflite", ".onnx", ".keras"):
        format = record.format if record else ending.removeprefix(".")
        raise ValueError(
            f"--checkpoint_path {path} is an export as {format}; of exports a SavedModel is taken. "
            "Give the checkpoint that was exported. (The README.md of the export has the code that "
            "calls it.)"
        )
    try:
        return load_trained_model(
            config.checkpoint_path,
            use_moving_average=config.use_moving_average,
            dtype_policy=config.mixed_precision,
            model_name=config.model_name,
            class_names=imagenet_classes_or(config.dataset_name, config.dataset_dir)
            if config.model_name
            else None,
        )
    except ValueError as error:
        if exists(path) or path.startswith(PREFIX):
            raise
        raise ValueError(f"{error} The folder of a SavedModel is taken as well.") from error


def _check_flags_for_export(config: ClassificationConfig, folder: str) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    wrong = [name for name in _NOT_FOR_EXPORTS if getattr(config, name) != defaults[name]]
    if wrong:
        given = ", ".join(f"--{name}={getattr(config, name)}" for name in wrong)
        raise ValueError(
            f"{given} is for checkpoints and weights; {folder} holds a SavedModel, in which that "
            "is fixed. Leave it out, or give the checkpoint that was exported."
        )


def _sort_folder(config: ClassificationConfig) -> tuple[str, str | None]:
    """The flag that names a folder to sort images into, and that folder; None if none is named."""
    name = "link_to" if config.link_to else "copy_to"
    folder = config.link_to or config.copy_to
    return name, folder_to_write(name, folder) if folder else None


def _check_sort_folder(name: str, folder: str, given: GivenImages) -> None:
    """Raises ValueError if images cannot be sorted into a folder."""
    if given.piped and name == "link_to":
        raise ValueError(
            "The image of standard input has no file that --link_to could link to. Give --copy_to."
        )
    target = os.path.realpath(folder)
    for other in given.folders:
        place = os.path.realpath(other)
        if os.path.commonpath([place, target]) == place:
            raise ValueError(
                f"--{name} {folder} is in {other}, whose images are classified: the same command, "
                "given again, would take what it has sorted too. Give a folder elsewhere."
            )
    for path in given.paths:
        # The folder that a file is in: by --link_to the file itself is a link out of it.
        place = os.path.realpath(os.path.dirname(path))
        if f"{place}{os.sep}".startswith(f"{target}{os.sep}"):
            raise ValueError(
                f"{path} is in --{name} {folder}, where images are sorted to. Leave that folder out"
                " of what is classified, or give another one."
            )


def _say(result: ClassifiedImages, shows_rows: bool, output: str | None) -> None:
    """Prints the answers or their sums, and what could not be classified."""
    rows, problems = result.rows, result.problems
    print()
    print(table(rows) if shows_rows else class_counts(rows))
    print()
    if problems:
        print(f"{len(problems):,} could not be classified:")
        shown = _shown_problems(problems, _MOST_PROBLEMS)
        for problem in shown:
            print(f"  {problem}")
        if more := len(problems) - len(shown):
            where = shlex.quote(output) if output else "a file that is given as --output"
            print(f"  and {more:,} more, which {where} names")
    print(f"{_number(len(rows))} classified{f': {in_short(rows)}' if len(rows) > 1 else ''}.")


def _say_sorted(config: ClassificationConfig, images: SortedImages) -> None:
    done, folder = ("Linked", config.link_to) if config.link_to else ("Copied", config.copy_to)
    there = f"; {images.num_there:,} were there already" if images.num_there else ""
    print(f"{done}: {_number(images.num_new)}, to a folder for each class in {folder}{there}")
    if images.moved:
        place, other = next(iter(images.moved.items()))
        print(
            f"NOTE: {_number(len(images.moved))} had another class before, and "
            f"{'is' if len(images.moved) == 1 else 'are'} in the folder of that as well: "
            f"{printable(place)} is also {printable(other)}. "
            "Nothing is removed; to have each image once, sort into a new folder."
        )


def _what_is_done(
    config: ClassificationConfig, output: str | None, images: SortedImages | None
) -> str:
    """What a user who interrupts the command has of it."""
    said = ["Interrupted."]
    if images:
        done, folder = ("linked", config.link_to) if config.link_to else ("copied", config.copy_to)
        count = images.num_new + images.num_there
        said.append(f"{_number(count)} {'is' if count == 1 else 'are'} {done} to {folder}.")
    if output:
        said.append(f"{output} is not written.")
    return " ".join([*said, "The same command begins again."])


def _number(count: int) -> str:
    return f"{count:,} {'image' if count == 1 else 'images'}"


def _shown_problems(problems: dict[str, str], most: int) -> list[str]:
    """The first of them; one alone is never left out, as it takes no more than to say so."""
    count = len(problems) if len(problems) == most + 1 else most
    return [f"{printable(name)} {why}" for name, why in list(problems.items())[:count]]


def _in_a_line(problems: dict[str, str]) -> str:
    shown = _shown_problems(problems, _MOST_PROBLEMS_IN_A_LINE)
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more:,} more" if more else "")
