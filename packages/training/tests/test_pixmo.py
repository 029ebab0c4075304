"""Reading PixMo files: what is there comes out, what is broken is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_glass.training.data.error import DataError
from edge_glass.training.data.pixmo import parquet_files, read_rows
from tiny_pixmo import caption_rows, write_parquet


def test_rows_come_out_in_order(tmp_path: Path) -> None:
    rows = caption_rows("train", range(2))
    write_parquet(tmp_path / "a.parquet", rows)
    read = list(read_rows(tmp_path / "a.parquet", "captions", batch_size=3))
    assert read == rows


def test_files_are_sorted_and_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Parquet file there; fetch the data first"):
        parquet_files(tmp_path)
    for name in ("b", "a"):
        write_parquet(tmp_path / f"{name}.parquet", caption_rows("train", range(1)))
    assert [path.name for path in parquet_files(tmp_path)] == ["a.parquet", "b.parquet"]


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [{"image_url": "u", "text": "t", "image": {"bytes": b""}}])
    with pytest.raises(
        DataError, match=r"a\.parquet: column 'caption' is missing; found image_url"
    ):
        list(read_rows(path, "captions"))


def test_a_wrong_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, [{"image_url": "u", "caption": 3, "image": {"bytes": b""}}])
    with pytest.raises(DataError, match=r"column 'caption' is int64, expected string"):
        list(read_rows(path, "captions"))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, caption_rows("train", range(2)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"a\.parquet: not a whole Parquet file"):
        list(read_rows(path, "captions"))
