"""Selected rows of a row group; torn pages are named, text that is not UTF-8 is detected."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.row_groups import open_row_groups
from edge_glass.training.parquet.row_reader import RowReader, is_utf8
from edge_glass.training.parquet.schemas import IMAGE
from parquet_files import write_files

FILES = [(5, 3), (4,), (1, 7, 2)]


@pytest.mark.parametrize("memory_map", [True, False])
def test_rows_are_read_from_their_group_alone(tmp_path: Path, memory_map: bool) -> None:
    write_files(tmp_path, FILES)
    index = open_row_groups(tmp_path)
    reader = RowReader(index, ["caption"], memory_map=memory_map, read_rows=3)
    got = list(reader.read(4, np.array([0, 2, 3, 6])))  # group 4 begins at row 13
    assert got == [{"caption": f"row {i}"} for i in (13, 15, 16, 19)]
    with pytest.raises(DataError, match=r"column 'answer' is missing; found caption, image"):
        list(RowReader(index, ["answer"]).read(0, np.array([0])))


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
    with pytest.raises(DataError, match=r"a.parquet: can't be read from row 20 on"):
        list(reader.read(1, np.arange(20)))


def test_a_reader_is_freed_with_its_last_reference(tmp_path: Path) -> None:
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


def test_text_that_is_not_utf8_is_detected(tmp_path: Path) -> None:
    good = [b"one", b"two", None, "vi\u00e9r".encode(), b"five"]
    bad = [b"one", b"two\xff", None, "vi\u00e9r".encode(), b"five"]

    def text(values: list[bytes | None]) -> pa.Array:
        return pa.array(values, pa.binary()).view(pa.string())

    columns: dict[str, Any] = {
        "caption": text(bad),
        "large": text(good).cast(pa.large_string()),
        "names": text(good).dictionary_encode(),
        "transcripts": pa.ListArray.from_arrays(pa.array([0, 1, 2, 2, 3, 4]), text(bad[:4])),
        "questions": pa.StructArray.from_arrays([text(bad)], ["question"]),
        "image": pa.array([{"bytes": b"\xff\xd8", "path": "x"}] * 5, IMAGE),
        "count": [1, None, 3, 4, 5],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    names = ["caption", "large", "names", "transcripts", "questions", "image.bytes", "count"]
    rows = list(RowReader(open_row_groups(tmp_path), names).read(0, np.arange(5)))
    assert [is_utf8(row) for row in rows] == [True, False, True, True, True]
    assert rows[3] == {
        "caption": "viér", "large": "viér", "names": "viér", "transcripts": [None],
        "questions": {"question": "viér"}, "image": {"bytes": b"\xff\xd8"}, "count": 4,
    }  # fmt: skip
    assert rows[1]["transcripts"] == ["two\udcff"]
