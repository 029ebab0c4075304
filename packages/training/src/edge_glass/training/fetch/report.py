"""What a fetch reports: progress while it runs, then the manifest and the summary.

Times are in the manifest only: the bytes of the shards do not depend on when an image was fetched.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from edge_glass.encoders.files import replacing
from edge_glass.training.fetch.index import Index, url_hash
from edge_glass.training.fetch.input import Folder
from edge_glass.training.fetch.journal import Record
from edge_glass.training.fetch.ledger import Ledger
from edge_glass.training.fetch.placeholders import Placeholder
from edge_glass.training.runtime.progress import say

LINE_SECONDS = 60.0
BATCH_ROWS = 8192
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_hash", pa.string()),  # SHA-256 of the URL, hex
        ("status", pa.string()),  # ok, dead (404, 410), failed, refused, placeholder, pending
        ("reason", pa.string()),  # why it is not ok
        ("attempts", pa.int32()),  # requests in the run that decided it
        ("time", pa.timestamp("ms", tz="UTC")),
        ("source", pa.string()),  # web or mirror
        ("bytes", pa.int64()),
        ("sha256", pa.string()),  # of the bytes, hex
        ("sha256_matches", pa.bool_()),  # null if no hash was published or checked
        ("perceptual_hash", pa.uint64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("rows", pa.int32()),  # input rows that refer to it
    ]
)


class Meter:
    """Counts the images of a run: a bar on a terminal, one line per minute in a log."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total = total
        self.done = 0
        self.kept = 0
        self.failures: Counter[str] = Counter()
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm[Never] = tqdm(
            total=total, desc="fetch", unit=" images", disable=quiet or not self._terminal
        )
        self._quiet = quiet
        self._started = self._last_line = time.monotonic()

    def count(self, number: int, reason: str | None) -> None:
        """Counts images as done; `reason` is None if they were kept."""
        if not number:
            return
        self.done += number
        if reason is None:
            self.kept += number
        else:
            self.failures[reason] += number
        self._bar.update(number)
        if self._terminal:
            # drawn when the bar is next refreshed, at most ten times per second
            if reason is not None:
                self._bar.set_postfix_str(self.reasons(), refresh=False)
        elif not self._quiet and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            rate = self.done / (self._last_line - self._started)
            minutes = (self.total - self.done) / rate / 60
            say(
                f"fetch: {self.done} of {self.total} images, {rate:.0f} per second, "
                f"{minutes:.0f} minutes left; {self.reasons() or 'no failures'}"
            )

    def add_one(self) -> None:
        """Adds one image to the total."""
        self.total += 1
        self._bar.total = self.total

    def reasons(self) -> str:
        """Returns the failures by reason, the most frequent first."""
        return ", ".join(f"{reason} {count}" for reason, count in self.failures.most_common(5))

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


@dataclass(kw_only=True)
class Totals:
    """Sums over the manifest."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    mirrored: int = 0
    mismatches: int = 0

    def add(self, record: Record) -> None:
        """Adds the last record of one image."""
        self.statuses[record["status"]] += 1
        if record["status"] == "ok":
            self.bytes += record["bytes"]
            self.mirrored += record["source"] == "mirror"
            self.mismatches += record["sha256_matches"] is False
        elif record.get("reason"):
            self.reasons[record["reason"]] += 1


def write_manifest(folder: Folder, index: Index, ledger: Ledger) -> Totals:
    """Writes one row per image, in input order, with its outcome; returns the sums."""
    totals = Totals()
    in_rows = index.row_image[index.row_image >= 0]
    rows = np.bincount(in_rows, minlength=index.count).tolist()
    urls = index.urls()
    with replacing(folder.manifest) as path, pq.ParquetWriter(path, SCHEMA) as writer:
        while batch := list(islice(urls, BATCH_ROWS)):
            columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
            for image, url in batch:
                record = ledger.last_record(image) or {"status": "pending", "attempts": 0}
                totals.add(record)
                record["url"], record["url_hash"] = url, url_hash(url)
                record["rows"] = rows[image]
                if "time" in record:
                    record["time"] = int(record["time"] * 1000)
                for name, column in columns.items():
                    column.append(record.get(name))
            writer.write_table(pa.table(columns, schema=SCHEMA))
    return totals


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The state of an output folder after a run.

    Attributes:
        rows: rows of the input.
        rows_without_url: rows without a URL.
        shards: number of shards.
        images: number of distinct URLs.
        totals: sums over the manifest.
        placeholders: images that many links return.
    """

    rows: int
    rows_without_url: int
    shards: int
    images: int
    totals: Totals
    placeholders: list[Placeholder]

    @property
    def success(self) -> float:
        """The share of images that are there; 1 if there were none to fetch."""
        return self.totals.statuses["ok"] / self.images if self.images else 1.0

    def as_json(self) -> dict[str, Any]:
        """Returns plain data, with the keys in a fixed order."""
        totals = self.totals
        return {
            "rows": self.rows,
            "rows_without_url": self.rows_without_url,
            "shards": self.shards,
            "pictures": self.images,
            "success": round(self.success, 6),
            "statuses": dict(sorted(totals.statuses.items())),
            "reasons": dict(sorted(totals.reasons.items())),
            "bytes": totals.bytes,
            "from_mirrors": totals.mirrored,
            "sha256_mismatches_kept": totals.mismatches,
            "placeholders": [
                {"sha256": each.sha256, "links": len(each.images), "dropped": each.dropped}
                for each in self.placeholders
            ],
        }

    def lines(self, folder: Folder) -> list[str]:
        """Returns the lines to print, with what to do next."""
        totals, statuses = self.totals, self.totals.statuses
        lines = [
            f"fetch: {statuses['ok']} of {self.images} images ({self.success:.1%}), "
            f"{totals.bytes / 2**20:.1f} MiB, for {self.rows} rows in {self.shards} shards "
            f"of {folder.root}"
        ]
        if totals.mirrored:
            lines.append(f"  {totals.mirrored} of them from mirrors")
        if totals.mismatches:
            lines.append(
                f"  {totals.mismatches} kept although their SHA-256 is not the published one "
                "(column sha256_matches of the manifest)"
            )
        lines += [f"  {reason}: {count}" for reason, count in totals.reasons.most_common()]
        if failed := statuses["failed"] + statuses["refused"]:
            lines.append(f"  {failed} may succeed later: add --retry-failed")
        if statuses["dead"]:
            lines.append(f"  {statuses['dead']} are gone (404, 410): a --mirror may have them")
        return lines + self._placeholder_lines()

    def _placeholder_lines(self) -> list[str]:
        kept = [each for each in self.placeholders if len(each.images) > each.dropped]
        lines = [
            f"  {len(each.images)} different links return the same image, most likely a "
            f"placeholder (sha256 {each.sha256[:16]} in the manifest)"
            for each in kept[:5]
        ]
        if len(kept) > 5:
            lines.append(f"  {len(kept) - 5} more images are behind many links: see summary.json")
        if kept:
            lines.append("  --drop-placeholders leaves the images of such links out")
        return lines


def summarise(
    folder: Folder, index: Index, totals: Totals, placeholders: list[Placeholder]
) -> Summary:
    """Makes the summary and writes `summary.json`."""
    summary = Summary(
        rows=index.plan.rows,
        rows_without_url=int((index.row_image < 0).sum()),
        shards=index.plan.shards,
        images=index.count,
        totals=totals,
        placeholders=placeholders,
    )
    with replacing(folder.summary) as path:
        path.write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    return summary
