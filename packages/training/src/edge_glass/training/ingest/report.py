"""What became of each row: counts as JSON, a page to read, and every drop with file and line."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_glass.encoders.files import replacing
from edge_glass.training.ingest.reading.records import Drop
from edge_glass.training.ingest.slices import Plan

EXAMPLES = 10  # drops per reason that the page names
ADVICE = {
    "link": "load the images with `edge-glass fetch`",
    "outside": "add --allow-outside to use images outside the source folder",
    "outside_folder": "add --allow-outside to enter folders outside the source folder",
    "missing_file": "name the folder of the images with --images FOLDER",
    "needs_plugin": "install what the line names, then import again",
    "not_utf8": "save the file as UTF-8, or name its encoding, such as --encoding cp1252",
    "cell_count": "put texts that hold the delimiter in quotes",
}


@dataclass(kw_only=True)
class Report:
    """The counts of an import.

    Attributes:
        plan: what was read.
        format: of the source.
        source: its name, without the folder it lies in.
        rows: kind to rows written.
        splits: kind of split to texts; "" for rows without one.
        images: different images, by content.
        size: bytes of all shards.
        dropped: reason to count.
        examples: reason to the first drops.
        samples: (SHA-256, slice, record) of the images for the page.
        notes: lines about the source, such as other formats in it.
    """

    plan: Plan
    format: str
    source: str
    rows: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    images: int = 0
    size: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Drop]] = field(default_factory=lambda: defaultdict(list))
    samples: list[tuple[str, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_drop(self, drop: Drop) -> Drop:
        """Counts a drop, and returns it."""
        self.dropped[drop.reason] += 1
        if len(self.examples[drop.reason]) < EXAMPLES:
            self.examples[drop.reason].append(drop)
        return drop

    def as_json(self) -> dict[str, Any]:
        """Returns plain data, keys in a fixed order."""
        plan = self.plan
        return {
            "plan": plan.sha256,
            "source": self.source,
            "format": self.format,
            "records_read": plan.records,
            "texts_read": {"captions": plan.captions, "questions": plan.questions},
            "rows_written": {kind: self.rows[kind] for kind in plan.kinds},
            "images": self.images,
            "bytes": self.size,
            "shards": plan.slices,
            "splits": {name or "(none)": count for name, count in sorted(self.splits.items())},
            "dropped": dict(sorted(self.dropped.items())),
            "notes": self.notes,
        }

    def counts(self) -> list[str]:
        """Returns one or two lines for the terminal and the page of samples."""
        plan = self.plan
        kinds = [
            f"{self.rows[kind]:,} of {getattr(plan, kind):,} {kind}" for kind in plan.kinds
        ] or ["no text"]
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in self.dropped.most_common())
        return [
            f"{self.format}: {plan.records:,} records, {self.images:,} different images, "
            f"{' and '.join(kinds)} kept, {self.size / 1e6:,.1f} MB",
            f"Dropped: {dropped or 'nothing'}",
        ]

    def page(self) -> Iterator[str]:
        """Yields the lines of the page."""
        yield f"Import of {self.source}"
        yield ""
        yield from self.counts()
        if self.splits:
            named = (
                f"{name or 'no split'} {count:,}" for name, count in sorted(self.splits.items())
            )
            yield f"Splits: {', '.join(named)}"
        yield from self.notes
        for reason, count in self.dropped.most_common():
            yield ""
            advice = f" - {ADVICE[reason]}" if reason in ADVICE else ""
            yield f"{reason}: {count:,}{advice}"
            for drop in self.examples[reason]:
                place = drop.file if drop.line is None else f"{drop.file}:{drop.line}"
                yield f"  {place}: {drop.detail}"
            if count > EXAMPLES:
                yield f"  and {count - EXAMPLES:,} more in drops.jsonl"


def add_results(report: Report, results: Iterable[Path], drops: Iterable[Drop], out: Path) -> None:
    """Adds what the shards did, a shard at a time in memory, and writes `drops.jsonl`.

    Args:
        report: is changed.
        results: of the shards, in order.
        drops: of the plan.
        out: folder of the report.
    """
    images: set[int] = set()  # the first 64 bits of each SHA-256
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "drops.jsonl") as path, path.open("w", errors="backslashreplace") as file:

        def write(drop: Drop) -> None:
            file.write(json.dumps(asdict(report.add_drop(drop)), ensure_ascii=False) + "\n")

        for drop in drops:
            write(drop)
        for number, result in enumerate(results):
            found = json.loads(result.read_text())
            for each in found["drops"]:
                write(Drop(**each))
            report.rows.update(found["rows"])
            report.splits.update(found["splits"])
            report.size += sum(found["sizes"].values())
            images.update(int(sha256, 16) for sha256 in found["images"])
            proposed = [(sha256, number, record) for sha256, record in found["samples"]]
            merged = {each[0]: each for each in sorted([*proposed, *report.samples], reverse=True)}
            report.samples = sorted(merged.values())[:12]
    report.images = len(images)


def write_report(report: Report, out: Path) -> None:
    """Writes `import.json` and `report.txt`."""
    with replacing(out / "import.json") as path:
        path.write_text(json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n")
    with replacing(out / "report.txt") as path:
        path.write_text("\n".join(report.page()) + "\n", errors="backslashreplace")
