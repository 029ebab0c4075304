"""The plan of an import: the records of a source, cut into slices that workers take one by one.

A slice holds texts and the places of images, no images. Slice k and shard k hold the same records
in the same order, so that a shard's bytes do not depend on who writes it, or when.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_glass.training.ingest.reading.records import Drop, ImageRef, Question, Record


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an import consists of.

    Attributes:
        sha256: of all records and options; equal plans give equal shards.
        records: read, without those that were left out.
        slices: how many.
        captions: in the records.
        questions: in the records.
        optional: columns that at least one record fills.
        repeated: whether an image has several texts, or records that follow each other share one.
        drops: how many rows and texts were left out.
    """

    sha256: str
    records: int
    slices: int
    captions: int
    questions: int
    optional: tuple[str, ...]
    repeated: bool
    drops: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Returns "captions" and "questions", as far as there are any."""
        counts = {"captions": self.captions, "questions": self.questions}
        return tuple(kind for kind, count in counts.items() if count)


def slice_path(work: Path, number: int) -> Path:
    """Returns the file of a slice."""
    return work / "slices" / f"{number:05d}.jsonl"


def drops_path(work: Path) -> Path:
    """Returns the file of what was left out while planning, a JSON object per line."""
    return work / "plan_drops.jsonl"


def write_plan(
    found: Iterable[Record | Drop], work: Path, *, rows_per_shard: int, options: dict[str, Any]
) -> Plan:
    """Writes the slices and the drops, a slice at a time in memory.

    Args:
        found: what the reader yields.
        work: folder to write to.
        rows_per_shard: records per slice.
        options: that change what is written; part of the plan's hash.
    """
    shutil.rmtree(work / "slices", ignore_errors=True)
    (work / "slices").mkdir(parents=True)
    digest = hashlib.sha256(json.dumps([rows_per_shard, options], sort_keys=True).encode())
    counts = {"captions": 0, "questions": 0, "drops": 0, "records": 0, "slices": 0}
    optional: set[str] = set()
    held: list[Record] = []
    repeated, last = False, None

    def flush() -> None:
        with slice_path(work, counts["slices"]).open("w") as file:
            file.writelines(map(_line, held))
        counts["slices"] += 1
        held.clear()

    with drops_path(work).open("w") as drops:
        for each in found:
            if isinstance(each, Drop):
                line = json.dumps(asdict(each))
                drops.write(line + "\n")
                digest.update(line.encode())
                counts["drops"] += 1
                continue
            held.append(each)
            repeated = repeated or len(each.captions) > 1 or len(each.questions) > 1
            repeated = repeated or each.image == last
            last = each.image
            digest.update(_identity(each))
            optional.update(_optional(each))
            counts["records"] += 1
            counts["captions"] += len(each.captions)
            counts["questions"] += len(each.questions)
            if len(held) == rows_per_shard:
                flush()
        if held:
            flush()
    return Plan(
        sha256=digest.hexdigest(), optional=tuple(sorted(optional)), repeated=repeated, **counts
    )


def read_slice(path: Path) -> Iterator[Record]:
    """Yields the records of a slice."""
    with path.open() as file:
        for line in file:
            yield _record(json.loads(line))


def plan_drops(work: Path) -> Iterator[Drop]:
    """Yields what was left out while planning."""
    with drops_path(work).open() as file:
        for line in file:
            yield Drop(**json.loads(line))


def _line(record: Record) -> str:
    row = asdict(record)
    row["image"]["path"] = os.fsdecode(record.image.path)  # JSON escapes what is not UTF-8
    return json.dumps(row) + "\n"


def _record(row: dict[str, Any]) -> Record:
    questions = tuple(
        Question(
            question=each["question"],
            answer=each["answer"],
            answers=tuple(each["answers"]),
            type=each["type"],
            messages=tuple(each["messages"]),
        )
        for each in row["questions"]
    )
    image = ImageRef(**{**row["image"], "path": os.fsencode(row["image"]["path"])})
    texts = {"captions": tuple(row["captions"]), "questions": questions}
    return Record(**{**row, **texts, "image": image})


def _identity(record: Record) -> bytes:
    # not the path: the same source in a different place gives the same shards
    image = record.image
    place = (image.kind, image.name, image.offset, image.length, image.column)
    texts = [
        (each.question, each.answer, each.answers, each.type, each.messages)
        for each in record.questions
    ]
    labels = sorted(record.labels.items())
    whole = (place, record.file, record.line, record.captions, texts, record.split, labels)
    return repr(whole).encode()


def _optional(record: Record) -> Iterator[str]:
    if record.split:
        yield "split"
    yield from record.labels
    for question in record.questions:
        for name in ("answers", "type", "messages"):
            if getattr(question, name):
                yield name
