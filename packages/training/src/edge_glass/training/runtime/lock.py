"""One process at a time: in a stage of a working folder, in an output folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_glass.training.folders import STATE


@contextmanager
def file_lock(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Holds a lock file; the kernel lets it go when the process ends, however it ends.

    Args:
        path: of the lock file; its folder is made.
        what: is running, for the error.
        remedy: what to do instead of waiting, for the error.

    Raises:
        BlockingIOError: where another live process holds it, naming that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "an unknown process"
            raise BlockingIOError(
                f"{what} is already running here ({owner} holds {path}): wait for it to end, or "
                f"{remedy}"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


@contextmanager
def stage_lock(stage: str) -> Iterator[None]:
    """Holds the stage's lock; of the processes of `torchrun` the first one holds it for all.

    Raises:
        BlockingIOError: where another live process holds it, naming that process.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with file_lock(STATE / f"{stage}.lock", f"stage {stage}", "work in another checkout"):
        yield
