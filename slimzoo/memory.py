"""How this process deals with memory that it has done with."""

from __future__ import annotations

import contextlib
import ctypes

# Of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Keeps memory that was freed for what is allocated next, where the C library is glibc.

    Of itself it returns large blocks to the system, which clears every page of the next ones: for
    batches of images that took as long as cropping them. Blocks of 64 MiB and more, where a thread
    other than the first asks for them, are returned all the same.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system or C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_MAX, 0)
