"""Imports TensorFlow without the notes that it prints on a machine that has no GPU.

They come before TensorFlow reads TF_CPP_MIN_LOG_LEVEL, and one of them ("failed call to cuInit")
looks like an error. Where there is a GPU they may say why it is not used, and are left alone.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Discards what is written to file descriptor 2, by C++ too."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


HAS_GPU = bool(glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg"))  # or WSL's
with contextlib.nullcontext() if HAS_GPU else _without_stderr():
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for GPUs now
