"""Some images of a prepared split, for a sheet: a split may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from edge_glass.encoders.files import DataError
from edge_glass.encoders.images import decode_image, to_rgb


def stored_images(path: Path, rows: Iterable[int]) -> dict[int, Image.Image]:
    """Returns RGB images by their row in a file that `prepare` wrote.

    Only the row groups that hold one of the rows are read, one at a time.
    """
    wanted = sorted(set(rows))
    found: dict[int, Image.Image] = {}
    with pq.ParquetFile(path) as file:
        begin = 0
        for number in range(file.num_row_groups):
            end = begin + file.metadata.row_group(number).num_rows
            inside = [row for row in wanted if begin <= row < end]
            if inside:
                column = file.read_row_group(number, columns=["bytes"])["bytes"]
                found |= {row: to_rgb(decode_image(column[row - begin].as_py())) for row in inside}
            begin = end
    if len(found) < len(wanted):
        absent = next(row for row in wanted if row not in found)
        raise DataError(
            f"{path}: found {begin} images, but row {absent} was asked for: run `dvc repro` again"
        )
    return found
