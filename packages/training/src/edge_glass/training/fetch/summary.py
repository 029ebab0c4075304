"""What a run came to: lines for a person, `summary.json` for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edge_glass.encoders.files import replacing
from edge_glass.training.fetch.folder import Folder
from edge_glass.training.fetch.index import Index
from edge_glass.training.fetch.manifest import Totals


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The state of an output folder after a run.

    Attributes:
        rows: of the input.
        rows_without_url: rows that name no picture.
        shards: written.
        pictures: distinct urls.
        totals: sums over the manifest.
    """

    rows: int
    rows_without_url: int
    shards: int
    pictures: int
    totals: Totals

    @property
    def success(self) -> float:
        """The share of pictures that are there; 1 where there were none to fetch."""
        return self.totals.statuses["ok"] / self.pictures if self.pictures else 1.0

    def as_json(self) -> dict[str, Any]:
        """Returns plain data, keys in a fixed order."""
        totals = self.totals
        return {
            "rows": self.rows,
            "rows_without_url": self.rows_without_url,
            "shards": self.shards,
            "pictures": self.pictures,
            "success": round(self.success, 6),
            "statuses": dict(sorted(totals.statuses.items())),
            "reasons": dict(sorted(totals.reasons.items())),
            "bytes": totals.bytes,
            "from_mirrors": totals.mirrored,
            "sha256_mismatches_kept": totals.mismatches,
        }

    def lines(self, folder: Folder) -> list[str]:
        """Returns what a person should know, the next command included."""
        totals = self.totals
        statuses = totals.statuses
        lines = [
            f"fetch: {statuses['ok']} of {self.pictures} pictures ({self.success:.1%}), "
            f"{totals.bytes / 2**20:.1f} MiB, for {self.rows} rows in {self.shards} shards "
            f"of {folder.root}"
        ]
        if totals.mirrored:
            lines.append(f"  {totals.mirrored} of them from mirrors")
        if totals.mismatches:
            lines.append(
                f"  {totals.mismatches} kept whose SHA-256 is not the published one "
                "(column sha256_matches of the manifest)"
            )
        lines += [f"  {reason}: {count}" for reason, count in totals.reasons.most_common()]
        if statuses["failed"] + statuses["refused"]:
            lines.append(
                f"  {statuses['failed'] + statuses['refused']} may be there another time: add "
                "--retry-failed"
            )
        if statuses["dead"]:
            lines.append(f"  {statuses['dead']} are gone (404, 410): a --mirror may have them")
        return lines


def summarise(folder: Folder, index: Index, totals: Totals) -> Summary:
    """Makes the summary and writes `summary.json`."""
    summary = Summary(
        rows=index.plan.rows,
        rows_without_url=int((index.row_picture < 0).sum()),
        shards=index.plan.shards,
        pictures=index.count,
        totals=totals,
    )
    with replacing(folder.summary) as path:
        path.write_text(json.dumps(summary.as_json(), indent=2) + "\n")
    return summary
