"""The output folder of a fetch: what lies where, one process at a time, whole files only."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from edge_glass.training.runtime.lock import file_lock


@dataclass(frozen=True)
class Folder:
    """Paths below the output folder.

    Its own Parquet files are the shards and nothing else, so that `prepare` reads it as it is;
    `report/` says what became of each picture; `work/` is what a later start goes on from.
    """

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "report" / "manifest.parquet"

    @property
    def summary(self) -> Path:
        return self.root / "report" / "summary.json"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def plan(self) -> Path:
        return self.work / "plan.json"

    @property
    def journal(self) -> Path:
        return self.work / "journal.log"

    @property
    def packs(self) -> Path:
        return self.work / "packs"

    def slice(self, number: int) -> Path:
        """The input rows of one shard, without pictures."""
        return self.work / "slices" / f"{number:05d}.parquet"

    def shard(self, number: int, count: int) -> Path:
        """One shard of the result."""
        return self.root / f"{number:05d}-of-{count:05d}.parquet"

    def make(self) -> None:
        """Makes the folders."""
        for folder in (self.packs, self.work / "slices", self.manifest.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other processes out.

        Raises:
            BlockingIOError: where another live process works here, naming it.
        """
        self.make()
        return file_lock(self.work / "lock", f"a fetch to {self.root}", "choose another folder")
