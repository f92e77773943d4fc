"""What a training step spends its time on, by the events that TensorFlow's profiler has recorded.

Names of kernels are cuDNN's, cuBLAS's, XLA's and TensorFlow's own. Which operation launched one is
told by TensorFlow, and by XLA which compiled function it belongs to.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

IDLE = "idle"
CLASSES = (
    "convolution",
    "matrix product",
    "response normalisation",
    "pooling",
    "elementwise and the rest",
    "layout",
    "casts",
    "update",
    "copies",
    IDLE,
)

# The functions of nets/response_normalization.py that XLA compiles, in both forms.
_RESPONSE_NORMALIZATION = (
    "square|divide|weigh|pad|combine",
    "normalize|gradient_of_inputs",
)
# (class, what of an event is looked at, pattern); the first that is found decides. "kind" is the
# operation's. A library's kernels come last, as a convolution may be a matrix product of cuBLAS.
_RULES = tuple(
    (name, part, re.compile(pattern))
    for name, part, pattern in (
        ("copies", "name", r"(?i)^mem(cpy|set)"),
        ("layout", "name", r"(?i)nchwToNhwc|nhwcToNchw|Swap\w*In\w*Tensor3|ShuffleInTensor3"),
        ("layout", "name", r"^(wrapped_|loop_|input_)?(transpose|copy)"),
        ("layout", "kind", r"Transpose|MklToTf|TfToMkl"),
        ("update", "module", r"_update_weights"),
        ("update", "kind", r"^ResourceApply|^Assign\w*VariableOp"),
        *(
            ("response normalisation", "module", rf"^a_inference_({names})_\d")
            for names in _RESPONSE_NORMALIZATION
        ),
        ("response normalisation", "kind", r"^LRN"),
        ("casts", "kind", r"^Cast$"),
        ("casts", "name", r"^wrapped_convert"),
        ("pooling", "kind", r"Pool"),
        ("convolution", "kind", r"Conv2D|^DepthwiseConv2d"),
        ("matrix product", "kind", r"MatMul|Einsum"),
        ("pooling", "name", r"(?i)pool|select_and_scatter"),
        ("convolution", "name", r"(?i)fprop|dgrad|wgrad|implicit_gemm|cudnn|conv(?!er)"),
        ("matrix product", "name", r"(?i)gemm|gemv|nvjet|cutlass|splitk|^dot|^matmul"),
    )
)
_REST = "elementwise and the rest"

# The host's own events of an operation: "name:Type". Calls of functions contain others.
_OPERATION = re.compile(r"^[\w./-]*:(?!\w*(PartitionedCall|If|While)$)_?[A-Z]\w*$")


@dataclasses.dataclass(frozen=True)
class Event:
    """A kernel of a GPU; where there is none, an operation or a loop of XLA's on the host.

    Attributes:
      name: of the kernel, the operation ("functional/conv1/Conv2D:Conv2D") or the loop.
      operation: that launched it, as "name:Type"; empty if it is not known.
      module: the program of XLA's that it belongs to, by the Python function; empty without one.
      start: in picoseconds.
      end: in picoseconds.
    """

    name: str
    operation: str
    module: str
    start: int
    end: int


def kernel_class(event: Event) -> str:
    """One of `CLASSES`; what is fused into one kernel counts as the most that it holds."""
    parts = {
        # An operation of the host is known by its kind: its name tells of its layer.
        "name": "" if event.name == event.operation else event.name,
        "kind": event.operation.rpartition(":")[2],
        "module": event.module,
    }
    for name, part, pattern in _RULES:
        if pattern.search(parts[part]):
            return name
    return _REST


def summarize(events: Sequence[Event], steps: int) -> dict[str, Any]:
    """Adds events up by class.

    Args:
      events: of steps that followed each other; at least one.
      steps: how many.

    Returns:
      "milliseconds" from the first event's start to the last's end, a step; "classes", for each
      its "milliseconds" a step and its "share" of these, which together can exceed 1 where several
      threads or streams work at once; "largest", the ten names with the most time.
    """
    window = max(event.end for event in events) - min(event.start for event in events)
    by_class: collections.Counter[str] = collections.Counter()
    by_name: collections.Counter[tuple[str, str]] = collections.Counter()
    for event in events:
        by_class[kernel_class(event)] += event.end - event.start
        by_name[event.name, kernel_class(event)] += event.end - event.start
    by_class[IDLE] = window - _busy(events)
    per_step = 1e9 * steps  # picoseconds -> milliseconds a step
    return {
        "milliseconds": window / per_step,
        "classes": [
            {
                "class": name,
                "milliseconds": by_class[name] / per_step,
                "share": by_class[name] / window,
            }
            for name in CLASSES
        ],
        "largest": [
            {"name": name, "class": kind, "milliseconds": time / per_step}
            for (name, kind), time in by_name.most_common(10)
        ],
    }


def read_events(folder: str, of_gpu: bool) -> list[Event]:
    """Reads what `tf.profiler.experimental` has written.

    Args:
      folder: where.
      of_gpu: whether a GPU's kernels are wanted, or else the host's operations and loops.

    Raises:
      ValueError: if it has written nothing of them.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    paths = list(pathlib.Path(folder).rglob("*.xplane.pb"))
    if not paths:
        raise ValueError(f"TensorFlow's profiler has written nothing into {folder}.")
    space = xplane_pb2.XSpace.FromString(paths[0].read_bytes())
    events = [
        event
        for plane in space.planes
        if plane.name.startswith("/device:GPU" if of_gpu else "/host:CPU")
        for line in plane.lines
        # Beside a GPU's streams there may be lines that say the same by layer and by step.
        if line.name.startswith("Stream") or not of_gpu
        for event in _events(plane, line)
        # The host has also noted what contains operations, and what comes between them.
        if event.operation or event.module or of_gpu
    ]
    if not events:
        wanted = "kernel of a GPU: CUPTI, which tells of them, may be missing" if of_gpu else "work"
        raise ValueError(f"TensorFlow's profiler has recorded no {wanted}.")
    return events


def _events(plane: Any, line: Any) -> list[Event]:
    found = []
    for event in line.events:
        name = plane.event_metadata[event.metadata_id].name
        told = {
            plane.stat_metadata[stat.metadata_id].name: _value(plane, stat) for stat in event.stats
        }
        operation = told.get("tf_op") or (name if _OPERATION.match(name) else "")
        start = line.timestamp_ns * 1000 + event.offset_ps
        found.append(
            Event(name, operation, told.get("hlo_module", ""), start, start + event.duration_ps)
        )
    return found


def _value(plane: Any, stat: Any) -> str:
    if stat.WhichOneof("value") == "ref_value":
        return str(plane.stat_metadata[stat.ref_value].name)
    return str(getattr(stat, stat.WhichOneof("value")))


def _busy(events: Sequence[Event]) -> int:
    """How long at least one of them ran."""
    busy, until = 0, 0
    for event in sorted(events, key=lambda event: event.start):
        busy += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return busy
