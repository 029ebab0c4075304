"""One shard: the images of a slice, checked, and their texts as Parquet with bytes.

Runs in a worker process. The bytes are a function of the slice and the images: which worker writes
them, and in which order, changes nothing. In memory are at most `GROUP_BYTES` of images.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.files import replacing
from edge_glass.training.ingest.image_reader import ImageReader
from edge_glass.training.ingest.images import Checked, check_image
from edge_glass.training.ingest.reading.columns import LABELS
from edge_glass.training.ingest.reading.locate import Locator
from edge_glass.training.ingest.reading.records import Drop, ImageRef, Question, Record, RowProblem
from edge_glass.training.ingest.slices import read_slice
from edge_glass.training.parquet.image_file import image_column, storage, text_column
from edge_glass.training.parquet.schemas import IMAGE, TEXT, TEXTS

GROUP_BYTES = 16 * 2**20  # of the images of a row group
GROUP_ROWS = 1000
SAMPLES = 12  # images that each shard proposes for the page of samples
OPTIONAL = {"captions": ("split", *LABELS), "questions": ("split", "answers", "type", "messages")}
COLUMNS: dict[str, list[tuple[str, pa.DataType]]] = {
    "captions": [("caption", TEXT), ("transcripts", TEXTS)],
    "questions": [("question", TEXT), ("answer", TEXT)],
}
LISTS = ("answers", "messages")


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What `build_shard` needs.

    Attributes:
        slice: the records.
        plan: hash of the plan, which the result repeats.
        targets: kind to the file to write; empty for a dry run.
        result: the file that states what was done, written last.
        optional: columns that are written beyond the fixed ones.
        repeated: whether rows that follow each other share images.
        root: the source folder.
        images: folder of `--images`.
        allow_outside: whether images may lie outside both.
    """

    slice: Path
    plan: str
    targets: dict[str, Path]
    result: Path
    optional: tuple[str, ...]
    repeated: bool
    root: Path
    images: Path | None
    allow_outside: bool


def shard_schema(kind: str, optional: tuple[str, ...]) -> pa.Schema:
    """Returns the columns of a shard of captions or questions."""
    fields = [("image_url", TEXT), ("image_sha256", TEXT), *COLUMNS[kind]]
    fields += [
        (name, TEXTS if name in LISTS else TEXT) for name in OPTIONAL[kind] if name in optional
    ]
    return pa.schema([*fields, ("image", IMAGE)])


def is_done(task: ShardTask) -> bool:
    """Returns whether an earlier run has finished this shard for the same plan."""
    try:
        result = json.loads(task.result.read_text())
        sizes = {kind: path.stat().st_size for kind, path in task.targets.items()}
    except (OSError, ValueError):
        return False
    return bool(result.get("plan") == task.plan and result.get("sizes") == sizes)


def build_shard(task: ShardTask) -> None:
    """Writes the files of one shard, then its result.

    Raises:
        OSError: if the disk is full, or the slice can't be read.
    """
    shard = _Shard(task)
    for number, record in enumerate(read_slice(task.slice)):
        shard.add(number, record)
    result = shard.close()
    with replacing(task.result) as path:
        path.write_text(json.dumps(result))
    # Arrow keeps what it freed: in a process that waits for its next slice, for nothing
    pa.default_memory_pool().release_unused()


class _Shard:
    def __init__(self, task: ShardTask) -> None:
        locator = Locator(task.root, task.images, allow_outside=task.allow_outside)
        self._reader = ImageReader(task.root, locator)
        self._task = task
        self._writers = {
            kind: _Writer(path, shard_schema(kind, task.optional), repeated=task.repeated)
            for kind, path in task.targets.items()
        }
        self._drops: list[Drop] = []
        self._rows: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._images: dict[str, int] = {}  # SHA-256 to the first record
        self._last: tuple[ImageRef, Checked | RowProblem] | None = None

    def add(self, number: int, record: Record) -> None:
        """Checks the image of a record, and adds its texts."""
        checked = self._check(record.image)
        if isinstance(checked, RowProblem):
            detail = checked.detail
            if record.image.name != record.file:
                detail = f"{record.image.name}: {detail}"
            self._drops.append(
                Drop(file=record.file, line=record.line, reason=checked.reason, detail=detail)
            )
            return
        self._images.setdefault(checked.sha256, number)
        self._splits[record.split] += len(record.captions) + len(record.questions)
        self._rows["captions"] += len(record.captions)
        self._rows["questions"] += len(record.questions)
        shared = {"split": record.split or None, **record.labels}
        if writer := self._writers.get("captions"):
            for caption in record.captions:
                row: dict[str, Any] = {"caption": caption, "transcripts": [], **shared}
                writer.add(record.image.name, checked, row)
        if writer := self._writers.get("questions"):
            for question in record.questions:
                writer.add(record.image.name, checked, {**shared, **_question_row(question)})

    def close(self) -> dict[str, Any]:
        """Finishes the files; returns the result."""
        sizes = {kind: writer.close() for kind, writer in self._writers.items()}
        samples = sorted(self._images.items())[:SAMPLES]
        return {
            "plan": self._task.plan,
            "sizes": sizes,
            "rows": dict(sorted(self._rows.items())),
            "splits": dict(sorted(self._splits.items())),
            "images": [sha256[:16] for sha256 in sorted(self._images)],
            "samples": samples,
            "drops": [asdict(drop) for drop in self._drops],
        }

    def _check(self, ref: ImageRef) -> Checked | RowProblem:
        # the texts of an image mostly stand together
        if self._last is not None and self._last[0] == ref:
            return self._last[1]
        found: Checked | RowProblem
        try:
            found = check_image(self._reader.read(ref))
        except RowProblem as error:
            found = error
        self._last = ref, found
        return found


def _question_row(question: Question) -> dict[str, Any]:
    return {
        "question": question.question,
        "answer": question.answer,
        "answers": list(question.answers) or None,
        "type": question.type or None,
        "messages": list(question.messages) or None,
    }


class _Writer:
    """Writes one Parquet file, a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema, *, repeated: bool) -> None:
        self._schema = schema
        self._target = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._replacing = replacing(path)
        temporary = self._replacing.__enter__()
        options = storage(schema, dictionary_bytes=8 * GROUP_BYTES, repeated=repeated)
        self._file = pq.ParquetWriter(temporary, schema, **options)
        self._rows: list[dict[str, Any]] = []
        self._images: list[Checked] = []
        self._bytes = 0

    def add(self, name: str, image: Checked, row: dict[str, Any]) -> None:
        if not self._images or self._images[-1] is not image:
            if self._bytes >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
                self._flush()
            self._bytes += len(image.data)
        self._images.append(image)
        self._rows.append({"image_url": name, "image_sha256": image.sha256, **row})

    def close(self) -> int:
        """Finishes the file; returns its size in bytes."""
        if self._rows:
            self._flush()
        self._file.close()
        self._replacing.__exit__(None, None, None)
        return self._target.stat().st_size

    def _flush(self) -> None:
        columns = [
            text_column([row.get(field.name) for row in self._rows], field.type)
            for field in self._schema
            if field.name != "image"
        ]
        images = image_column([(image.data, image.name) for image in self._images])
        self._file.write_table(pa.Table.from_arrays([*columns, images], schema=self._schema))
        self._rows, self._images, self._bytes = [], [], 0
