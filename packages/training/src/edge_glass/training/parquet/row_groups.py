"""Where each row is: the files of a data set and their row groups, from the footers alone.

An index holds a few numbers a row group and nothing a row, so a million rows in groups of 100 are
10,000 entries. It is built once, kept as an `.npz` where the caller says, and built anew when
a file's name, size or time of change differs.
"""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge_glass.encoders.files import DataError, write_atomic
from edge_glass.training.parquet.schemas import check_schema

Integers = NDArray[np.int64]
FOOTER_THREADS = 8  # waiting for a disk or a network, not for a core
ARRAYS = ("file", "group", "first", "rows")


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroups:
    """The row groups of a data set, in the order of the files' names; G of them.

    Attributes:
        root: the folder of the files.
        files: their names.
        file: (G,) number in `files`.
        group: (G,) number inside its file.
        first: (G,) the group's first row, counted in its file.
        rows: (G,) how many it holds; none is empty.
    """

    root: Path
    files: tuple[str, ...]
    file: Integers = field(repr=False)
    group: Integers = field(repr=False)
    first: Integers = field(repr=False)
    rows: Integers = field(repr=False)

    def only(self, group: int) -> RowGroups:
        """Returns one row group as an index of its own, small enough to send to a worker."""
        one = slice(group, group + 1)
        return RowGroups(
            root=self.root,
            files=(self.files[int(self.file[group])],),
            file=np.zeros(1, np.int64),
            group=self.group[one].copy(),
            first=self.first[one].copy(),
            rows=self.rows[one].copy(),
        )

    @cached_property
    def starts(self) -> Integers:
        """(G + 1,) the first row of each group, counted over the data set; then their sum."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.rows)])

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return int(self.starts[-1])

    def path(self, group: int) -> Path:
        """The file of a row group."""
        return self.root / self.files[int(self.file[group])]

    def place(self, number: int) -> tuple[Path, int]:
        """Returns the file and the row in it of a row that is counted over the data set.

        Raises:
            IndexError: where there is no such row.
        """
        if not 0 <= number < self.num_rows:
            raise IndexError(f"row {number} of {self.num_rows}")
        group = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.path(group), int(self.first[group] + number - self.starts[group])


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


def open_row_groups(
    source: Path, *, subset: str | None = None, with_bytes: bool = True, cache: Path | None = None
) -> RowGroups:
    """Returns the index of a Parquet file or of a folder's.

    Args:
        source: the file, or the folder of `*.parquet`.
        subset: a name of `schemas.SUBSETS`, whose columns each file must then have.
        with_bytes: whether the sub-set must hold pictures too.
        cache: a file to keep the index in; it is read where it fits the files as they are, and
            written where it is missing, torn or old.

    Raises:
        DataError: where there are no files or rows, or a file is torn or lacks a column.
    """
    paths = parquet_files(source)
    key = np.array([f"{path.name}/{_stamp(path)}" for path in paths] + [f"{subset}/{with_bytes}"])
    root = paths[0].parent
    if cache is not None and (kept := _load(cache, key)) is not None:
        arrays = kept
    else:
        arrays = _scan(paths, subset, with_bytes)
        if cache is not None:
            held = io.BytesIO()
            np.savez(held, key=key, places=np.stack([arrays[name] for name in ARRAYS]))
            write_atomic(cache, held.getvalue())
    if not len(arrays["rows"]):
        raise DataError(f"{source}: {len(paths)} Parquet files without a row; fetch them again")
    return RowGroups(root=root, files=tuple(path.name for path in paths), **arrays)


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}/{status.st_mtime_ns}"


def _load(cache: Path, key: NDArray[np.str_]) -> dict[str, Integers] | None:
    """Returns the arrays of a cache that fits, else None: whatever it holds, it can be rebuilt."""
    try:
        with np.load(io.BytesIO(cache.read_bytes()), allow_pickle=False) as kept:
            if np.array_equal(kept["key"], key):
                return dict(zip(ARRAYS, kept["places"], strict=True))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return None


def _scan(paths: list[Path], subset: str | None, with_bytes: bool) -> dict[str, Integers]:
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        counts = list(pool.map(lambda path: _group_rows(path, subset, with_bytes), paths))
    file = np.repeat(np.arange(len(paths)), [len(each) for each in counts])
    group = np.concatenate([np.arange(len(each)) for each in counts])
    first = np.concatenate([np.cumsum(each) - each for each in counts])
    rows = np.concatenate(counts)
    held = rows > 0
    columns = {"file": file, "group": group, "first": first, "rows": rows}
    return {name: column[held].astype(np.int64) for name, column in columns.items()}


def _group_rows(path: Path, subset: str | None, with_bytes: bool) -> Integers:
    """Returns the rows of each row group of one file, from its footer."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not a whole Parquet file ({error}); fetch it again (`dvc checkout --force`)"
        ) from error
    if subset is not None:
        schema = footer.schema.to_arrow_schema()
        check_schema(schema, subset, where=path, with_bytes=with_bytes)
    sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    return np.array(sizes, dtype=np.int64)
