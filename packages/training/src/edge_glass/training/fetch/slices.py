"""The input, cut once into the rows of each shard, so that any shard can be made by itself.

Slice k and shard k hold the same rows in the same order. The copy costs as much disk as the input,
which is text; in return one row group of two million rows costs no memory, and the input may
change or go away without harm to what has begun.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError, replacing
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.parquet.row_groups import parquet_files
from edge_glass.training.parquet.schemas import TEXT, check_schema, fits

BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a folder was begun with; a later start must agree."""

    sha256: str
    rows: int
    rows_per_shard: int
    has_sha256: bool

    @property
    def shards(self) -> int:
        return -(-self.rows // self.rows_per_shard)


def plan_input(source: Path, folder: Folder, rows_per_shard: int, subset: str | None) -> Plan:
    """Cuts the input, or finds that an earlier start has done it.

    Args:
        source: a Parquet file, or a folder of them.
        folder: where to.
        rows_per_shard: input rows a shard.
        subset: the PixMo sub-set whose columns the input must have; None asks for `image_url`.

    Raises:
        DataError: where the input can't be read, or the folder was begun with another.
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
                f"{folder.root} was begun with another input than {source}: give that input, or "
                "another folder"
            )
        if plan.rows_per_shard != rows_per_shard:
            raise DataError(
                f"{folder.root} was begun with {plan.rows_per_shard} rows per shard, now it is "
                f"{rows_per_shard}: give the same number, or another folder"
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
    """Checks that the files have the same, usable columns; returns them without metadata.

    Raises:
        DataError: naming the file and what is wrong.
    """
    first: pa.Schema | None = None
    for path in files:
        try:
            # metadata of other libraries (pandas, datasets) would be wrong with one more column
            schema = pq.read_schema(path).remove_metadata()
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path}: not a whole Parquet file ({error}); get it again") from error
        if subset is not None:
            check_schema(schema, subset, where=path)
        if "image" in schema.names:
            raise DataError(f"{path}: column 'image' holds the pictures: nothing to fetch")
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
                for batch in file.iter_batches(batch_size=min(BATCH, rows)):
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
            raise DataError(f"{path}: can't be read ({error}); get it again") from error
    if count:
        yield pa.Table.from_batches(held, schema)


def read_column(path: Path, column: str) -> list[str | None]:
    """Returns one text column of a slice."""
    texts: list[str | None] = pq.read_table(path, columns=[column]).column(column).to_pylist()
    return texts
