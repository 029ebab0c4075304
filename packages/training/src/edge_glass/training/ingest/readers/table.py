"""A folder of images with `captions.csv`, `.tsv`, `.jsonl` or `.json`; any table of texts.

The reader of `imagefolder` is the same with other files: `metadata.csv`, `.jsonl` or `.parquet` in
each folder, with the column `file_name`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.readers.parquet import parquet_records
from edge_glass.training.ingest.reading.columns import Columns, find_columns
from edge_glass.training.ingest.reading.json_stream import json_head
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem
from edge_glass.training.ingest.reading.row_record import row_record
from edge_glass.training.ingest.reading.source import Source, folder_of, splits_of_paths
from edge_glass.training.ingest.reading.tables import open_table

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")


def read_table(source: Source) -> Iterator[Record | Drop]:
    """Reads the tables named `captions`, or each table if there is none of that name.

    Raises:
        DataError: naming file and column, if a table can't be used.
    """
    files = source.files(*TABLES, *([".json"] if source.path.is_file() else []))
    files += [*caption_lists(source), *(name for name in json_tables(source) if name not in files)]
    named = [name for name in files if _stem(name) in ("captions", "caption")]
    yield from _read(source, named or files)


def caption_lists(source: Source) -> list[str]:
    """Returns the files `captions.txt` that are tables, as Flickr8k has one."""
    return [name for name in source.files("captions.txt") if _is_table(source, name)]


def json_tables(source: Source) -> list[str]:
    """Returns the JSON files that are a list of rows with the columns of a table, as BLIP has."""
    return [
        name
        for name in source.files(".json")
        if json_head(source.root / name).startswith(b"[") and _is_table(source, name)
    ]


def _is_table(source: Source, name: str) -> bool:
    try:
        table = open_table(source.root / name, source.encoding)
        find_columns(table.names, source.columns, where=shown(name))
    except DataError:
        return False
    return True


def read_imagefolder(source: Source) -> Iterator[Record | Drop]:
    """Reads each `metadata` file of a folder as Hugging Face's `imagefolder` does.

    Raises:
        DataError: naming file and column, if a table can't be used.
    """
    files = source.files(*TABLES, ".parquet")
    yield from _read(source, [name for name in files if _stem(name) == "metadata"])


def single_image(value: Any) -> Any:
    """Returns the name of the one image of a row.

    Raises:
        RowProblem: "several_images", or "no_image".
    """
    if isinstance(value, list):
        if len(value) > 1:
            raise RowProblem("several_images", f"{len(value)} images; one image per row is read")
        value = value[0] if value else None
    if isinstance(value, Mapping):
        keys = ("path", "file_name", "image", "url")
        value = next((value[key] for key in keys if value.get(key)), None)
    return value


def _read(source: Source, files: list[str]) -> Iterator[Record | Drop]:
    splits = splits_of_paths(files)
    for name in files:
        if name.lower().endswith(".parquet"):
            yield from parquet_records(source, name, splits[name])
            continue
        table = open_table(source.root / name, source.encoding)
        columns = find_columns(table.names, source.columns, where=shown(name))
        for line, row in table.rows():
            try:
                if isinstance(row, RowProblem):
                    raise row
                yield from _record(source, name, line, row, columns, splits[name])
            except RowProblem as fault:
                yield Drop(file=shown(name), line=line, reason=fault.reason, detail=fault.detail)


def _record(
    source: Source, name: str, line: int, row: dict[str, Any], columns: Columns, split: str
) -> Iterator[Record | Drop]:
    image = source.locator.find(single_image(row.get(columns.image)), folder_of(name))
    yield from row_record(row, columns, image, file=shown(name), line=line, split=split)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0].lower()
