"""Single images from a row group, as `prepare` writes them and in other layouts."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_glass.encoders.files import DataError
from edge_glass.training.parquet.pages import open_plain_column
from edge_glass.training.prepare.split_writer import IMAGE_SCHEMA, IMAGE_STORAGE, SplitWriter

DRAW = np.random.default_rng(0)
IMAGES = [DRAW.bytes(int(size)) for size in DRAW.integers(0, 4000, 3000)]
NUMBERS = pa.field("bytes", pa.int64(), nullable=False)


def test_every_image_of_a_prepared_file_is_found(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path, "captions", "train", (), group_bytes=2**20)
    for number, data in enumerate(IMAGES):
        writer.add_image(str(number), data)
    writer.close()
    column = open_plain_column(tmp_path / "train.images.parquet", "bytes")
    assert column is not None
    file = pq.ParquetFile(tmp_path / "train.images.parquet")
    assert file.num_row_groups > 3
    found = [
        column.value(group, row)
        for group in range(file.num_row_groups)
        for row in range(file.metadata.row_group(group).num_rows)
    ]
    assert found == IMAGES == file.read()["bytes"].to_pylist()


def write(path: Path, schema: pa.Schema = IMAGE_SCHEMA, **options: Any) -> Path:
    rows = [
        {"image_id": str(number), "bytes": 7 if NUMBERS in schema else data}
        for number, data in enumerate(IMAGES)
    ]
    storage: dict[str, Any] = {**IMAGE_STORAGE, **options}
    pq.write_table(pa.Table.from_pylist(rows, schema), path, **storage)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_row_group_of_many_pages(tmp_path: Path, version: str) -> None:
    options = {"data_page_size": 1000, "write_batch_size": 7, "data_page_version": version}
    path = write(tmp_path / "a.parquet", **options)
    column = open_plain_column(path, "bytes")
    assert column is not None
    rows = range(0, len(IMAGES), 31)
    assert [column.value(0, row) for row in rows] == IMAGES[::31]


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"use_dictionary": True},
        {"use_dictionary": False, "column_encoding": {"bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"schema": pa.schema([("image_id", pa.string()), ("bytes", pa.binary())])},
        {"schema": pa.schema([("image_id", pa.string()), NUMBERS])},
    ],
)
def test_other_layouts_are_left_to_arrow(tmp_path: Path, options: dict[str, Any]) -> None:
    assert open_plain_column(write(tmp_path / "a.parquet", **options), "bytes") is None


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    column = pq.read_metadata(path).row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 40] = bytes(40)
    path.write_bytes(data)
    found = open_plain_column(path, "bytes")
    assert found is not None
    with pytest.raises(DataError, match=r"a\.parquet: the page of row 2999 of row group 0 is dam"):
        found.value(0, 2999)


def test_a_damaged_length_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", len(IMAGES[0])), struct.pack("<I", 1 << 31), 1))
    found = open_plain_column(path, "bytes")
    assert found is not None
    with pytest.raises(DataError, match=r"row 0 of row group 0 .*a value ends after its page"):
        found.value(0, 0)
