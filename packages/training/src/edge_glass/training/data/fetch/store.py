"""What is kept, kept at once: pictures into packs, then what happened into the journal.

Runs in one thread of its own. The order matters: a journal line names only bytes that are written.
"""

from __future__ import annotations

import time

from edge_glass.training.data.fetch.folder import Folder
from edge_glass.training.data.fetch.index import Index
from edge_glass.training.data.fetch.journal import Journal, Record
from edge_glass.training.data.fetch.ledger import Ledger
from edge_glass.training.data.fetch.packs import Packs
from edge_glass.training.data.fetch.shards import ShardTask, Source

# a kill loses nothing that was written; a power cut loses at most this many seconds of pictures
SYNC_SECONDS = 10.0


class Store:
    """Packs and journal of one run."""

    def __init__(self, folder: Folder, index: Index, ledger: Ledger, journal: Journal) -> None:
        self._folder, self._index, self._ledger, self._journal = folder, index, ledger, journal
        run = ledger.runs + 1
        self._packs = Packs(folder.packs, run)
        self._journal.append([{"run": run, "time": time.time()}])
        self._synced = time.monotonic()

    def commit(self, entries: list[tuple[Record, bytes | None]]) -> list[int]:
        """Keeps records, and pictures where there are some; returns the records' offsets."""
        for record, picture in entries:
            if picture is not None:
                home = int(self._index.last_shard[record["picture"]])
                record["pack"], record["offset"] = self._packs.append(home, picture)
        offsets = self._journal.append([record for record, _ in entries])
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._packs.sync()
            self._journal.sync()
            self._synced = time.monotonic()
        return offsets

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

    def wrote_shard(self, shard: int, size: int) -> int:
        """Keeps that a shard is written; returns the record's offset."""
        (offset,) = self._journal.append([{"shard": shard, "size": size, "time": time.time()}])
        self._journal.sync()
        return offset

    def remove_packs(self, homes: list[int]) -> None:
        """Deletes packs that no shard needs any more."""
        for home in homes:
            self._packs.remove(home)

    def pack_homes(self) -> set[int]:
        """Returns the shards that have packs."""
        return self._packs.homes()

    def close(self) -> None:
        """Writes everything to the disk."""
        self._packs.close()
        self._journal.sync()
