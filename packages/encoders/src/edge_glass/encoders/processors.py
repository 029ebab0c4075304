"""The processors that this process may use."""

from __future__ import annotations

import os


def num_cpus() -> int:
    """Returns the number of CPUs that this process may use, as a container may limit them."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
