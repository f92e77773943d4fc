"""What the commands ask of TensorFlow and of the process, once, before anything else.

Libraries of this project never do any of this when they are imported. The commands call `set_up`
at their entry; a notebook may do the same in its first cell.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections.abc import Iterator

from absl import logging

from slimzoo.memory import keep_freed_memory

VARIABLES = {
    # TensorFlow turns oneDNN on by itself only on CPUs with AVX-512; on the others it makes these
    # networks nearly twice as fast too.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # Keeps TensorFlow's notes on CUDA and rounding out of the way of what the commands print.
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""Environment variables that TensorFlow reads when it is imported, and never again."""


# Several results of one loop over the same numbers, which `training.compiled_updates` relies on.
_XLA_OPTION = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"


def set_variables() -> None:
    """Sets `VARIABLES` where the user has not; without effect once TensorFlow is imported.

    XLA_FLAGS of the user's are kept, and get one more unless they have its like, or are the name of
    a file that holds them.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    xla_flags = os.environ.get("XLA_FLAGS", "").strip()
    is_file_name = bool(xla_flags) and not xla_flags.startswith("-")
    if not is_file_name and _XLA_OPTION.partition("=")[0] not in xla_flags:
        os.environ["XLA_FLAGS"] = f"{xla_flags} {_XLA_OPTION}".strip()


def set_up() -> None:
    """Sets variables, imports TensorFlow quietly and keeps freed memory.

    Call it before anything imports TensorFlow. Afterwards it only silences the warnings of Python
    code and keeps freed memory: TensorFlow cannot be told the rest any more.
    """
    set_variables()
    with contextlib.nullcontext() if has_gpu() else _stderr_discarded():
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs now
    # What TFDS and AutoGraph have to say is not meant for who trains a network.
    logging.set_verbosity(logging.ERROR)
    tf.get_logger().setLevel("ERROR")
    keep_freed_memory()


def has_gpu() -> bool:
    """Whether the machine shows an NVIDIA GPU, asked without TensorFlow."""
    return bool(glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg"))  # or WSL's


@contextlib.contextmanager
def _stderr_discarded() -> Iterator[None]:
    """Discards what is written to file descriptor 2, by C++ too.

    Where there is no GPU, TensorFlow prints notes before it reads TF_CPP_MIN_LOG_LEVEL, and one of
    them ("failed call to cuInit") looks like an error. Where there is a GPU they may say why it is
    not used, and are left alone.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # closed, as under pythonw or some daemons
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
