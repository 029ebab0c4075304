"""The column `split` of a file, checked before any image is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import one_line
from edge_glass.training.parquet.row_reader import is_utf8, to_python
from edge_glass.training.prepare.splits import MAX_NAME, is_split_name, named_split

MAX_SPLITS = 100  # each has files of its own, which are open at the same time
BATCH = 2**16


def check_split_column(path: Path) -> None:
    """Refuses split names that can't be file names.

    Raises:
        DataError: naming the file, the column and the row.
    """
    seen: set[str] = set()
    first = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=["split"], use_threads=False):
                column = batch.column(0)
                for name in map(to_python, _distinct(column)):
                    split = named_split(name)
                    if split in seen or not split or not is_utf8(split):
                        continue  # a row that is not UTF-8 is dropped and counted
                    seen.add(split)
                    if not is_split_name(split) or len(seen) > MAX_SPLITS:
                        row = first + [to_python(each) for each in column].index(name)
                        raise DataError(f"{path}, row {row}: column 'split' {_fault(split)}")
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: column 'split' can't be read ({one_line(error)}); get it again"
        ) from error


def _fault(split: str) -> str:
    if not is_split_name(split):
        return (
            f"is {split[:40]!r}; a split can't be a file name if it has other characters than "
            f"letters, digits, '_', '.' and '-', or more than {MAX_NAME} bytes"
        )
    return f"has more than {MAX_SPLITS} different names; remove or rename it if it names no splits"


def _distinct(column: pa.Array) -> pa.Array:
    try:
        return column.unique()
    except pa.ArrowNotImplementedError:  # of string views, for example
        return column
