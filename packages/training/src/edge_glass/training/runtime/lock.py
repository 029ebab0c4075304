"""One process at a time: in a stage of a working folder, in an output folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_glass.encoders.files import Flock, take_lock
from edge_glass.training.folders import STATE


@contextmanager
def file_lock(path: Path, what: str, remedy: str, *, flock: Flock = fcntl.flock) -> Iterator[None]:
    """Holds a lock file; the error names the activity `what` and what to do instead of waiting.

    The kernel releases the lock when the process ends, for whatever reason. On a file system
    without flock, a file `PATH.owner` is the lock: it names process and host, and is taken over if
    that process, of this host, has ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            locked = take_lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, flock)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "an unknown process"
            raise BlockingIOError(_message(what, owner, path, remedy)) from None
        if locked:
            file.truncate(0)
            file.write(_owner())
            file.flush()
            yield
            return
    with _owner_file(path.with_name(f"{path.name}.owner"), what, remedy):
        yield


@contextmanager
def stage_lock(stage: str) -> Iterator[None]:
    """Holds the lock of a stage; of the processes of `torchrun`, rank 0 holds it for all."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with file_lock(STATE / f"{stage}.lock", f"stage {stage}", "use a different checkout"):
        yield


@contextmanager
def _owner_file(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Holds a lock that is a file: the file exists as long as the lock is held."""
    while True:
        try:
            _create(path, _owner())
            break
        except FileExistsError:
            _remove_dead(path, what, remedy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)


def _remove_dead(path: Path, what: str, remedy: str) -> None:
    """Removes the lock of a process that has ended."""
    try:
        owner = path.read_text()
    except FileNotFoundError:
        return  # it was released meanwhile
    if not _has_ended(owner):
        remedy += f" (if that process has ended, delete {path})"
        raise BlockingIOError(_message(what, owner or "an unknown process", path, remedy))
    # moved before it is deleted, because a third process may have replaced it by its own meanwhile
    moved = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        path.rename(moved)
    except FileNotFoundError:
        return
    if (content := moved.read_text()) != owner:
        _create(path, content)
    moved.unlink()


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _has_ended(owner: str) -> bool:
    words = owner.split()
    if len(words) != 4 or not words[1].isdecimal() or words[3] != socket.gethostname():
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and belongs to a different user
        return False
    return False


def _message(what: str, owner: str, path: Path, remedy: str) -> str:
    return f"{what} is already running here ({owner} holds {path}): wait for it to end, or {remedy}"
