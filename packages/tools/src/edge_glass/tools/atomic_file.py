"""Replacing a file so that a reader sees the old bytes or the new ones, never a part."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


class FileRefusedError(Exception):
    """A file cannot be read or replaced. The message names the file, the finding and the remedy."""


def read_file(path: Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
        FileRefusedError: It is missing, a directory, or not readable.
    """
    if path.is_dir():
        raise FileRefusedError(f"{path}: is a directory; name the notebook files in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileRefusedError(f"{path}: no such file") from None
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be read: {error.strerror or error}") from error


def backup_path(path: Path) -> Path:
    """Return the first free name among `path.bak`, `path.bak2`, …: no backup is overwritten."""
    candidate = path.with_name(f"{path.name}.bak")
    number = 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}.bak{number}")
        number += 1
    return candidate


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` as temporary file, fsync and rename. The mode of an old file is kept.

    Raises:
        FileRefusedError: The folder or the file cannot be written; an old file is then unchanged.
    """
    path = path.resolve()  # a link stays a link: its target is replaced
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be written: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        else:
            temporary.chmod(0o644)  # mkstemp makes 0600, which no colleague could read
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, old: bytes, new: bytes) -> Path:
    """Replace `path`, which held `old`, by `new`, and keep `old` beside it.

    Returns:
        The backup's path.

    Raises:
        FileRefusedError: The file is read-only, or its bytes are no longer `old`.
    """
    # The mode is read, not os.access: a rename would succeed on a read-only file, and root may
    # write anything, yet whoever took the write bit away meant it.
    if not path.stat().st_mode & 0o222:
        raise FileRefusedError(f"{path}: is read-only; `chmod u+w` it first")
    if read_file(path) != old:
        raise FileRefusedError(f"{path}: was changed by someone else meanwhile; run again")
    backup = backup_path(path)
    try:
        # The old file itself under another name: its bytes are on the disk already, so nothing
        # is copied or waited for, and the rename below leaves it with this name only.
        os.link(path.resolve(), backup)
    except OSError:  # a file system without hard links
        write_file(backup, old)
    try:
        write_file(path, new)
    except FileRefusedError:
        backup.unlink()
        raise
    return backup


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
