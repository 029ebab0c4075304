"""The manifest: one row a picture, in input order, with what became of it.

Times stand here and nowhere else: the shards' bytes don't depend on when something was fetched.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import replacing
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import Index, url_hash
from edge_glass.training.fetch.journal import Record
from edge_glass.training.fetch.ledger import Ledger

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_hash", pa.string()),  # SHA-256 of the url, hex
        ("status", pa.string()),  # ok, dead (404, 410), failed, refused, pending
        ("reason", pa.string()),  # why it is not ok
        ("attempts", pa.int32()),  # requests in the run that settled it
        ("time", pa.timestamp("ms", tz="UTC")),
        ("source", pa.string()),  # web or mirror
        ("bytes", pa.int64()),
        ("sha256", pa.string()),  # of the bytes, hex
        ("sha256_matches", pa.bool_()),  # null where nothing was published or checked
        ("perceptual_hash", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("rows", pa.int32()),  # input rows that name it
    ]
)
BATCH = 8192


@dataclass(kw_only=True)
class Totals:
    """Sums over the manifest."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    mirrored: int = 0
    mismatches: int = 0


def write_manifest(folder: Folder, index: Index, ledger: Ledger) -> Totals:
    """Writes the manifest from the journal, a batch in memory at a time."""
    totals = Totals()
    named = index.row_picture[index.row_picture >= 0]
    rows = np.bincount(named, minlength=index.count).tolist()
    urls = index.urls()
    with replacing(folder.manifest) as path, pq.ParquetWriter(path, SCHEMA) as writer:
        while batch := list(islice(urls, BATCH)):
            columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
            for picture, url in batch:
                record = ledger.record(picture) or {"status": "pending", "attempts": 0}
                _add(totals, record)
                record["url"], record["url_hash"] = url, url_hash(url)
                record["rows"] = rows[picture]
                if "time" in record:
                    record["time"] = int(record["time"] * 1000)
                for name, column in columns.items():
                    column.append(record.get(name))
            writer.write_table(pa.table(columns, schema=SCHEMA))
    return totals


def _add(totals: Totals, entry: Record) -> None:
    totals.statuses[entry["status"]] += 1
    if entry["status"] == "ok":
        totals.bytes += entry["bytes"]
        totals.mirrored += entry["source"] == "mirror"
        totals.mismatches += entry["sha256_matches"] is False
    elif entry.get("reason"):
        totals.reasons[entry["reason"]] += 1
