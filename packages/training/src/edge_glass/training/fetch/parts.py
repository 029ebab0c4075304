"""A fetch in parts: each asks for the pictures of some hosts, wherever an executor runs it.

A part reads the input's slices and writes a journal and packs of its own, below `work/parts`; the
first process takes these over and builds the shards, so that rows, shards and manifest are those of
one process. A host belongs to one part: what holds for a host (requests at a time, `Retry-After`)
holds for all parts together, and a picture is asked for once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import shutil
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError, replacing, sync
from edge_glass.training.fetch.config import FetchConfig
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.frontier import host_of
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.journal import Journal, encode
from edge_glass.training.fetch.ledger import CODES, Ledger
from edge_glass.training.fetch.slices import Plan
from edge_glass.training.runtime.lock import file_lock
from edge_glass.training.runtime.progress import progress, say

LINES = 8192


@dataclass(frozen=True)
class PartFolder(Folder):
    """The folder of a part: slices are those of the whole, journal and packs its own."""

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
        """The numbers of the pictures to ask for."""
        return self.part / "todo.npy"

    def lock(self) -> AbstractContextManager[None]:
        self.packs.mkdir(parents=True, exist_ok=True)
        remedy = "stop the worker that is at it"
        return file_lock(self.part / "lock", f"part {self.name} of a fetch to {self.root}", remedy)


class PartLedger(Ledger):
    """What is known of a part's pictures; no shard is complete by one part."""

    def begin_part(self, pictures: NDArray[np.int64]) -> None:
        """Decides what this part has to settle."""
        mine = np.zeros(len(self.status), bool)
        mine[pictures] = True
        self.todo = mine & (self.status == CODES["pending"])
        self.remaining = np.zeros(self._index.plan.shards, np.int64)
        self.written = np.ones(self._index.plan.shards, bool)

    def drop(self, picture: int) -> list[int]:
        self.todo[picture] = False
        return []

    def complete_shards(self) -> list[int]:
        return []


@dataclass(frozen=True, kw_only=True)
class PartTask:
    """Which part of which fetch."""

    root: Path
    name: str
    config: FetchConfig


def fetch_part(task: PartTask) -> int:
    """Fetches the pictures of one part, going on where an earlier run ended; returns how many.

    Raises:
        DataError: where the folder is not to be seen from here.
        OSError: where the disk is full, or another process is at this part.
    """
    from edge_glass.training.fetch.session import run_fetcher

    folder = PartFolder(task.root, task.name)
    if not folder.todo.is_file():
        raise DataError(
            f"{folder.todo}: not there: the output folder must lie at the same path on every "
            "machine"
        )
    with folder.lock():
        plan = Plan(**json.loads(folder.plan.read_text()))
        index = Index(folder, plan, with_sha256=task.config.image_sha256 != "off")
        with Journal(folder.journal) as journal:
            ledger = PartLedger(folder, index, journal)
            ledger.begin_part(np.load(folder.todo, allow_pickle=False))
            run_fetcher(task.config, folder, index, ledger, journal, quiet=True)
            return int((ledger.status != CODES["pending"]).sum())


def fetch_parts(
    folder: Folder,
    index: Index,
    ledger: Ledger,
    config: FetchConfig,
    executor: Executor,
    parts: int,
) -> None:
    """Settles what is to do in parts, and takes over what they brought.

    Raises:
        DataError, OSError: of the first part that fails; the others' pictures are kept.
    """
    names = _plan_parts(folder, index, ledger, parts)
    own = dataclasses.replace(config, processes=0, mirrors=(), retry_failed=False, retry_dead=False)
    root = folder.root.resolve()
    tasks = [PartTask(root=root, name=name, config=own) for name in names]
    say(f"fetch: {int(ledger.todo.sum())} pictures in {len(tasks)} parts")
    results = progress(executor.map(fetch_part, tasks), "fetch parts", total=len(tasks))
    settled = sum(results)
    say(f"fetch: the parts settled {settled} pictures")


def _plan_parts(folder: Folder, index: Index, ledger: Ledger, parts: int) -> list[str]:
    """Deals the hosts out; returns the names of the parts that have something to do."""
    todo: list[list[int]] = [[] for _ in range(parts)]
    for picture, url in index.urls():
        if ledger.todo[picture]:
            machine = host_of(url).split(":")[0]  # whatever the port
            digest = hashlib.sha256(machine.encode("utf-8", "surrogatepass")).digest()
            todo[int.from_bytes(digest[:8], "big") % parts].append(picture)
    start = secrets.token_hex(4)  # names of an earlier start's packs must not come again
    names = []
    for number, pictures in enumerate(todo):
        if not pictures:
            continue
        part = PartFolder(folder.root, f"{number:04d}-{start}")
        part.packs.mkdir(parents=True)
        with replacing(part.todo) as path, path.open("wb") as file:
            np.save(file, np.array(pictures, np.int64), allow_pickle=False)
        names.append(part.name)
    return names


def take_over_parts(folder: Folder, journal: Journal) -> bool:
    """Moves what parts have settled, now or in an earlier start, to the whole's journal and packs.

    The journal has to be replayed before. A kill in between leaves what the next start takes over.

    Returns:
        Whether there was anything, so that the journal is to be replayed again.

    Raises:
        BlockingIOError: where a worker is still at a part.
    """
    found = sorted(path for path in (folder.work / "parts").glob("*") if path.is_dir())
    for path in found:
        part = PartFolder(folder.root, path.name)
        with part.lock(), Journal(part.journal) as theirs:
            for pack in sorted(part.packs.glob("*.pack")):
                pack.rename(folder.packs / _pack_name(part, pack.name))
            sync(folder.packs)
            records = (record for _, record in theirs.replay() if "picture" in record)
            while batch := list(islice(records, LINES)):
                for record in batch:
                    if "pack" in record:
                        record["pack"] = _pack_name(part, record["pack"])
                journal.append([encode(record) for record in batch])
            journal.sync()
        shutil.rmtree(path)
    return bool(found)


def _pack_name(part: PartFolder, name: str) -> str:
    home, run, process, _ = name.split(".")
    return f"{home}.{part.name}-{run}.{process}.pack"
