"""One shard: the rows of a slice and their pictures, whole or not there.

The bytes are a function of the rows and the pictures. Runs in a worker process, a row group in
memory at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import replacing
from edge_glass.training.parquet.schemas import IMAGE

GROUP_BYTES = 64 * 2**20
GROUP_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a row's picture is now: in a pack, or (pack "") in the shard's present file."""

    pack: str
    offset: int
    length: int
    sha256: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What `build_shard` needs: a source for each row, None for a row without a picture."""

    slice: Path
    packs: Path
    target: Path
    sources: list[Source | None] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The size of the file, or the rows whose pictures are lost and must be fetched again."""

    size: int
    lost: list[int]


class _LostPicturesError(Exception):
    """Ends the writing of a shard that lacks pictures."""


def build_shard(task: ShardTask) -> ShardResult:
    """Writes one shard; where pictures are lost, writes nothing and says which rows'."""
    lost: list[int] = []
    try:
        with (
            replacing(task.target) as path,
            pq.ParquetFile(task.slice) as rows,
            _Pictures(task) as pictures,
        ):
            schema = rows.schema_arrow.append(pa.field("image", IMAGE))
            with pq.ParquetWriter(path, schema, **_options(schema)) as writer:
                for columns, images in _groups(rows, task, pictures, lost):
                    table = pa.Table.from_arrays([*columns, pa.array(images, IMAGE)], schema=schema)
                    writer.write_table(table)
            if lost:
                raise _LostPicturesError
    except _LostPicturesError:
        return ShardResult(size=0, lost=lost)
    return ShardResult(size=task.target.stat().st_size, lost=[])


def _groups(
    rows: pq.ParquetFile, task: ShardTask, pictures: _Pictures, lost: list[int]
) -> Iterator[tuple[list[pa.Array], list[dict[str, object] | None]]]:
    """Yields row groups: up to GROUP_ROWS rows, cut where their pictures reach GROUP_BYTES."""
    row = 0
    for batch in rows.iter_batches(batch_size=GROUP_ROWS):
        images: list[dict[str, object] | None] = []
        begin = held = 0
        for end in range(1, batch.num_rows + 1):
            source = task.sources[row]
            picture = pictures.read(row)
            if source is None:
                images.append(None)
            elif picture is None:
                lost.append(row)
                images.append(None)
            else:
                images.append({"bytes": picture, "path": source.name})
                held += len(picture)
            row += 1
            if held >= GROUP_BYTES or end == batch.num_rows:
                yield batch.slice(begin, end - begin).columns, images
                begin, held, images = end, 0, []


class _Pictures:
    """The pictures of a shard's rows, read in order from packs and from the present file."""

    def __init__(self, task: ShardTask) -> None:
        self._task = task
        self._packs: dict[str, int] = {}
        self._present: Iterator[bytes | None] | None = None
        if any(source is not None and not source.pack for source in task.sources):
            self._present = _present(task.target)

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._packs.values():
            os.close(descriptor)

    def read(self, row: int) -> bytes | None:
        """Returns a row's picture, None where it has none or it is not what was kept."""
        # the present file is read row by row, whether or not this row needs it
        present = next(self._present, None) if self._present is not None else None
        source = self._task.sources[row]
        if source is None:
            return None
        picture = self._from_pack(source) if source.pack else present
        if picture is None or hashlib.sha256(picture).hexdigest() != source.sha256:
            return None
        return picture

    def _from_pack(self, source: Source) -> bytes | None:
        if source.pack not in self._packs:
            try:
                self._packs[source.pack] = os.open(self._task.packs / source.pack, os.O_RDONLY)
            except FileNotFoundError:
                return None
        return os.pread(self._packs[source.pack], source.length, source.offset)


def _present(path: Path) -> Iterator[bytes | None]:
    if not path.exists():
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64, columns=["image"]):
            for image in batch.column("image"):
                yield image["bytes"].as_py() if image.is_valid else None


def _options(schema: pa.Schema) -> dict[str, object]:
    """How a shard is stored.

    Pictures are compressed already. Within a row group a picture that several rows name is stored
    once: dictionary encoding, with a dictionary as large as a group.
    """
    empty = pa.BufferOutputStream()
    with pq.ParquetWriter(empty, schema) as writer:
        writer.write_table(schema.empty_table())
    stored = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    columns = [stored.column(number).path for number in range(len(stored))]
    return {
        "compression": {
            column: "none" if column == "image.bytes" else "zstd" for column in columns
        },
        "write_statistics": [column for column in columns if not column.startswith("image.")],
        "dictionary_pagesize_limit": 2 * GROUP_BYTES,
    }
