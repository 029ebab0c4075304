"""Freed memory stays with the process, so that the next tensors need no new pages.

glibc returns large blocks to the kernel as soon as they are freed, and gets them again, filled with
zeros page by page, for the next tensor of the same size. No byte of a result depends on it.
"""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 1 << 30
KEPT_BY_OLD_GLIBC = 32 << 20  # the largest threshold before glibc 2.35
USERS_CHOICE = (
    "GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_",
)  # fmt: skip


def keep_freed_memory() -> bool:
    """Keeps up to 1 GiB of freed memory in this process; returns whether glibc was told to.

    Nothing changes if the C library is not glibc, or if the user has set one of `USERS_CHOICE`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name in os.environ for name in USERS_CHOICE):
        return False
    large = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, KEPT_BY_OLD_GLIBC)
    return bool(large and mallopt(M_TRIM_THRESHOLD, KEPT))
