"""Small Parquet data sets with row groups of chosen sizes, shared by tests of loading."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from edge_glass.training.parquet.schemas import IMAGE


def jpeg(number: int, size: tuple[int, int] = (24, 16)) -> bytes:
    """Returns a JPEG of one grey level, the number of the row."""
    file = io.BytesIO()
    Image.new("RGB", size, (number % 256,) * 3).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_files(folder: Path, files: Sequence[Sequence[int]], images: bool = False) -> int:
    """Writes a file for each list of row-group sizes; returns the number of rows of all.

    Column `caption` is "row N", N counted over the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for index, sizes in enumerate(files):
        schema = pa.schema([("caption", pa.string()), ("image", IMAGE)])
        with pq.ParquetWriter(folder / f"{index:05d}.parquet", schema) as writer:
            for size in sizes:
                rows = np.arange(number, number + size)
                stored = [{"bytes": jpeg(int(i)) if images else b"", "path": None} for i in rows]
                writer.write_table(
                    pa.table({"caption": [f"row {i}" for i in rows], "image": stored}, schema),
                    row_group_size=max(size, 1),
                )
                number += size
    return number
