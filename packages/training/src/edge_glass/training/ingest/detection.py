"""From the files of a source to its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from edge_glass.encoders.file_names import IMAGE_SUFFIXES
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.readers.classes import has_classes, read_classes
from edge_glass.training.ingest.readers.coco import json_kind, read_coco, read_karpathy
from edge_glass.training.ingest.readers.conversation import LISTS, PAIRS, read_conversations
from edge_glass.training.ingest.readers.pairs import TEXTS, read_pairs
from edge_glass.training.ingest.readers.parquet import read_parquet
from edge_glass.training.ingest.readers.svg import SVGS, read_svg
from edge_glass.training.ingest.readers.table import (
    TABLES,
    caption_lists,
    json_tables,
    read_imagefolder,
    read_table,
)
from edge_glass.training.ingest.readers.vqa import read_vqa
from edge_glass.training.ingest.readers.webdataset import TARS, read_webdataset
from edge_glass.training.ingest.reading.json_stream import json_rows
from edge_glass.training.ingest.reading.records import Drop, Record
from edge_glass.training.ingest.reading.source import Source

Reader = Callable[[Source], Iterator[Record | Drop]]
READERS: dict[str, Reader] = {
    "table": read_table,
    "pairs": read_pairs,
    "imagefolder": read_imagefolder,
    "parquet": read_parquet,
    "llava": read_conversations,
    "messages": read_conversations,
    "coco": read_coco,
    "karpathy": read_karpathy,
    "vqa": read_vqa,
    "webdataset": read_webdataset,
    "svg": read_svg,
    "classes": read_classes,
}
PEEK = 20  # rows of a JSON file


def find_format(source: Source) -> tuple[str, list[str]]:
    """Returns the format, and others that the source has as well, in order of preference.

    Raises:
        DataError: if no format fits, naming what was found.
    """
    found = list(dict.fromkeys(_formats(source)))
    if not found and has_classes(source):  # only if there are no texts
        return "classes", []
    if not found:
        suffixes = Counter(
            f".{name.rpartition('.')[2].lower()}" if "." in name else "no suffix"
            for name in source.listing.files
        )
        listed = ", ".join(
            f"{count} {ascii(name)[1:-1]}" for name, count in suffixes.most_common(8)
        )
        if source.files(".arrow"):
            listed += "; write what `save_to_disk` wrote with `Dataset.to_parquet`"
        raise DataError(
            f"{source.path}: found no captions and no questions in {listed or 'an empty folder'}; "
            f"expected one of the formats of docs/your-own-data.md; choose one with --format "
            f"({', '.join(READERS)})"
        )
    return found[0], found[1:]


def _formats(source: Source) -> Iterator[str]:
    names = source.listing.files
    stems = [name.rpartition("/")[2].lower() for name in names]
    tables = source.files(*TABLES)
    lists = json_tables(source)
    if any(stem in _named("metadata", (*TABLES, ".parquet")) for stem in stems):
        yield "imagefolder"
    if any(stem in _named("captions", TABLES) for stem in stems):
        yield _lines_kind(source, source.files("captions.jsonl")) or "table"
    if caption_lists(source):
        yield "table"
    for name in source.files(".json"):
        if kind := json_kind(source, name):
            yield {"vqa_questions": "vqa", "vqa_annotations": "vqa"}.get(kind, kind)
        elif kind := _lines_kind(source, [name]):
            yield kind
        elif source.path.is_file() or name in lists:
            yield "table"
    if source.files(*TARS):
        yield "webdataset"
    if source.files(".parquet"):
        yield "parquet"
    for name in tables:
        if name.lower().endswith(tuple(_named("metadata", TABLES))):
            continue
        yield _lines_kind(source, [name]) or "table"
    stems_of_texts = {name.rpartition(".")[0] for name in source.files(*TEXTS)}
    if any(
        name in stems_of_texts or name.rpartition(".")[0] in stems_of_texts
        for name in source.files(*IMAGE_SUFFIXES)
    ):
        yield "pairs"
    if source.files(*SVGS):
        yield "svg"


def _named(stem: str, suffixes: tuple[str, ...]) -> list[str]:
    return [f"{stem}{suffix}" for suffix in suffixes]


def _lines_kind(source: Source, names: list[str]) -> str:
    """Returns "llava" or "messages" if the rows of a JSON file are conversations."""
    for name in names:
        if not name.lower().endswith((".json", ".jsonl", ".ndjson")):
            continue
        try:
            for count, (_, row) in enumerate(json_rows(source.root / name, source.encoding)):
                kind = _row_kind(row)
                if kind or count >= PEEK:
                    return kind
        except DataError:
            continue
    return ""


def _row_kind(row: Any) -> str:
    if not isinstance(row, dict):
        return ""
    if "conversations" in row:
        return "llava"
    if any(key in row for key in LISTS) or {"prompt", "completion"} <= set(row):
        return "messages"
    if "images" in row and any({question, answer} <= set(row) for question, answer in PAIRS):
        return "messages"
    return ""
