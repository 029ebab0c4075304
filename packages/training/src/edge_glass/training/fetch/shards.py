"""One shard: the rows of a slice with their images, written completely or not at all.

The bytes are a function of the rows and the images. A worker process writes a shard with one row
group in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import replacing
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.writers import WriterPool
from edge_glass.training.parquet.image_file import image_column, storage
from edge_glass.training.parquet.schemas import IMAGE

GROUP_BYTES = 64 * 2**20
GROUP_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the image of a row is: in a pack, or (pack "") in the existing file of the shard."""

    pack: str
    offset: int
    length: int
    sha256: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """The input of `build_shard`.

    Attributes:
        slice: the file with the rows.
        packs: the folder of the packs.
        target: the file to write.
        sources: a source for each row, None for a row without an image.
        group_bytes: a row group ends when its images reach this size.
    """

    slice: Path
    packs: Path
    target: Path
    sources: list[Source | None] = field(repr=False)
    group_bytes: int = GROUP_BYTES


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The size of the file, or the rows whose images are lost and must be downloaded again."""

    size: int
    lost: list[int]


class ShardWriter:
    """Writes complete shards, and deletes the packs that no shard needs any more.

    Args:
        folder: the output folder.
        index: rows and images.
        ledger: what is complete.
        pool: the processes that write.
        disk: a thread for short disk work.
    """

    def __init__(
        self, folder: Folder, index: Index, ledger: Ledger, pool: WriterPool, disk: Executor
    ) -> None:
        self._folder, self._index, self._ledger = folder, index, ledger
        self._pool, self._disk = pool, disk

    async def write(self, shard: int) -> list[int]:
        """Writes a shard if it is still complete and not written yet.

        Returns:
            The rows whose images are lost. If there are any, nothing was written.
        """
        loop = asyncio.get_running_loop()
        if not self._ledger.can_write(shard):
            return []
        task = await loop.run_in_executor(self._disk, self._task, shard)
        result = await self._pool.run(build_shard, task)
        if result.lost:
            return result.lost
        self._ledger.record_shard(shard, result.size)
        # delete packs only when a power cut can't remove the shard from the journal any more
        await loop.run_in_executor(self._disk, self._ledger.sync)
        await loop.run_in_executor(self._disk, self._ledger.remove_packs)
        return []

    def _task(self, shard: int) -> ShardTask:
        sources: dict[int, Source | None] = {-1: None}
        images = self._index.rows_of_shard(shard).tolist()
        for image in images:
            if image not in sources:
                sources[image] = self._source(image, int(self._ledger.shard_offset[shard]))
        return ShardTask(
            slice=self._folder.slice(shard),
            packs=self._folder.packs,
            target=self._folder.shard(shard, self._index.plan.shards),
            sources=[sources[image] for image in images],
        )

    def _source(self, image: int, written: int) -> Source | None:
        record = self._ledger.last_record(image)
        if record is None or record["status"] != "ok":
            return None
        # an image older than the file of the shard is in that file, and its pack may be gone
        old = int(self._ledger.offset[image]) < written
        return Source(
            pack="" if old else record["pack"],
            offset=record["offset"],
            length=record["bytes"],
            sha256=record["sha256"],
            name=f"{record['sha256']}.{record['format'].lower()}",
        )


class _LostImagesError(Exception):
    """Ends the writing of a shard that lacks images."""


def build_shard(task: ShardTask) -> ShardResult:
    """Writes one shard; if images are lost, writes nothing and returns their rows."""
    lost: list[int] = []
    try:
        with (
            replacing(task.target) as path,
            pq.ParquetFile(task.slice) as rows,
            _ImageReader(task) as reader,
        ):
            schema = rows.schema_arrow.append(pa.field("image", IMAGE))
            options = storage(schema, dictionary_bytes=2 * task.group_bytes)
            with pq.ParquetWriter(path, schema, **options) as writer:
                for columns, images in _groups(rows, task, reader, lost):
                    table = pa.Table.from_arrays([*columns, image_column(images)], schema=schema)
                    writer.write_table(table)
            if lost:
                raise _LostImagesError
    except _LostImagesError:
        return ShardResult(size=0, lost=lost)
    return ShardResult(size=task.target.stat().st_size, lost=[])


def _groups(
    rows: pq.ParquetFile, task: ShardTask, reader: _ImageReader, lost: list[int]
) -> Iterator[tuple[list[pa.Array], list[tuple[bytes, str] | None]]]:
    """Yields row groups: up to GROUP_ROWS rows, cut when their images reach `group_bytes`."""
    row = 0
    for batch in rows.iter_batches(batch_size=GROUP_ROWS):
        images: list[tuple[bytes, str] | None] = []
        begin = size = 0
        for end in range(1, batch.num_rows + 1):
            source = task.sources[row]
            data = reader.read(row)
            if source is None:
                images.append(None)
            elif data is None:
                lost.append(row)
                images.append(None)
            else:
                images.append((data, source.name))
                size += len(data)
            row += 1
            if size >= task.group_bytes or end == batch.num_rows:
                yield batch.slice(begin, end - begin).columns, images
                begin, size, images = end, 0, []


class _ImageReader:
    """The images of the rows of a shard, read in order from packs and from the existing file."""

    def __init__(self, task: ShardTask) -> None:
        self._task = task
        self._packs: dict[str, int] = {}
        self._existing: Iterator[bytes | None] | None = None
        if any(source is not None and not source.pack for source in task.sources):
            self._existing = _existing_images(task.target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._packs.values():
            os.close(descriptor)

    def read(self, row: int) -> bytes | None:
        """Returns the image of a row; None if it has none, or if the bytes are not those kept."""
        # the existing file is read row by row, whether or not this row needs it
        existing = next(self._existing, None) if self._existing is not None else None
        source = self._task.sources[row]
        if source is None:
            return None
        data = self._from_pack(source) if source.pack else existing
        if data is None or hashlib.sha256(data).hexdigest() != source.sha256:
            return None
        return data

    def _from_pack(self, source: Source) -> bytes | None:
        if source.pack not in self._packs:
            try:
                self._packs[source.pack] = os.open(self._task.packs / source.pack, os.O_RDONLY)
            except FileNotFoundError:
                return None
        return os.pread(self._packs[source.pack], source.length, source.offset)


def _existing_images(path: Path) -> Iterator[bytes | None]:
    if not path.exists():
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64, columns=["image"]):
            for image in batch.column("image"):
                yield image["bytes"].as_py() if image.is_valid else None
