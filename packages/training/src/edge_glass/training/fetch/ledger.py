"""What is known of each picture and each shard, in about 12 bytes a picture.

The journal holds the details; an array holds each picture's status and where its record is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.journal import Journal, Record

STATUSES = ("pending", "ok", "dead", "failed", "refused")
CODES = {name: code for code, name in enumerate(STATUSES)}


class Ledger:
    """Pictures and shards of one output folder.

    Attributes:
        status: (pictures,) codes of `STATUSES`.
        offset: (pictures,) of the last record in the journal, -1 for none.
        todo: (pictures,) whether this run has still to settle it.
        remaining: (shards,) pictures still to settle.
        written: (shards,) whether the file holds all that is known.
        shard_offset: (shards,) of the record that says that it is written, -1 for none.
        runs: starts so far.
    """

    def __init__(self, folder: Folder, index: Index, journal: Journal) -> None:
        self._folder, self._index, self._journal = folder, index, journal
        self.status = np.zeros(index.count, np.uint8)
        self.offset = np.full(index.count, -1, np.int64)
        self.shard_offset = np.full(index.plan.shards, -1, np.int64)
        self.runs = 0
        self._mismatches = 0
        sizes: dict[int, int] = {}
        for offset, record in journal.replay():
            if "run" in record:
                self.runs = record["run"]
            elif "shard" in record:
                self.shard_offset[record["shard"]] = offset
                sizes[record["shard"]] = record["size"]
            else:
                self._note(offset, record)
        for shard, size in sizes.items():
            path = folder.shard(shard, index.plan.shards)
            if not path.exists() or path.stat().st_size != size:
                self.shard_offset[shard] = -1  # deleted or cut: it is made anew

    def _note(self, offset: int, record: Record) -> None:
        picture = record["picture"]
        self.status[picture] = CODES[record["status"]]
        self.offset[picture] = offset
        self._mismatches += record.get("sha256_matches") is False and record["status"] == "ok"

    def begin(self, config: FetchConfig) -> None:
        """Decides what this run has to settle.

        Raises:
            DataError: where hashes are now checked strictly, and pictures with others were kept.
        """
        if config.image_sha256 == "strict" and self._mismatches:
            raise DataError(
                f"{self._folder.root}: {self._mismatches} pictures were kept whose SHA-256 is not "
                "the published one: go on with --image-sha256 warn, or fetch strictly into "
                "another folder"
            )
        again = [CODES["pending"]]
        if config.retry_failed or config.retry_dead:
            again += [CODES["failed"], CODES["refused"]]
        if config.retry_dead:
            again.append(CODES["dead"])
        self.todo = np.isin(self.status, again)
        open_pairs = self.todo[self._index.pair_picture]
        shards = self._index.plan.shards
        self.remaining = np.bincount(self._index.pair_shard[open_pairs], minlength=shards)
        self.written = np.array([not self._stale(shard) for shard in range(shards)])

    def settle(self, picture: int, status: str, offset: int) -> list[int]:
        """Takes a new record's place; returns the shards now complete and not written."""
        self.status[picture] = CODES[status]
        self.offset[picture] = offset
        if status == "ok":
            self.written[self._index.shards_of(picture)] = False
        return self.drop(picture)

    def drop(self, picture: int) -> list[int]:
        """Leaves a picture as it is; returns the shards now complete and not written."""
        if not self.todo[picture]:
            return []
        self.todo[picture] = False
        complete = []
        for shard in self._index.shards_of(picture):
            self.remaining[shard] -= 1
            if not self.remaining[shard] and not self.written[shard]:
                complete.append(shard)
        return complete

    def lacking(self, picture: int) -> bool:
        """Whether a picture is not there, whatever the reason."""
        return bool(self.status[picture] != CODES["ok"] or self.todo[picture])

    def reopen(self, pictures: Iterable[int]) -> list[int]:
        """Takes pictures back whose bytes are lost; returns those that were not open already."""
        opened = []
        for picture in sorted(set(pictures)):
            if not self.todo[picture]:
                self.todo[picture] = True
                self.remaining[self._index.shards_of(picture)] += 1
                opened.append(picture)
        return opened

    def _stale(self, shard: int) -> bool:
        """Whether the journal says that a shard is not written, or lacks a later picture."""
        pictures = self._index.rows_of_shard(shard)
        pictures = pictures[pictures >= 0]
        written = int(self.shard_offset[shard])
        kept = self.status[pictures] == CODES["ok"]
        return written < 0 or bool((self.offset[pictures[kept]] > written).any())

    def complete_shards(self) -> list[int]:
        """Returns the shards that can be written now and are not."""
        complete: list[int] = np.flatnonzero((self.remaining == 0) & ~self.written).tolist()
        return complete

    def wrote(self, shard: int, offset: int) -> None:
        """Takes the record that a shard is written."""
        self.shard_offset[shard] = offset
        self.written[shard] = True

    def free_homes(self, homes: set[int]) -> list[int]:
        """Returns those homes whose packs no shard needs any more."""
        needed = ~self.written | (self.remaining > 0)
        return [
            home
            for home in sorted(homes)
            if not needed[self._index.first_named[home] : home + 1].any()
        ]

    def record(self, picture: int) -> Record | None:
        """Returns the last record of a picture."""
        offset = int(self.offset[picture])
        return None if offset < 0 else self._journal.read(offset)

    def count(self, status: str) -> int:
        """Counts pictures of a status."""
        return int((self.status == CODES[status]).sum())
