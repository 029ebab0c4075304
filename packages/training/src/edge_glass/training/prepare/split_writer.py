"""One split as two Parquet files: each image once, and the texts that refer to it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.prepare.texts import prepared_schema

IMAGE_SCHEMA = pa.schema(
    [("image_id", pa.string()), pa.field("bytes", pa.binary(), nullable=False)]
)
# An image is compressed already. Stored as it is, it can be read without those before it, see
# `pages.py`; statistics would be copies of whole images.
IMAGE_STORAGE: dict[str, Any] = {
    "compression": {"image_id": "zstd", "bytes": "none"},
    "use_dictionary": ["image_id"],
    "write_statistics": ["image_id"],
    "store_schema": True,
}
GROUP_ROWS = 2048
GROUP_BYTES = 16 * 2**20  # of images; each split of each kind holds up to this many


class SplitWriter:
    """Writes `SPLIT.images.parquet` and `SPLIT.rows.parquet`, a bounded part of them in memory.

    Args:
        kind: "captions" or "questions".
        found: names of the columns that are written because a text of the data set has them.
        group_rows: rows per row group.
        group_bytes: a row group of images ends when it reaches this size.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        split: str,
        found: Collection[str],
        *,
        group_rows: int = GROUP_ROWS,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._group_rows, self._group_bytes = group_rows, group_bytes
        self.num_images = 0
        self._schema = prepared_schema(kind, found)
        self._images: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._image_file = pq.ParquetWriter(
            folder / f"{split}.images.parquet", IMAGE_SCHEMA, **IMAGE_STORAGE
        )
        self._row_file = pq.ParquetWriter(
            folder / f"{split}.rows.parquet", self._schema, compression="zstd", store_schema=True
        )

    def add_image(self, identity: str, data: bytes) -> None:
        """Adds an image; its number is the count of the images before it."""
        self._images.append({"image_id": identity, "bytes": data})
        self.num_images += 1
        self._bytes += len(data)
        if self._bytes >= self._group_bytes:
            self._flush_images()

    def add_row(self, row: dict[str, Any]) -> None:
        """Adds a text with the number of its image."""
        self._rows.append(row)
        if len(self._rows) >= self._group_rows:
            self._flush_images()
            self._flush_rows()

    def _flush_images(self) -> None:
        self._image_file.write_table(pa.Table.from_pylist(self._images, IMAGE_SCHEMA))
        self._images, self._bytes = [], 0

    def _flush_rows(self) -> None:
        self._row_file.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def close(self) -> None:
        """Writes the last row groups and the footers."""
        self._flush_images()
        self._flush_rows()
        self._image_file.close()
        self._row_file.close()
