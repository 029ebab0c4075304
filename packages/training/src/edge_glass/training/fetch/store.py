"""What the journal says, put into words that others need: lines, shard tasks, packs to delete."""

from __future__ import annotations

import time

from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.journal import Journal, encode
from edge_glass.training.fetch.keeper import close_packs
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.packs import SYNC_SECONDS, pack_homes, remove_packs
from edge_glass.training.fetch.shards import ShardTask, Source


class Store:
    """Journal and packs of one run. `append` belongs to the event loop's thread."""

    def __init__(self, folder: Folder, index: Index, ledger: Ledger, journal: Journal) -> None:
        self._folder, self._index, self._ledger, self._journal = folder, index, ledger, journal
        self.run = ledger.runs + 1
        self.append([encode({"run": self.run, "time": time.time()})])
        self._synced = time.monotonic()

    def append(self, lines: list[bytes]) -> list[int]:
        """Keeps what happened; returns the lines' offsets."""
        return self._journal.append(lines)

    def append_shard(self, shard: int, size: int) -> int:
        """Keeps that a shard is written; returns the line's offset."""
        line = encode({"shard": shard, "size": size, "time": time.time()})
        return self.append([line])[0]

    def sync_due(self) -> bool:
        """Whether the journal was not synced for a while; says so once."""
        due = time.monotonic() - self._synced > SYNC_SECONDS
        if due:
            self._synced = time.monotonic()
        return due

    def sync(self) -> None:
        """Makes what was appended last through a power cut."""
        self._journal.sync()

    def shard_task(self, shard: int) -> ShardTask:
        """Returns where the pictures of a shard's rows are."""
        written = int(self._ledger.shard_offset[shard])
        known: dict[int, Source | None] = {-1: None}
        sources = []
        for picture in self._index.rows_of_shard(shard).tolist():
            if picture not in known:
                known[picture] = self._source(picture, written)
            sources.append(known[picture])
        return ShardTask(
            slice=self._folder.slice(shard),
            packs=self._folder.packs,
            target=self._folder.shard(shard, self._index.plan.shards),
            sources=sources,
        )

    def _source(self, picture: int, written: int) -> Source | None:
        record = self._ledger.record(picture)
        if record is None or record["status"] != "ok":
            return None
        # what is older than the shard's file is in it, and its pack may be gone
        old = int(self._ledger.offset[picture]) < written
        return Source(
            pack="" if old else record["pack"],
            offset=record["offset"],
            length=record["bytes"],
            sha256=record["sha256"],
            name=f"{record['sha256']}.{record['format'].lower()}",
        )

    def free_packs(self) -> None:
        """Deletes the packs that no shard needs any more."""
        folder = self._folder.packs
        remove_packs(folder, self._ledger.free_homes(pack_homes(folder)))

    def close(self) -> None:
        """Writes everything to the disk."""
        close_packs(self._folder.packs, self.run)
        self.sync()
