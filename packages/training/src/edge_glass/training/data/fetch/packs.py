"""Pictures on the disk between their arrival and their shard: appended one behind the other.

A picture goes to the pack of the last shard that names it, so that a pack can be deleted as soon
as the shards up to that one are written, and the disk never holds everything twice. A pack's name
carries the number of the run, so that a name is never used again with other content.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from edge_glass.training.data.fetch.journal import write_all

OPEN_AT_A_TIME = 64


@dataclass(slots=True)
class _Pack:
    descriptor: int
    size: int


class Packs:
    """The packs of one run, and the folder of all runs'."""

    def __init__(self, folder: Path, run: int) -> None:
        self._folder = folder
        self._run = run
        self._open: OrderedDict[str, _Pack] = OrderedDict()

    def append(self, home: int, data: bytes) -> tuple[str, int]:
        """Keeps a picture whose last shard is `home`; returns its pack's name and its offset."""
        name = f"{home:05d}.{self._run}.pack"
        pack = self._open.get(name)
        if pack is None:
            path = self._folder / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            pack = self._open[name] = _Pack(descriptor, os.fstat(descriptor).st_size)
            if len(self._open) > OPEN_AT_A_TIME:
                self._close(next(iter(self._open)))
        self._open.move_to_end(name)
        offset = pack.size
        write_all(pack.descriptor, data)
        pack.size += len(data)
        return name, offset

    def homes(self) -> set[int]:
        """Returns the shards that have packs."""
        return {int(path.name.split(".")[0]) for path in self._folder.glob("*.pack")}

    def remove(self, home: int) -> None:
        """Deletes the packs of a shard, of this run and of others."""
        for path in self._folder.glob(f"{home:05d}.*.pack"):
            if path.name in self._open:
                os.close(self._open.pop(path.name).descriptor)
            path.unlink()

    def sync(self) -> None:
        """Makes what was written last through a power cut."""
        for pack in self._open.values():
            os.fsync(pack.descriptor)

    def close(self) -> None:
        """Closes all files."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        pack = self._open.pop(name)
        os.fsync(pack.descriptor)
        os.close(pack.descriptor)
