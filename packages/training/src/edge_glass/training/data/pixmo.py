"""PixMo Parquet files: which columns they hold, and their rows one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.data.error import DataError

# columns that a row must have, as published, with the picture's bytes added by `fetch`
REQUIRED = {
    "captions": {"image_url": "string", "caption": "string", "image": "struct"},
    "questions": {
        "image_url": "string",
        "question": "string",
        "answer": "string",
        "image": "struct",
    },
}


def parquet_files(path: Path) -> list[Path]:
    """Returns the Parquet files of a data set in a fixed order.

    Raises:
        DataError: where there is none.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise DataError(
            f"{path}: no Parquet file there; fetch the data first (`dvc pull`), or name another "
            "data set in params.yaml"
        )
    return files


def open_parquet(path: Path, subset: str) -> pq.ParquetFile:
    """Opens a file and checks its columns.

    Raises:
        DataError: where it is no whole Parquet file, or lacks a column.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({error}); fetch it again (`dvc checkout --force`)"
        ) from error
    schema = file.schema_arrow
    for column, kind in REQUIRED[subset].items():
        if column not in schema.names:
            raise DataError(
                f"{path}: column {column!r} is missing; found {', '.join(schema.names)}"
            )
        found = schema.field(column).type
        if not str(found).replace("large_", "").startswith(kind):
            raise DataError(f"{path}: column {column!r} is {found}, expected {kind}")
    return file


def read_rows(path: Path, subset: str, batch_size: int = 1024) -> Iterator[dict[str, Any]]:
    """Yields the rows of one file in order, a batch in memory at a time.

    Raises:
        DataError: as `open_parquet`, or where a page of the file can't be read.
    """
    file = open_parquet(path, subset)
    done = 0
    try:
        for batch in file.iter_batches(batch_size=batch_size):
            yield from batch.to_pylist()
            done += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: unreadable after row {done} ({error}); fetch it again") from error
