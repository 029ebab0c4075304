"""Images for a sheet: the right ones, without reading the others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from edge_glass.encoders.files import DataError
from edge_glass.training.evaluation.figures.stored_images import stored_images

COLOURS = [(20 * number, 0, 255 - 20 * number) for number in range(10)]


def write(path: Path) -> Path:
    encoded = []
    for colour in COLOURS:
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), colour).save(buffer, "png")
        encoded.append(buffer.getvalue())
    pq.write_table(pa.table({"bytes": encoded, "name": ["x"] * 10}), path, row_group_size=3)
    return path


def test_only_the_row_groups_of_the_wanted_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = write(tmp_path / "val.images.parquet"), []
    original = pq.ParquetFile.read_row_group

    def spy(self: Any, number: int, columns: Any = None) -> Any:
        read.append((number, columns))
        return original(self, number, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    found = stored_images(path, [8, 0, 2, 8])
    assert {row: image.getpixel((0, 0)) for row, image in found.items()} == {
        row: COLOURS[row] for row in (0, 2, 8)
    }
    assert read == [(0, ["bytes"]), (2, ["bytes"])]


def test_a_row_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "val.images.parquet")
    with pytest.raises(DataError, match="found 10 images, but row 10 was asked for: run"):
        stored_images(path, [10])
