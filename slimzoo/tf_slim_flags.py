"""The flags of TF-Slim's three drivers that are not flags here, and what takes their place.

All others of train_image_classifier.py, eval_image_classifier.py and export_inference_graph.py (as
of 2020, in tensorflow/models) are taken. Each table below is in the order of its driver. A flag
with TF-Slim's default passes, with a line that says so: it changed nothing there either. So does
one whose value could change nothing of the result. Every other one ends the command before it reads
or writes anything.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

# What the command line says, and else TF-Slim's default: --batch_size is of one clone there.
_DEFAULTS = {"batch_size": 32, "num_epochs_per_decay": 2.0}


@dataclasses.dataclass(frozen=True)
class TFSlimFlag:
    """A flag of TF-Slim that is not one here.

    Attributes:
      name: of the flag.
      kind: the type of its value.
      default: TF-Slim's.
      instead: what to do in its place, as a sentence; messages and docs/from_tf_slim.md say it.
      computed: the flags that say the same here, from what the command line gives, by name.
      passes: whether every value passes, because none could change the result.
    """

    name: str
    kind: type[bool] | type[int] | type[float] | type[str]
    default: Any
    instead: str
    computed: Callable[[Mapping[str, Any]], str] | None = None
    passes: bool = False


def _replicas(given: Mapping[str, Any]) -> str:
    epochs = given["num_epochs_per_decay"] * given["num_clones"]
    return (
        f"--num_replicas={given['num_clones']} --batch_size={_global_batch_size(given)} "
        f"--num_epochs_per_decay={epochs:g}"
    )


def _hosts(given: Mapping[str, Any]) -> str:
    hosts = ",".join(f"HOST{number}:2222" for number in range(given["worker_replicas"]))
    return (
        f"--distribution_strategy=multi_worker_mirrored --worker_hosts={hosts} "
        f"--task_index={given['task']} --batch_size={_global_batch_size(given)}"
    )


def _global_batch_size(given: Mapping[str, Any]) -> int:
    return given["batch_size"] * given["num_clones"] * given["worker_replicas"]


def _export_dir(flag: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda given: f"--export_dir={os.path.splitext(given[flag])[0]}"


_SEVERAL_HOSTS = "--distribution_strategy=multi_worker_mirrored"
_INT8 = (
    "Nothing trains with simulated quantization. Quantize after training: export_saved_model "
    "--format=tflite --precision=int8."
)
_USE_GRAYSCALE = TFSlimFlag(
    "use_grayscale",
    bool,
    False,
    "Gray images are taken without a flag, as three equal channels; a network of gray images, such "
    "as lenet, gets all of them in gray. For others, turn colored ones gray beforehand.",
)
_MASTER = TFSlimFlag(
    "master",
    str,
    "",
    f"There are no sessions. Several hosts work together with {_SEVERAL_HOSTS} and --worker_hosts.",
)
_NUM_PREPROCESSING_THREADS = TFSlimFlag(
    "num_preprocessing_threads",
    int,
    4,
    "tf.data takes as many threads as there are cores.",
    passes=True,
)
_LABELS_OFFSET = TFSlimFlag(
    "labels_offset",
    int,
    0,
    "A run knows its own, and of other weights the number of outputs says whether a background "
    "class comes first.",
    passes=True,
)

TRAIN_FLAGS = (
    _MASTER,
    TFSlimFlag(
        "num_clones",
        int,
        1,
        "Give --num_replicas. --batch_size counts the images of all replicas together, and "
        "--num_epochs_per_decay epochs of all together.",
        _replicas,
    ),
    TFSlimFlag(
        "clone_on_cpu",
        bool,
        False,
        "Without a GPU in sight, the CPU is taken: set the environment variable "
        "CUDA_VISIBLE_DEVICES=-1.",
    ),
    TFSlimFlag(
        "worker_replicas",
        int,
        1,
        f"Give {_SEVERAL_HOSTS} and --worker_hosts, the same on all. --batch_size counts the "
        "images of all hosts together.",
        _hosts,
    ),
    TFSlimFlag(
        "num_ps_tasks",
        int,
        0,
        "There are no parameter servers: each host keeps all weights, and works on its part of "
        f"each batch ({_SEVERAL_HOSTS}, --worker_hosts).",
    ),
    TFSlimFlag(
        "num_readers",
        int,
        4,
        "tf.data reads in parallel, and in an order that a resumed run repeats.",
        passes=True,
    ),
    _NUM_PREPROCESSING_THREADS,
    TFSlimFlag(
        "save_summaries_secs",
        int,
        600,
        "Give --log_every_n_steps: metrics.jsonl and TensorBoard get an entry every so many steps.",
    ),
    TFSlimFlag(
        "task",
        int,
        0,
        f"Give --task_index, with {_SEVERAL_HOSTS} and --worker_hosts.",
        lambda given: f"--task_index={given['task']}",
    ),
    TFSlimFlag("quantize_delay", int, -1, _INT8),
    TFSlimFlag(
        "sync_replicas",
        bool,
        False,
        "Replicas and hosts always add up their gradients at each step.",
        passes=True,
    ),
    TFSlimFlag(
        "replicas_to_aggregate",
        int,
        1,
        "Every step adds up the gradients of all replicas; there are no spare ones. Give a "
        "--batch_size of as many images as are to be averaged over.",
        lambda given: f"--batch_size={given['batch_size'] * given['replicas_to_aggregate']}",
    ),
    _USE_GRAYSCALE,
)

EVAL_FLAGS = (
    _MASTER,
    _NUM_PREPROCESSING_THREADS,
    _LABELS_OFFSET,
    TFSlimFlag(
        "moving_average_decay",
        float,
        None,
        "Moving averages are taken if the checkpoint has them, unless you give "
        "--nouse_moving_average.",
        passes=True,
    ),
    TFSlimFlag("quantize", bool, False, _INT8),
    _USE_GRAYSCALE,
)

# Of export_inference_graph.py, and those of freeze_graph that were given for what it wrote.
EXPORT_FLAGS = (
    TFSlimFlag(
        "is_training",
        bool,
        False,
        "Exports are for inference. A network to be trained is built in Python: "
        "get_network_fn(name, num_classes, is_training=True).",
    ),
    TFSlimFlag("batch_size", int, None, "An export takes batches of any size: leave it out."),
    _LABELS_OFFSET,
    TFSlimFlag(
        "output_file",
        str,
        "",
        "Give --export_dir, a folder: an export is a SavedModel, with the weights of "
        "--checkpoint_path inside.",
        _export_dir("output_file"),
    ),
    TFSlimFlag(
        "quantize",
        bool,
        False,
        "Give --format=tflite --precision=int8, which quantizes trained weights.",
    ),
    TFSlimFlag("is_video_model", bool, False, "There are no networks for video here."),
    TFSlimFlag("num_frames", int, None, "There are no networks for video here."),
    TFSlimFlag(
        "write_text_graphdef",
        bool,
        False,
        "An export is binary. `saved_model_cli show --all --dir` with its folder shows in words "
        "what it takes and gives.",
    ),
    _USE_GRAYSCALE,
    TFSlimFlag(
        "input_graph",
        str,
        None,
        "There is no graph to give: --model_name says which network the weights are of, and a run "
        "of this project knows it.",
    ),
    TFSlimFlag(
        "input_checkpoint",
        str,
        None,
        "Give --checkpoint_path.",
        lambda given: f"--checkpoint_path={given['input_checkpoint']}",
    ),
    TFSlimFlag(
        "input_binary", bool, None, "There is no graph to give, in whatever form.", passes=True
    ),
    TFSlimFlag(
        "output_graph",
        str,
        None,
        "Give --export_dir, a folder: an export is a SavedModel, and there is nothing to freeze.",
        _export_dir("output_graph"),
    ),
    TFSlimFlag(
        "output_node_names",
        str,
        None,
        "There is nothing to freeze: an export has its weights inside, and the outputs `logits`, "
        "`probabilities` and `features`.",
    ),
)


def define_tf_slim_flags(
    known: Sequence[TFSlimFlag], flag_values: flags.FlagValues = flags.FLAGS
) -> None:
    """Lets the command line take flags of TF-Slim. `--help` leaves them out, `--helpfull` not."""
    parsers = {int: flags.IntegerParser, float: flags.FloatParser, str: flags.ArgumentParser}
    for one in known:
        arguments = (one.name, one.default, f"TF-Slim's. {one.instead}")
        flags.DEFINE_flag(
            flags.BooleanFlag(*arguments)
            if one.kind is bool
            else flags.Flag(parsers[one.kind](), flags.ArgumentSerializer(), *arguments),
            flag_values,
            module_name=__name__,
        )


def answer_tf_slim_flags(
    known: Sequence[TFSlimFlag], flag_values: flags.FlagValues = flags.FLAGS
) -> str:
    """Returns what to say of flags of TF-Slim that pass, a line for each; empty without any.

    Raises:
      ValueError: if one does not; the message says of each what takes its place.
    """
    given = [one for one in known if flag_values[one.name].present]
    values = {one.name: flag_values[one.name].value for one in known}
    for name, default in _DEFAULTS.items():
        if name in flag_values and name not in values:
            own = flag_values[name]
            values[name] = own.value if own.present else default
    replaced = [
        one for one in given if not one.passes and flag_values[one.name].value != one.default
    ]
    if replaced:
        raise ValueError("\n".join(_answer(one, values) for one in replaced))
    return "\n".join(f"NOTE: {_answer(one, values)}" for one in given)


def _answer(one: TFSlimFlag, values: Mapping[str, Any]) -> str:
    value = values[one.name]
    shown = f"--{'' if value else 'no'}{one.name}" if one.kind is bool else f"--{one.name}={value}"
    if one.passes:
        return f"{shown} of TF-Slim is not needed. {one.instead}"
    if value == one.default:
        return f"{shown} is TF-Slim's default, and changes nothing."
    computed = f" Here: {one.computed(values)}" if one.computed else ""
    return f"{shown} is a flag of TF-Slim. {one.instead}{computed}"
