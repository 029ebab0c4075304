"""The index locates each row, from the footers alone; bad files are named."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import open_row_groups
from parquet_files import write_files

FILES = [(5, 3), (4,), (1, 7, 2)]


def test_every_row_is_located(tmp_path: Path) -> None:
    count = write_files(tmp_path, FILES)
    index = open_row_groups(tmp_path)
    assert index.num_rows == count == 22
    assert index.rows.tolist() == [5, 3, 4, 1, 7, 2]
    for number in range(count):
        path, row = index.locate(number)
        assert pq.read_table(path)["caption"][row].as_py() == f"row {number}"
    for number in (-1, count):
        with pytest.raises(IndexError):
            index.locate(number)


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no Parquet file"):
        open_row_groups(tmp_path)
    write_files(tmp_path, [(0,)])
    with pytest.raises(DataError, match="without a row"):
        open_row_groups(tmp_path)
    write_files(tmp_path, FILES)
    torn = tmp_path / "00001.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"00001.parquet: not a complete Parquet file"):
        open_row_groups(tmp_path)
