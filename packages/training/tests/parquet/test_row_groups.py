"""The index knows each row's place from the footers, and is built once."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet import row_groups
from edge_glass.training.parquet.row_groups import open_row_groups
from edge_glass.training.parquet.row_reader import RowReader
from parquet_files import write_files

FILES = [(5, 3), (4,), (1, 7, 2)]


def test_every_row_has_its_place(tmp_path: Path) -> None:
    count = write_files(tmp_path, FILES)
    index = open_row_groups(tmp_path)
    assert index.num_rows == count == 22
    assert index.rows.tolist() == [5, 3, 4, 1, 7, 2]
    for number in range(count):
        path, row = index.place(number)
        assert pq.read_table(path)["caption"][row].as_py() == f"row {number}"
    for number in (-1, count):
        with pytest.raises(IndexError):
            index.place(number)


@pytest.mark.parametrize("memory_map", [True, False])
def test_rows_are_read_from_their_group_alone(
    tmp_path: Path, memory_map: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_glass.training.parquet.row_reader.READ_ROWS", 3)
    write_files(tmp_path, FILES)
    index = open_row_groups(tmp_path)
    reader = RowReader(index, ["caption"], memory_map=memory_map)
    got = list(reader.read(4, np.array([0, 2, 3, 6])))  # group 4 begins at row 13
    assert got == [{"caption": f"row {i}"} for i in (13, 15, 16, 19)]
    with pytest.raises(DataError, match=r"column 'answer' is missing; found caption, image"):
        list(RowReader(index, ["answer"]).read(0, np.array([0])))


def test_the_index_is_kept_and_built_anew_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", tmp_path / "kept" / "index.npz"
    write_files(data, FILES)
    built = open_row_groups(data, cache=cache)
    scans: list[int] = []
    scan = row_groups._scan

    def count(paths: list[Path], subset: str | None, with_bytes: bool) -> object:
        scans.append(len(paths))
        return scan(paths, subset, with_bytes)

    monkeypatch.setattr(row_groups, "_scan", count)
    kept = open_row_groups(data, cache=cache)
    assert not scans
    for name in row_groups.ARRAYS:
        np.testing.assert_array_equal(getattr(kept, name), getattr(built, name))

    os.utime(data / "00000.parquet", ns=(1, 1))  # same size, another time
    open_row_groups(data, cache=cache)
    assert len(scans) == 1
    cache.write_bytes(cache.read_bytes()[:100])  # torn
    assert open_row_groups(data, cache=cache).num_rows == 22
    assert len(scans) == 2
    write_files(data, [*FILES, (6,)])
    assert open_row_groups(data, cache=cache).num_rows == 28
    assert cache.stat().st_size < 4000


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Parquet file there"):
        open_row_groups(tmp_path)
    write_files(tmp_path, [(0,)])
    with pytest.raises(DataError, match="without a row"):
        open_row_groups(tmp_path)
    write_files(tmp_path, FILES)
    with pytest.raises(DataError, match=r"00000.parquet: pixmo-cap needs column 'image_url'"):
        open_row_groups(tmp_path, subset="pixmo-cap")
    torn = tmp_path / "00001.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"00001.parquet: not a whole Parquet file"):
        open_row_groups(tmp_path)


def test_a_torn_page_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"caption": [f"{i:0100d}" for i in range(60)]})
    pq.write_table(
        table, path, row_group_size=20, compression="zstd", write_page_checksum=True,
        use_dictionary=False,
    )  # fmt: skip
    footer = pq.read_metadata(path)
    start = footer.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    reader = RowReader(open_row_groups(tmp_path), ["caption"])
    assert len(list(reader.read(0, np.arange(20)))) == 20
    with pytest.raises(DataError, match=r"a.parquet: unreadable from row 20 on"):
        list(reader.read(1, np.arange(20)))


def test_a_reader_goes_with_its_last_user(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    gc.disable()  # a cycle would wait for a collection, and hold the buffers of a file meanwhile
    try:
        reader = RowReader(open_row_groups(tmp_path), ["caption"])
        rows = reader.read(0, np.arange(5))
        assert len(list(rows)) == 5
        gone = weakref.ref(reader)
        del reader, rows
        assert gone() is None
    finally:
        gc.enable()
