"""Freed memory stays with the process, so that the next tensors need no new pages.

glibc returns freed memory to the kernel, and gets it again, filled with zeros page by page, for the
next tensors of the same sizes. It is for stages whose batches all have one size: with rows of many
lengths, as in `vlm_qa`, blocks that are kept do not fit the next ones, and memory grows. No byte of
a result depends on it.
"""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 32 << 20  # bytes of a block that is kept; older releases of glibc accept no more
KEPT = 128 << 20  # bytes of all of them
USERS_CHOICE = (
    "GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
)  # fmt: skip


def keep_freed_memory() -> bool:
    """Keeps some freed memory in this process; returns whether glibc was told to.

    Nothing changes if the C library is not glibc, or if the user has set one of `USERS_CHOICE`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in USERS_CHOICE):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, KEPT))
