"""Stage `prepare`: PixMo files in; clean, split, deduplicated Parquet out, with a count of drops.

Per subset and split two files: `SPLIT.images.parquet` (each picture once) and
`SPLIT.rows.parquet` (its captions or questions, with `image`, the picture's row number).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.training.config import Params
from edge_glass.training.data.error import DataError
from edge_glass.training.data.filters import image_problem, text_problem
from edge_glass.training.data.pixmo import parquet_files, read_rows
from edge_glass.training.data.splits import image_id, split_of
from edge_glass.training.engine.outputs import output_folder, write_json
from edge_glass.training.engine.progress import progress, say
from edge_glass.training.folders import PREPARED

METRICS = Path("metrics/prepare.json")

IMAGE_SCHEMA = pa.schema([("image_id", pa.string()), ("bytes", pa.binary())])
ROW_SCHEMAS = {
    "captions": pa.schema(
        [
            ("image", pa.int64()),
            ("caption", pa.string()),
            ("transcripts", pa.list_(pa.string())),
            ("group", pa.string()),
            ("canonical_caption", pa.string()),
            ("label", pa.string()),
        ]
    ),
    "questions": pa.schema(
        [
            ("image", pa.int64()),
            ("question", pa.string()),
            ("answer", pa.string()),
            ("type", pa.string()),
        ]
    ),
}


class SplitWriter:
    """Writes one split of one subset, each picture once, a bounded number of rows in memory."""

    ROWS_HELD = 2048

    def __init__(self, folder: Path, subset: str, split: str) -> None:
        self.subset = subset
        self.index: dict[str, int] = {}
        self._images: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        options = {"compression": "zstd", "store_schema": True}
        self._image_file = pq.ParquetWriter(
            folder / f"{split}.images.parquet", IMAGE_SCHEMA, **options
        )
        self._row_file = pq.ParquetWriter(
            folder / f"{split}.rows.parquet", ROW_SCHEMAS[subset], **options
        )

    def add(self, identity: str, data: bytes, row: dict[str, Any]) -> None:
        if identity not in self.index:
            self.index[identity] = len(self.index)
            self._images.append({"image_id": identity, "bytes": data})
        self._rows.append({"image": self.index[identity], **self._columns(identity, row)})
        if len(self._rows) >= self.ROWS_HELD:
            self._flush()

    def _columns(self, identity: str, row: dict[str, Any]) -> dict[str, Any]:
        if self.subset == "questions":
            return {
                "question": row["question"].strip(),
                "answer": row["answer"].strip(),
                "type": row.get("type") or "all",
            }
        return {
            "caption": row["caption"].strip(),
            "transcripts": [text for text in row.get("transcripts") or [] if text.strip()],
            # pictures of one group show one thing: they are no negatives of each other
            "group": row.get("concept") or identity,
            "canonical_caption": row.get("canonical_caption") or row["caption"].strip(),
            # a class to colour plots by, where the data name one
            "label": row.get("subgroup") or "",
        }

    def _flush(self) -> None:
        self._image_file.write_table(pa.Table.from_pylist(self._images, IMAGE_SCHEMA))
        self._row_file.write_table(pa.Table.from_pylist(self._rows, ROW_SCHEMAS[self.subset]))
        self._images, self._rows = [], []

    def close(self) -> None:
        self._flush()
        self._image_file.close()
        self._row_file.close()


def run(params: Params) -> None:
    """Runs the stage.

    Raises:
        DataError: where a file can't be read, a column is missing, or a split ends up empty.
    """
    report: dict[str, Any] = {}
    split_of_image: dict[str, str] = {}
    with output_folder(PREPARED) as work:
        for subset in ("captions", "questions"):
            source = Path(params.data_folder) / getattr(params.data, subset)
            report[subset] = prepare_subset(params, subset, source, work, split_of_image)
    write_json(METRICS, report)


def prepare_subset(
    params: Params, subset: str, source: Path, work: Path, seen: dict[str, str]
) -> dict[str, Any]:
    """Prepares captions or questions; returns its part of the report."""
    config = params.prepare
    dropped: Counter[str] = Counter()
    writers: dict[str, SplitWriter] = {}
    kept: Counter[str] = Counter()
    verdicts: dict[str, str | None] = {}
    read = 0
    for file in parquet_files(source):
        for row in progress(read_rows(file, subset), f"prepare {file.name}", total=None):
            read += 1
            data: bytes = (row["image"] or {}).get("bytes") or b""
            reason = text_problem(row, subset, config)
            identity = image_id(data)
            if identity not in verdicts:
                verdicts[identity] = image_problem(data, config)
            reason = verdicts[identity] or reason
            split = row.get("split") or split_of(identity, params.seed, config.shares)
            if reason is None and seen.setdefault(identity, split) != split:
                # one picture, one split, across all subsets: the first one seen keeps it
                reason = "image_of_another_split"
            if reason:
                dropped[reason] += 1
                continue
            if split not in writers:
                writers[split] = SplitWriter(work / subset, subset, split)
            writers[split].add(identity, data, row)
            kept[split] += 1
    for writer in writers.values():
        writer.close()
    if not kept["train"]:
        raise DataError(
            f"{source}: no row of split 'train' is left of {read} rows; dropped: {dict(dropped)}. "
            "Check the files, or the limits under `prepare` in params.yaml"
        )
    say(f"prepare {subset}: read {read}, kept {sum(kept.values())}, dropped {dict(dropped)}")
    return {
        "rows_read": read,
        "rows_kept": dict(sorted(kept.items())),
        "images_kept": {split: len(writers[split].index) for split in sorted(writers)},
        "dropped": dict(sorted(dropped.items())),
    }
