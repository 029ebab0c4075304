"""Parquet files: the schemas of both tables, written so that the same rows give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CAPTIONS = pa.schema(
    [
        ("image_url", pa.string()),
        ("caption", pa.string()),
        ("transcripts", pa.list_(pa.string())),
        ("image", IMAGE),
        ("concept", pa.string()),
        ("vendor", pa.string()),
        ("split", pa.string()),
        ("subgroup", pa.string()),
        ("canonical_caption", pa.string()),
    ]
)
QUESTIONS = pa.schema(
    [
        ("image_url", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("messages", pa.list_(pa.string())),
        ("image", IMAGE),
        ("type", pa.string()),
        ("split", pa.string()),
        ("vendor", pa.string()),
    ]
)
# Larger than any file here: a dictionary that overflows its page is given up, and then a scene's
# picture is stored once a question.
DICTIONARY_BYTES = 1 << 28


def write(rows: list[dict[str, Any]], schema: pa.Schema, path: Path) -> None:
    """Write one split as one row group.

    Args:
        rows: one dictionary a row.
        schema: ``CAPTIONS`` or ``QUESTIONS``.
        path: the file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    partial = path.with_suffix(".partial")
    pq.write_table(
        table,
        partial,
        row_group_size=len(rows),
        compression="zstd",
        compression_level=9,
        use_dictionary=True,
        dictionary_pagesize_limit=DICTIONARY_BYTES,
        data_page_version="2.0",
        write_statistics=False,
    )
    partial.replace(path)
