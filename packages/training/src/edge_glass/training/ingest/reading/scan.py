"""The files of a source folder in a fixed order, without what file managers leave behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_glass.encoders.file_names import is_hidden, shown
from edge_glass.training.ingest.reading.records import Drop


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files below a folder.

    Attributes:
        files: paths relative to the folder with `/`, sorted by their bytes.
        drops: folders that could not be read, and links that lead nowhere.
    """

    files: tuple[str, ...]
    drops: tuple[Drop, ...]


def scan(root: Path, *, allow_outside: bool, leave_out: tuple[Path, ...] = ()) -> Listing:
    """Lists the files below a folder.

    Args:
        root: the folder.
        allow_outside: whether folders behind symbolic links that lead out of `root` are entered.
        leave_out: folders that are not entered, such as the output.
    """
    files: list[str] = []
    drops: list[Drop] = []
    seen = {os.path.realpath(path) for path in leave_out}
    top = os.path.realpath(root)
    if top in seen:
        return Listing(files=(), drops=())
    seen.add(top)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118 - bytes stay
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            reason = "locked_folder" if isinstance(error, PermissionError) else "unreadable_folder"
            detail = f"{error.strerror}"
            drops.append(Drop(file=shown(folder) or ".", line=None, reason=reason, detail=detail))
            continue
        inner: list[str] = []
        for entry in found:
            if is_hidden(entry.name):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            kind = _kind(entry)
            if isinstance(kind, Drop):
                drops.append(
                    Drop(file=shown(name), line=None, reason=kind.reason, detail=kind.detail)
                )
            elif kind == "file":
                files.append(name)
            elif kind == "folder":
                real = os.path.realpath(entry.path)
                inside = real == top or real.startswith(top.rstrip("/") + "/")
                if real in seen:
                    continue
                if not inside and not allow_outside:
                    detail = f"leads to {real}: add --allow-outside"
                    drops.append(
                        Drop(file=shown(name), line=None, reason="outside_folder", detail=detail)
                    )
                    continue
                seen.add(real)
                inner.append(name)
        waiting += reversed(inner)
    return Listing(files=tuple(sorted(files, key=os.fsencode)), drops=tuple(drops))


def _kind(entry: os.DirEntry[str]) -> str | Drop:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        return Drop(file="", line=None, reason="broken_link", detail=f"{error.strerror}")
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def with_suffix(files: tuple[str, ...], *suffixes: str) -> Iterator[str]:
    """Yields the files whose names end in one of the suffixes, in any case of letters."""
    for name in files:
        if name.lower().endswith(suffixes):
            yield name
