"""Selected rows of one row group, with no more of it than a batch in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import Integers, RowGroups, one_line

OPEN_FILES = 8
READ_ROWS = 256
BUFFER_BYTES = 2**20  # of a stream, per column


class RowReader:
    """Reads rows by row group. It keeps files open, so it belongs to one process.

    Text that is not UTF-8 is decoded with surrogate escapes; `is_utf8` detects such rows.

    Args:
        columns: the columns to read; "image.bytes", for example, is one part of a struct.
        memory_map: map local files, so processes share the pages. False streams them: for file
            systems that can't be mapped, or to keep the pages out of the memory of the process.
        read_rows: number of rows of a row group that are read at a time.
    """

    def __init__(
        self,
        row_groups: RowGroups,
        columns: Sequence[str],
        *,
        memory_map: bool = True,
        read_rows: int = READ_ROWS,
    ) -> None:
        self._row_groups = row_groups
        self._columns = list(columns)
        self._read_rows = read_rows
        # not of a method: a cycle through self would keep files open until a garbage collection
        self._open = lru_cache(OPEN_FILES)(partial(_open_file, self._columns, memory_map))

    def read(self, group: int, rows: Integers) -> Iterator[dict[str, Any]]:
        """Yields rows of a row group, given its number and those of its rows (n,), ascending."""
        path = self._row_groups.path(group)
        file = self._open(path)
        first = 0
        try:
            for batch in file.iter_batches(
                batch_size=self._read_rows,
                row_groups=[int(self._row_groups.group[group])],
                columns=self._columns,
                use_threads=False,  # there is one worker process per core
            ):
                stop = first + batch.num_rows
                low, high = np.searchsorted(rows, (first, stop))
                if low < high:
                    yield from _to_rows(_selected(batch, rows[low:high] - first))
                first = stop
        except (pa.ArrowException, OSError) as error:
            row = int(self._row_groups.first[group]) + first
            raise DataError(
                f"{path}: can't be read from row {row} on ({one_line(error)}); get it again"
            ) from error


def is_utf8(value: Any) -> bool:
    """Returns whether all text in a row, or in a value of a row, was valid UTF-8."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return all(is_utf8(item) for item in value.values())
    if isinstance(value, list):
        return all(is_utf8(item) for item in value)
    return True


def _selected(batch: pa.RecordBatch, rows: Integers) -> pa.Table:
    """Returns rows of a batch; Arrow's `take` does not know all types, such as string views."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return pa.Table.from_batches([batch.slice(int(rows[0]), len(rows))])
    return pa.Table.from_batches([batch.slice(row, 1) for row in rows.tolist()])


def _to_rows(batch: pa.Table) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        names = batch.schema.names
        return [
            {name: to_python(batch.column(name)[row]) for name in names}
            for row in range(batch.num_rows)
        ]
    return rows


def to_python(scalar: Any) -> Any:
    """Returns an Arrow value as Python's, with surrogate escapes for invalid UTF-8."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.DictionaryScalar):
        return to_python(scalar.value)
    if isinstance(scalar, pa.StringScalar):  # large strings and string views are subclasses
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
    if isinstance(scalar, pa.StructScalar):
        return {name: to_python(scalar[name]) for name in scalar}
    if isinstance(scalar, pa.ListScalar):  # large and fixed-size lists are subclasses
        return [to_python(item) for item in scalar.values]
    return scalar.as_py()


def _open_file(columns: list[str], memory_map: bool, path: Path) -> pq.ParquetFile:
    try:
        # without a buffer, a stream reads the whole column of a row group before its first row
        buffer = 0 if memory_map else BUFFER_BYTES
        file = pq.ParquetFile(path, memory_map=memory_map, buffer_size=buffer)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be opened ({one_line(error)}); get it again") from error
    existing = file.schema_arrow.names
    for column in columns:
        if column.split(".")[0] not in existing:
            raise DataError(f"{path}: column {column!r} is missing; found {', '.join(existing)}")
    return file
