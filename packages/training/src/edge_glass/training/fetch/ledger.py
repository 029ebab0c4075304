"""The state of each image and each shard, in about 12 bytes per image, and its record on the disk.

The journal holds the details. Arrays hold the status of each image and the offset of its record.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from edge_glass.encoders.files import DataError
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.journal import Journal, Record, encode
from edge_glass.training.fetch.packs import SYNC_SECONDS, remove_packs, shards_with_packs

STATUSES = ("pending", "ok", "dead", "failed", "refused", "placeholder")
CODES = {name: code for code, name in enumerate(STATUSES)}


class Ledger:
    """Images and shards of one output folder. Everything but `sync` runs in one thread.

    Attributes:
        status: (images,) codes of `STATUSES`.
        offset: (images,) offset of the last record in the journal, -1 for none.
        todo: (images,) whether this run still has to get the image.
        remaining: (shards,) number of images that this run still has to get.
        written: (shards,) whether the file of the shard is up to date.
        shard_offset: (shards,) offset of the record that the shard was written, -1 for none.
        runs: number of runs so far.
    """

    def __init__(self, folder: Folder, index: Index, journal: Journal) -> None:
        self._folder, self._index, self._journal = folder, index, journal
        self.status = np.zeros(index.count, np.uint8)
        self.offset = np.full(index.count, -1, np.int64)
        self.shard_offset = np.full(index.plan.shards, -1, np.int64)
        self.runs = 0
        self._mismatches = 0
        self._synced = time.monotonic()
        sizes: dict[int, int] = {}
        for offset, record in journal.replay():
            if "run" in record:
                self.runs = record["run"]
            elif "shard" in record:
                self.shard_offset[record["shard"]] = offset
                sizes[record["shard"]] = record["size"]
            else:
                image = record["picture"]
                self.status[image] = CODES[record["status"]]
                self.offset[image] = offset
                kept = record["status"] == "ok"
                self._mismatches += kept and record.get("sha256_matches") is False
        for shard, size in sizes.items():
            path = folder.shard(shard, index.plan.shards)
            if not path.exists() or path.stat().st_size != size:
                self.shard_offset[shard] = -1  # deleted or cut: it is written again

    def plan(self, config: FetchConfig) -> None:
        """Decides what this run has to get.

        Raises:
            DataError: if `image_sha256` is "strict" now, and images with a different hash were
                kept earlier.
        """
        if config.image_sha256 == "strict" and self._mismatches:
            raise DataError(
                f"{self._folder.root}: {self._mismatches} images were kept although their SHA-256 "
                "is not the published one: continue with --image-sha256 warn, or fetch strictly "
                "into a different folder"
            )
        again = [CODES["pending"]]
        if config.retry_failed or config.retry_dead:
            again += [CODES["failed"], CODES["refused"], CODES["placeholder"]]
        if config.retry_dead:
            again.append(CODES["dead"])
        self.todo = np.isin(self.status, again)
        todo_pairs = self.todo[self._index.pair_image]
        shards = self._index.plan.shards
        self.remaining = np.bincount(self._index.pair_shard[todo_pairs], minlength=shards)
        self.written = np.array([not self._stale(shard) for shard in range(shards)])

    def _stale(self, shard: int) -> bool:
        """Returns whether a shard was never written, or gained or lost an image since."""
        images = self._index.rows_of_shard(shard)
        images = images[images >= 0]
        written = int(self.shard_offset[shard])
        changed = np.isin(self.status[images], (CODES["ok"], CODES["placeholder"]))
        return written < 0 or bool((self.offset[images[changed]] > written).any())

    def start_run(self) -> None:
        """Counts a new run, in the journal too."""
        self.runs += 1
        self._journal.append([encode({"run": self.runs, "time": time.time()})])

    def record_images(self, images: list[int], status: str, lines: list[bytes]) -> list[int]:
        """Appends the outcome of images to the journal.

        Args:
            images: their numbers.
            status: of all of them.
            lines: their journal lines.

        Returns:
            The shards that are complete now and not written yet.
        """
        complete: list[int] = []
        for image, offset in zip(images, self._journal.append(lines), strict=True):
            self.status[image] = CODES[status]
            self.offset[image] = offset
            if status == "ok":
                self.written[self._index.shards_of(image)] = False
            complete += self.give_up(image)
        return complete

    def give_up(self, image: int) -> list[int]:
        """Leaves an image as it is; returns the shards complete now and not written yet."""
        if not self.todo[image]:
            return []
        self.todo[image] = False
        complete = []
        for shard in self._index.shards_of(image):
            self.remaining[shard] -= 1
            if not self.remaining[shard] and not self.written[shard]:
                complete.append(shard)
        return complete

    def drop(self, images: Iterable[int]) -> None:
        """Records images as placeholders; `plan` then finds the shards to write again."""
        for image in images:
            record = self.last_record(image)
            assert record is not None
            line = encode({**record, "status": "placeholder", "reason": "placeholder"})
            (self.offset[image],) = self._journal.append([line])
            self.status[image] = CODES["placeholder"]

    def reopen(self, images: Iterable[int]) -> list[int]:
        """Marks images as to do again; returns those that were not to do already."""
        opened = []
        for image in sorted(set(images)):
            if not self.todo[image]:
                self.todo[image] = True
                self.remaining[self._index.shards_of(image)] += 1
                opened.append(image)
        return opened

    def record_shard(self, shard: int, size: int) -> None:
        """Appends to the journal that the file of a shard was written, with its size in bytes."""
        line = encode({"shard": shard, "size": size, "time": time.time()})
        (self.shard_offset[shard],) = self._journal.append([line])
        self.written[shard] = True

    def missing(self, image: int) -> bool:
        """Returns whether an image is not there, for whatever reason."""
        return bool(self.status[image] != CODES["ok"] or self.todo[image])

    def can_write(self, shard: int) -> bool:
        """Returns whether a shard is complete and not written."""
        return not self.remaining[shard] and not self.written[shard]

    def complete_shards(self) -> list[int]:
        """Returns the shards that are complete and not written."""
        complete: list[int] = np.flatnonzero((self.remaining == 0) & ~self.written).tolist()
        return complete

    def last_record(self, image: int) -> Record | None:
        """Returns the last journal record of an image."""
        offset = int(self.offset[image])
        return None if offset < 0 else self._journal.read(offset)

    def remove_packs(self) -> None:
        """Deletes the packs that no shard needs any more."""
        needed = ~self.written | (self.remaining > 0)
        first_needed = self._index.first_needed
        shards = sorted(shards_with_packs(self._folder.packs))
        remove_packs(
            self._folder.packs,
            [shard for shard in shards if not needed[first_needed[shard] : shard + 1].any()],
        )

    def sync_due(self) -> bool:
        """Returns whether the last sync is some time ago; starts a new interval if so."""
        due = time.monotonic() - self._synced > SYNC_SECONDS
        if due:
            self._synced = time.monotonic()
        return due

    def sync(self) -> None:
        """Flushes the journal to the disk, so that it survives a power cut."""
        self._journal.sync()
