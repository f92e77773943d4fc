"""How this process deals with memory that it has done with."""

from __future__ import annotations

import contextlib
import ctypes

# Of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1


def keep_freed_memory() -> None:
    """Keeps memory that was freed for what is allocated next, where the C library is glibc.

    By default glibc returns large freed blocks to the operating system, which must then clear every
    page of the next block. For batches of images this took as long as cropping them. Blocks of
    64 MiB and more that a thread other than the first asks for are returned all the same.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system or C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_MAX, 0)
