"""Chosen rows of one row group, and no more of it than a batch in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import Integers, RowGroups

OPEN_FILES = 8
READ_ROWS = 256  # of a row group at a time
BUFFER_BYTES = 2**20  # of a stream, for each column


class RowReader:
    """Reads rows by row group; belongs to one process, as it keeps files open.

    Args:
        row_groups: the index.
        columns: which to read, "image.bytes" among them for a part of a struct.
        memory_map: map local files, so that processes share the pages; False streams them, for
            file systems that can't be mapped, or to keep mapped pages out of a process's memory.
        read_rows: of a row group at a time.
    """

    def __init__(
        self,
        row_groups: RowGroups,
        columns: Sequence[str],
        *,
        memory_map: bool = True,
        read_rows: int | None = None,
    ) -> None:
        self._row_groups = row_groups
        self._columns = list(columns)
        self._read_rows = read_rows or READ_ROWS
        # of no method: a cycle through self would keep files and their buffers until a collection
        self._open = lru_cache(OPEN_FILES)(partial(_open_file, self._columns, memory_map))

    def read(self, group: int, rows: Integers) -> Iterator[dict[str, Any]]:
        """Yields rows of one group.

        Args:
            group: its number in the index.
            rows: (n,) numbers of rows in the group, ascending.

        Raises:
            DataError: where a column is missing or a page is torn.
        """
        path = self._row_groups.path(group)
        file = self._open(path)
        first = 0
        try:
            for batch in file.iter_batches(
                batch_size=self._read_rows,
                row_groups=[int(self._row_groups.group[group])],
                columns=self._columns,
                use_threads=False,  # a worker is one of many processes
            ):
                stop = first + batch.num_rows
                low, high = np.searchsorted(rows, (first, stop))
                if low < high:
                    yield from batch.take(pa.array(rows[low:high] - first)).to_pylist()
                first = stop
        except (pa.ArrowInvalid, OSError) as error:
            row = int(self._row_groups.first[group]) + first
            raise DataError(
                f"{path}: unreadable from row {row} on ({error}); fetch it again"
            ) from error


def _open_file(columns: list[str], memory_map: bool, path: Path) -> pq.ParquetFile:
    try:
        # without a buffer, a stream reads a row group's column whole before its first row
        buffer = 0 if memory_map else BUFFER_BYTES
        file = pq.ParquetFile(path, memory_map=memory_map, buffer_size=buffer)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: can't be opened ({error}); fetch it again") from error
    there = file.schema_arrow.names
    for column in columns:
        if column.split(".")[0] not in there:
            raise DataError(f"{path}: column {column!r} is missing; found {', '.join(there)}")
    return file
