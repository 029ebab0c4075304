"""How a worker process begins, and how it ends when nobody is left to tell it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


def start_worker() -> None:
    """Prepares a worker process."""
    # Ctrl-C reaches the whole process group; the parent decides what is finished
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # a parent that is killed closes no queue: its workers would wait on it for ever
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
