"""Pictures on the disk between their arrival and their shard: appended one behind the other.

A picture goes to the pack of the last shard that names it, so that a pack can be deleted as soon
as the shards up to that one are written, and the disk never holds everything twice. Each process
of each run has packs of its own: `SHARD.RUN.PROCESS.pack`.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from pathlib import Path

OPEN_AT_A_TIME = 64
# a kill loses nothing that was written; a power cut loses at most this many seconds of pictures
SYNC_SECONDS = 10.0


@dataclass(slots=True)
class _Pack:
    descriptor: int
    size: int


class Packs:
    """The packs of one process in one run."""

    def __init__(self, folder: Path, run: int) -> None:
        self._folder = folder
        self._run = run
        self._open: OrderedDict[str, _Pack] = OrderedDict()
        self._synced = time.monotonic()

    def append(self, pictures: list[tuple[int, bytes]]) -> list[tuple[str, int]]:
        """Keeps pictures, each with its last shard; returns the names and offsets."""
        places: list[tuple[str, int]] = []
        bodies: dict[str, list[bytes]] = defaultdict(list)
        for home, body in pictures:
            name = f"{home:05d}.{self._run}.{os.getpid()}.pack"
            pack = self._pack(name, fresh=name not in bodies)
            places.append((name, pack.size))
            pack.size += len(body)
            bodies[name].append(body)
        for name, parts in bodies.items():
            write_all(self._open[name].descriptor, b"".join(parts))
        while len(self._open) > OPEN_AT_A_TIME:
            self._close(next(iter(self._open)))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            for pack in self._open.values():
                os.fsync(pack.descriptor)
            self._synced = time.monotonic()
        return places

    def _pack(self, name: str, *, fresh: bool) -> _Pack:
        pack = self._open.get(name)
        if pack is not None and fresh and not os.fstat(pack.descriptor).st_nlink:
            # its shards are written and it was deleted; a lost picture came back to it
            os.close(self._open.pop(name).descriptor)
            pack = None
        if pack is None:
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            pack = self._open[name] = _Pack(descriptor, os.fstat(descriptor).st_size)
        self._open.move_to_end(name)
        return pack

    def close(self) -> None:
        """Closes all files."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        pack = self._open.pop(name)
        os.fsync(pack.descriptor)
        os.close(pack.descriptor)


def pack_homes(folder: Path) -> set[int]:
    """Returns the shards that have packs."""
    return {int(path.name.split(".")[0]) for path in folder.glob("*.pack")}


def remove_packs(folder: Path, homes: list[int]) -> None:
    """Deletes the packs of shards, of all runs."""
    for home in homes:
        for path in folder.glob(f"{home:05d}.*.pack"):
            path.unlink()


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`: one call may take less, on a disk that is nearly full."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
