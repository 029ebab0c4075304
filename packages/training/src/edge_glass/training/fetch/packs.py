"""Packs: files that hold images between their download and the writing of their shard.

An image is appended to the pack of the last shard that refers to it. A pack can be deleted as soon
as the shards up to that one are written, so the disk never holds all images twice. Each process of
each run has its own packs: `SHARD.RUN.PROCESS.pack`.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from pathlib import Path

from edge_glass.training.fetch.journal import write_all

MAX_OPEN = 64
# a kill loses nothing that was written; a power cut loses at most this many seconds of images
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

    def append(self, images: list[tuple[int, bytes]]) -> list[tuple[str, int]]:
        """Stores images.

        Args:
            images: for each, its last shard and its bytes.

        Returns:
            For each, the name of its pack and the offset in it.
        """
        locations: list[tuple[str, int]] = []
        bodies: dict[str, list[bytes]] = defaultdict(list)
        for last_shard, body in images:
            name = f"{last_shard:05d}.{self._run}.{os.getpid()}.pack"
            pack = self._pack(name, fresh=name not in bodies)
            locations.append((name, pack.size))
            pack.size += len(body)
            bodies[name].append(body)
        for name, parts in bodies.items():
            write_all(self._open[name].descriptor, b"".join(parts))
        while len(self._open) > MAX_OPEN:
            self._close(next(iter(self._open)))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            for pack in self._open.values():
                os.fsync(pack.descriptor)
            self._synced = time.monotonic()
        return locations

    def _pack(self, name: str, *, fresh: bool) -> _Pack:
        pack = self._open.get(name)
        if pack is not None and fresh and not os.fstat(pack.descriptor).st_nlink:
            # it was deleted after its shards were written, and now a lost image returns to it
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


def shards_with_packs(folder: Path) -> set[int]:
    """Returns the shards that have packs in a folder."""
    return {int(path.name.split(".")[0]) for path in folder.glob("*.pack")}


def remove_packs(folder: Path, shards: list[int]) -> None:
    """Deletes the packs of the given shards, from all runs."""
    for shard in shards:
        for path in folder.glob(f"{shard:05d}.*.pack"):
            path.unlink()
