"""The parts of a fetch: each holds the images of some hosts, for an executor to download anywhere.

A part reads the slices of the input, and writes its own journal and packs below `work/parts`. The
first process then moves these to the journal and packs of the whole fetch and writes the shards, so
rows, shards and manifest equal those of one process. A host belongs to one part: its limits
(parallel requests, `Retry-After`) hold for all parts together, and each image is requested once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError, replacing, sync
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.input import Folder, Plan
from edge_glass.training.fetch.journal import Journal, encode
from edge_glass.training.fetch.ledger import CODES, Ledger
from edge_glass.training.fetch.queue import host_of
from edge_glass.training.runtime.lock import file_lock

BATCH_LINES = 8192


@dataclass(frozen=True)
class PartFolder(Folder):
    """The folder of a part: the slices are those of the whole fetch, journal and packs its own."""

    name: str

    @property
    def part(self) -> Path:
        return self.root / "work" / "parts" / self.name

    @property
    def journal(self) -> Path:
        return self.part / "journal.log"

    @property
    def packs(self) -> Path:
        return self.part / "packs"

    @property
    def todo(self) -> Path:
        """The numbers of the images to get."""
        return self.part / "todo.npy"

    def lock(self) -> AbstractContextManager[None]:
        self.packs.mkdir(parents=True, exist_ok=True)
        remedy = "stop the worker that has it"
        return file_lock(self.part / "lock", f"part {self.name} of a fetch to {self.root}", remedy)


class PartLedger(Ledger):
    """The state of the images of one part; one part alone completes no shard."""

    def plan_part(self, images: NDArray[np.int64]) -> None:
        """Decides what this part has to get."""
        of_part = np.zeros(len(self.status), bool)
        of_part[images] = True
        self.todo = of_part & (self.status == CODES["pending"])
        self.remaining = np.zeros(self._index.plan.shards, np.int64)
        self.written = np.ones(self._index.plan.shards, bool)

    def give_up(self, image: int) -> list[int]:
        self.todo[image] = False
        return []

    def complete_shards(self) -> list[int]:
        return []

    def num_done(self) -> int:
        """Returns the number of images that are done, whatever their outcome."""
        return int((self.status != CODES["pending"]).sum())


@contextmanager
def open_part(folder: PartFolder, *, with_sha256: bool) -> Iterator[tuple[Index, PartLedger]]:
    """Locks a part, and yields its index and ledger.

    Raises:
        DataError: if the folder can't be seen from here.
        BlockingIOError: if a different process works on this part.
    """
    if not folder.todo.is_file():
        raise DataError(
            f"{folder.todo} is missing: the output folder must have the same path on every machine"
        )
    with folder.lock():
        index = Index(folder, Plan(**json.loads(folder.plan.read_text())), with_sha256=with_sha256)
        with Journal(folder.journal) as journal:
            ledger = PartLedger(folder, index, journal)
            ledger.plan_part(np.load(folder.todo, allow_pickle=False))
            yield index, ledger


def plan_parts(folder: Folder, index: Index, ledger: Ledger, parts: int) -> list[str]:
    """Distributes the hosts; returns the names of the parts that have something to do."""
    todo: list[list[int]] = [[] for _ in range(parts)]
    for image, url in index.urls():
        if ledger.todo[image]:
            machine = host_of(url).split(":")[0]  # all ports of a host are in one part
            digest = hashlib.sha256(machine.encode("utf-8", "surrogatepass")).digest()
            todo[int.from_bytes(digest[:8], "big") % parts].append(image)
    start = secrets.token_hex(4)  # the packs of two runs must not have equal names
    names = []
    for number, images in enumerate(todo):
        if not images:
            continue
        part = PartFolder(folder.root, f"{number:04d}-{start}")
        part.packs.mkdir(parents=True)
        with replacing(part.todo) as path, path.open("wb") as file:
            np.save(file, np.array(images, np.int64), allow_pickle=False)
        names.append(part.name)
    return names


def take_over_parts(folder: Folder, journal: Journal) -> bool:
    """Moves the results of parts, of this run or an earlier one, to the journal and packs.

    The journal must have been replayed before. If this is killed, the next run completes it.

    Returns:
        Whether there was anything, so the journal must be replayed again.

    Raises:
        BlockingIOError: if a worker still has a part.
    """
    paths = sorted(path for path in (folder.work / "parts").glob("*") if path.is_dir())
    for path in paths:
        part = PartFolder(folder.root, path.name)
        with part.lock(), Journal(part.journal) as part_journal:
            for pack in sorted(part.packs.glob("*.pack")):
                pack.rename(folder.packs / _pack_name(part, pack.name))
            sync(folder.packs)
            records = (record for _, record in part_journal.replay() if "picture" in record)
            while batch := list(islice(records, BATCH_LINES)):
                for record in batch:
                    if "pack" in record:
                        record["pack"] = _pack_name(part, record["pack"])
                journal.append([encode(record) for record in batch])
            journal.sync()
        shutil.rmtree(path)
    return bool(paths)


def _pack_name(part: PartFolder, name: str) -> str:
    shard, run, process, _ = name.split(".")
    return f"{shard}.{part.name}-{run}.{process}.pack"
