"""The output folder, and the input: copied once into slices, so that each shard is independent.

Slice k and shard k hold the same rows in the same order. The slices take as much disk as the input,
which is text. In return a row group of two million rows takes no memory, and the input may change
or disappear without harm to a fetch that has begun.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError, replacing
from edge_glass.training.parquet.row_groups import parquet_files
from edge_glass.training.parquet.schemas import TEXT, check_schema, fits
from edge_glass.training.runtime.lock import file_lock

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Folder:
    """Paths below the output folder.

    The Parquet files directly in it are the shards and nothing else, so `prepare` can read it.
    `report/` holds the outcome of each image, `work/` what a later run resumes from.
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

    def slice(self, shard: int) -> Path:
        """Returns the input rows of one shard, without images."""
        return self.work / "slices" / f"{shard:05d}.parquet"

    def shard(self, shard: int, count: int) -> Path:
        """Returns one shard of the result."""
        return self.root / f"{shard:05d}-of-{count:05d}.parquet"

    def make(self) -> None:
        """Makes the folders."""
        for folder in (self.packs, self.work / "slices", self.manifest.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other processes out.

        Raises:
            BlockingIOError: if a live process works here; the message names it.
        """
        self.make()
        return file_lock(self.work / "lock", f"a fetch to {self.root}", "choose a different folder")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The input that a folder was begun with; a later run must have the same one.

    Attributes:
        sha256: of the input files.
        rows: of the input.
        rows_per_shard: input rows per shard.
        has_sha256: whether the input has published hashes.
    """

    sha256: str
    rows: int
    rows_per_shard: int
    has_sha256: bool

    @property
    def shards(self) -> int:
        return -(-self.rows // self.rows_per_shard)


def plan_input(source: Path, folder: Folder, rows_per_shard: int, subset: str | None) -> Plan:
    """Copies the input into slices, unless an earlier run has done so.

    Args:
        source: a Parquet file, or a folder of them.
        folder: the output folder.
        rows_per_shard: input rows per shard.
        subset: the PixMo sub-set whose columns the input must have; None requires `image_url`.

    Raises:
        DataError: if the input can't be read, or the folder was begun with a different input.
    """
    files = parquet_files(source)
    schema = input_schema(files, subset)
    fingerprint = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            fingerprint.update(hashlib.file_digest(file, "sha256").digest())
    sha256 = fingerprint.hexdigest()
    if folder.plan.exists():
        plan = Plan(**json.loads(folder.plan.read_text()))
        if plan.sha256 != sha256:
            raise DataError(
                f"{folder.root} was begun with a different input than {source}: pass that input, "
                "or choose a different folder"
            )
        if plan.rows_per_shard != rows_per_shard:
            raise DataError(
                f"{folder.root} was begun with {plan.rows_per_shard} rows per shard, now it is "
                f"{rows_per_shard}: pass the same number, or choose a different folder"
            )
        return plan
    rows = 0
    for number, table in enumerate(_tables(files, schema, rows_per_shard)):
        rows += table.num_rows
        with replacing(folder.slice(number)) as path:
            pq.write_table(table, path, compression="zstd")
    if not rows:
        raise DataError(f"{source}: no rows, nothing to fetch")
    has_sha256 = "image_sha256" in schema.names
    plan = Plan(sha256=sha256, rows=rows, rows_per_shard=rows_per_shard, has_sha256=has_sha256)
    with replacing(folder.plan) as path:
        path.write_text(json.dumps(asdict(plan)))
    return plan


def input_schema(files: list[Path], subset: str | None) -> pa.Schema:
    """Checks that the files have equal, usable columns; returns their schema without metadata.

    Raises:
        DataError: with the file and what is wrong.
    """
    first: pa.Schema | None = None
    for path in files:
        try:
            # metadata of other libraries (pandas, datasets) would be wrong after a column is added
            schema = pq.read_schema(path).remove_metadata()
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{path}: not a complete Parquet file ({error}); download it again"
            ) from error
        if subset is not None:
            check_schema(schema, subset, where=path)
        if "image" in schema.names:
            raise DataError(f"{path}: column 'image' holds the images already: nothing to fetch")
        for column in ("image_url", "image_sha256"):
            if column not in schema.names:
                if column == "image_url":
                    raise DataError(
                        f"{path}: column 'image_url' is missing; found {', '.join(schema.names)}"
                    )
            elif not fits(schema.field(column).type, TEXT):
                kind = schema.field(column).type
                raise DataError(f"{path}: column {column!r} is {kind}, expected string")
        if first is not None and schema != first:
            raise DataError(
                f"{path}: columns differ from those of {files[0]}: fetch each into its own folder"
            )
        first = schema
    assert first is not None
    return first


def _tables(files: list[Path], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for path in files:
        try:
            with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=min(BATCH_ROWS, rows)):
                    batch = batch.replace_schema_metadata(None)
                    while batch.num_rows:
                        part = batch.slice(0, rows - count)
                        held.append(part)
                        count += part.num_rows
                        batch = batch.slice(part.num_rows)
                        if count == rows:
                            yield pa.Table.from_batches(held, schema)
                            held, count = [], 0
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: can't be read ({error}); download it again") from error
    if count:
        yield pa.Table.from_batches(held, schema)


def read_column(path: Path, column: str) -> list[str | None]:
    """Returns one text column of a slice."""
    texts: list[str | None] = pq.read_table(path, columns=[column]).column(column).to_pylist()
    return texts
