"""The row groups of a data set: its files and where each row is, from the footers alone.

The index has a few numbers per row group and nothing per row: a million rows in groups of 100 are
10,000 entries.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edge_glass.encoders.file_names import is_hidden
from edge_glass.encoders.files import DataError

Integers = NDArray[np.int64]
FOOTER_THREADS = 8  # they wait for a disk or a network, not for a core


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroups:
    """The G row groups of a data set, in the order of the file names.

    Attributes:
        root: the folder of the files.
        files: their names.
        file: (G,) index into `files`.
        group: (G,) number of the row group in its file.
        first: (G,) the first row of the group, counted in its file.
        rows: (G,) number of its rows; none is empty.
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
        """(G + 1,) the first row of each group, counted over the data set; then the sum."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.rows)])

    @property
    def num_rows(self) -> int:
        """Number of rows of all files."""
        return int(self.starts[-1])

    def path(self, group: int) -> Path:
        """Returns the file of a row group."""
        return self.root / self.files[int(self.file[group])]

    def locate(self, number: int) -> tuple[Path, int]:
        """Returns the file, and the row in it, of a row that is counted over the data set."""
        if not 0 <= number < self.num_rows:
            raise IndexError(f"row {number} of {self.num_rows}")
        group = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.path(group), int(self.first[group] + number - self.starts[group])


def parquet_files(path: Path) -> list[Path]:
    """Returns the Parquet files of a data set in a fixed order."""
    # some systems leave `._x.parquet` beside x.parquet, which is no Parquet file
    found = (each for each in path.glob("*.parquet") if not is_hidden(each.name))
    files = [path] if path.is_file() else sorted(each for each in found if each.is_file())
    if not files:
        raise DataError(
            f"{path}: found no Parquet file: get the data first (`dvc pull`), or choose a "
            "different data set in params.yaml"
        )
    return files


def open_row_groups(source: Path) -> RowGroups:
    """Returns the index of a Parquet file, or of a folder of `*.parquet`."""
    paths = parquet_files(source)
    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        counts = list(pool.map(_group_rows, paths))
    rows = np.concatenate(counts)
    filled = rows > 0
    if not filled.any():
        raise DataError(f"{source}: {len(paths)} Parquet files without a row; download them again")
    columns = {
        "file": np.repeat(np.arange(len(paths)), [len(count) for count in counts]),
        "group": np.concatenate([np.arange(len(count)) for count in counts]),
        "first": np.concatenate([np.cumsum(count) - count for count in counts]),
        "rows": rows,
    }
    return RowGroups(
        root=paths[0].parent,
        files=tuple(path.name for path in paths),
        **{name: column[filled].astype(np.int64) for name, column in columns.items()},
    )


def one_line(error: Exception) -> str:
    """Returns the message of an error; Arrow's may have several lines."""
    return " ".join(str(error).split())


def _group_rows(path: Path) -> Integers:
    """Returns the number of rows of each row group of one file, from its footer."""
    try:
        footer = pq.read_metadata(path)
        sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a complete Parquet file ({one_line(error)}); get it again "
            "(`dvc checkout --force`)"
        ) from error
    return np.array(sizes, dtype=np.int64)
