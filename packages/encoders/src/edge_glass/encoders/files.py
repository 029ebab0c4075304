"""Atomic files and folders: a reader, or a kill, sees the old content or the new, never a part.

A file is written under a temporary name in the same folder, flushed to the disk (fsync), and then
renamed. Temporary names are unique, so that several processes and threads may write the same path
at the same moment: each of them succeeds, and the last rename stays. No torch is imported here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Flock = Callable[[int, int], None]
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# a file system without flock, such as some network file systems
NO_LOCKS = (
    errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF,
)  # fmt: skip
# In a folder that would hold results: one line, why there are none. It is a table without rows, so
# that `dvc plots` reads it and draws nothing.
NO_CONTENT = "nothing_to_do.tsv"
# A temporary file from a different machine is an orphan if nothing was written to it for so long.
ORPHAN_SECONDS = 24 * 3600


class DataError(ValueError):
    """Data that can't be used: names the file, the row and the reason."""


class WriteError(OSError):
    """A file or folder that can't be written: names it, the reason and the remedy."""


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file in one step; its folder is made if it does not exist.

    Raises:
        WriteError: if the disk is full or the folder can't be written; the old file stays.
    """
    path = Path(path)
    with replacing(path) as temporary, _explained(path):
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON that diffs well: indented, keys in the given order, one newline at the end."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def rounded(value: Any, digits: int = 4) -> Any:
    """Returns nested data with all floats rounded, so that files diff well."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    return value


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path; its file takes the place of `path` when the block succeeds.

    Use it if the content is too large for one `bytes` object. On an error the temporary file is
    deleted and the old file stays.

    Args:
        path: final place of the file; its folder is made if it does not exist.
        scratch: a folder on the same disk for the temporary file; the folder of `path` if None.

    Raises:
        WriteError: if the disk is full or the folder can't be written.
    """
    folder = scratch or path.parent
    make_folder(path.parent)
    make_folder(folder)
    with _explained(path):
        _remove_orphans(folder, path.name)
    owner = f"{_machine()}-{os.getpid()}"
    temporary = folder / f"{_prefix(path.name)}{owner}-{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        with _explained(path):
            sync(temporary)
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if _is_full(error):
            raise _refusal(path, error) from error
        raise
    sync(path.parent)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it; one that exists is fine."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)


def take_lock(descriptor: int, operation: int, flock: Flock = fcntl.flock) -> bool:
    """Locks an open file; returns False if its disk has no locks.

    Raises:
        BlockingIOError: if `operation` does not wait and a different process holds the lock.
    """
    try:
        flock(descriptor, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Waits until no other process is at work on the files of a folder, and keeps others out.

    The system releases the lock of a process that dies. A disk without locks, such as some network
    disks, is used without one. Nothing is written to the folder. `shared`, for reading, lets others
    hold the lock too if theirs is shared.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        take_lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def output_folder(final: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `final`, which takes its place when the block succeeds.

    On an error the temporary folder is deleted and `final` stays as it was. One process at a time
    may write a folder: hold a lock.

    Raises:
        WriteError: if the disk is full or the folder can't be written.
    """
    if final.is_symlink():  # the folder that it points to is replaced, and the link stays
        final = Path(os.path.realpath(final))
    work, old = final.parent / f".{final.name}.partial", _old(final)
    with _explained(final):
        make_folder(final.parent)
        if old.exists() and not final.exists():  # a kill between the two renames
            old.rename(final)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    try:
        yield work
    except BaseException as error:
        shutil.rmtree(work, ignore_errors=True)
        if _is_full(error):
            raise _refusal(final, error) from error
        raise
    sync_tree(work)
    replace_folder(work, final)


def replace_folder(work: Path, final: Path) -> None:
    """Moves the folder `work` to `final`, and deletes what was there before."""
    # One step, if the system can exchange two names. Otherwise a kill between the two renames
    # leaves the previous folder under the name of `_old`.
    if not final.exists():
        work.rename(final)
    elif not _exchange(work, final):
        shutil.rmtree(_old(final), ignore_errors=True)
        final.rename(_old(final))
        work.rename(final)
    sync(final.parent)
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(_old(final), ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flushes every file and folder below `folder` to the disk, so that a rename is safe."""
    for path in [folder, *sorted(folder.rglob("*"))]:
        sync(path)


def sync(path: Path) -> None:
    """Flushes a file's content, or the renames in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _old(final: Path) -> Path:
    return final.parent / f".{final.name}.old"


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step, on Linux; returns False if the system can't."""
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        return False
    at_cwd, rename_exchange = -100, 2  # from linux/fcntl.h and linux/fs.h
    names = os.fsencode(one), os.fsencode(other)
    done = ctypes.CDLL(None).renameat2(at_cwd, names[0], at_cwd, names[1], rename_exchange)
    return bool(done == 0)


def _prefix(name: str) -> str:
    # Shortened: a file system may refuse names of more than 255 bytes.
    return f".{name[:40]}."


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _remove_orphans(folder: Path, name: str) -> None:
    """Deletes the temporary files of `name` that a killed process left behind.

    The file of a live process stays: two processes that write the same path must both succeed.
    """
    prefix = _prefix(name)
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(".tmp")]
    for each in found:
        path = folder / each
        machine, _, rest = each.removeprefix(prefix).removesuffix(".tmp").partition("-")
        pid = rest.partition("-")[0]
        if machine == _machine() and pid.isdecimal():
            orphan = not _is_alive(int(pid))
        else:
            orphan = _age(path) > ORPHAN_SECONDS
        if orphan:
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends no signal, only checks
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of a different user
        return True
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # its writer has just finished
        return 0.0


def _is_full(error: BaseException) -> bool:
    return (
        isinstance(error, OSError) and not isinstance(error, WriteError) and error.errno in NO_SPACE
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns the system's errors into errors that name the path and the remedy."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: BaseException) -> WriteError:
    code = error.errno if isinstance(error, OSError) else None
    if code in NO_SPACE:
        remedy = f"free some space on the disk of {path.parent.resolve()}, then run again"
    elif code in NOT_ALLOWED:
        remedy = "make the folder writable for this user, or choose a different one"
    else:
        remedy = "check the path and its disk, then run again"
    reason = os.strerror(code) if code else error
    return WriteError(
        code, f"can't write {path} ({reason}): {remedy}. Nothing was left half-written"
    )
