"""One run of a stage at a time in one working folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from edge_glass.training.folders import STATE


@contextmanager
def stage_lock(stage: str) -> Iterator[None]:
    """Holds the stage's lock; the kernel lets it go when the process ends, however it ends.

    Of the processes that `torchrun` started the first one holds it for all.

    Raises:
        BlockingIOError: where another live process holds it, naming that process.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    STATE.mkdir(parents=True, exist_ok=True)
    path = STATE / f"{stage}.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "an unknown process"
            raise BlockingIOError(
                f"stage {stage} is already running here ({owner} holds {path}): wait for it to "
                "end, or work in another checkout"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
