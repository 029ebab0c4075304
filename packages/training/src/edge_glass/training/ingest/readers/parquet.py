"""Parquet with the images' bytes inside, or with the paths of image files.

The column of the image is Hugging Face's Image (a struct of `bytes` and `path`), bytes, or a path.
Any layout of strings, lists and dictionaries that Arrow has is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.columns import Columns, find_columns
from edge_glass.training.ingest.reading.conversations import to_questions, turns_of
from edge_glass.training.ingest.reading.records import ROW, Drop, ImageRef, Record, RowProblem
from edge_glass.training.ingest.reading.row_record import row_record
from edge_glass.training.ingest.reading.source import Source, folder_of, splits_of_paths

BATCH = 1024
UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError, KeyError, IndexError)
TALKS = ("messages", "conversations")


def read_parquet(source: Source) -> Iterator[Record | Drop]:
    """Reads each Parquet file.

    Raises:
        DataError: naming file, row and column, if a file can't be used.
    """
    files = source.files(".parquet")
    splits = splits_of_paths(files)
    for name in files:
        yield from parquet_records(source, name, splits[name])


def parquet_records(source: Source, name: str, split: str) -> Iterator[Record | Drop]:
    """Reads one file.

    Raises:
        DataError: naming file, row and column, if the file can't be used.
    """
    path, where = source.root / name, shown(name)
    row_number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            reader = _Reader(source, name, file.schema_arrow, split)
            for group in range(file.num_row_groups):
                first = row_number
                for batch in file.iter_batches(
                    BATCH, row_groups=[group], columns=reader.columns_to_read, use_threads=False
                ):
                    for row in _rows(batch):
                        place = (group, row_number - first)
                        yield from reader.records(row, row_number, place)
                        row_number += 1
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(
            f"{where}: can't be read from row {row_number} on: {_line(error)}"
        ) from None


class _Reader:
    """What the columns of one file mean."""

    def __init__(self, source: Source, name: str, schema: pa.Schema, split: str) -> None:
        self._source, self._name, self._split = source, name, split
        where = shown(name)
        names = list(schema.names)
        talk = next((each for each in names if _is_talk(schema.field(each))), "")
        self._talk = "" if "caption" in source.columns or "question" in source.columns else talk
        if self._talk:
            # the columns of texts are not looked for: the conversation holds them
            stand_in = {**source.columns, "caption": (self._talk,)}
            columns = find_columns(names, stand_in, where=where)
            self._columns = Columns(image=columns.image, split=columns.split, type=columns.type)
        else:
            self._columns = find_columns(names, source.columns, where=where)
        self._part = ""
        kind = _plain(schema.field(self._columns.image).type)
        # `images` of a conversation; the workers see how many there are
        self._list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if self._list:
            kind = _plain(kind.value_type)
        if pa.types.is_struct(kind):
            inner = [each.name for each in kind]
            if "bytes" not in inner and "path" not in inner:
                raise DataError(
                    f"{where}: column {self._columns.image!r} is {kind}; expected an image: a "
                    "struct with 'bytes' and 'path', bytes, or a path"
                )
            self._part = "path" if "path" in inner and not self._list else ""
        self._struct = pa.types.is_struct(kind)
        self._bytes = (
            self._list or _is_binary(kind) or (self._struct and "bytes" in [e.name for e in kind])
        )
        if not (self._struct or _is_binary(kind) or _is_text(kind)):
            raise DataError(
                f"{where}: column {self._columns.image!r} is {kind}; expected an image: a struct "
                "with 'bytes' and 'path', bytes, or a path"
            )

    @property
    def columns_to_read(self) -> list[str]:
        """All but the bytes of images, which the workers read."""
        image = self._columns.image
        texts = [name for name in (*self._columns.used, self._talk) if name and name != image]
        if self._part:
            texts.append(f"{image}.path")
        elif not self._bytes:
            texts.append(image)
        return list(dict.fromkeys(texts))

    def records(self, row: dict[str, Any] | None, number: int, place: tuple[int, int]) -> Any:
        """Yields the record of a row, and its drops."""
        where = shown(self._name)
        try:
            if row is None:
                raise RowProblem("not_utf8", "a text of the row is not valid UTF-8")
            image = self._image(row, number, place)
            if self._talk:
                yield self._conversation(row, image, number)
            else:
                yield from row_record(
                    row, self._columns, image, file=where, line=number, split=self._split
                )
        except RowProblem as fault:
            yield Drop(file=where, line=number, reason=fault.reason, detail=fault.detail)

    def _conversation(self, row: dict[str, Any], image: ImageRef, number: int) -> Record:
        turns, _ = turns_of(row[self._talk])
        kind = row.get(self._columns.type) if self._columns.type else ""
        questions = tuple(to_questions(turns, kind if isinstance(kind, str) else ""))
        return Record(
            image=image,
            file=shown(self._name),
            line=number,
            questions=questions,
            split=self._split,
        )

    def _image(self, row: dict[str, Any], number: int, place: tuple[int, int]) -> ImageRef:
        value = row.get(self._columns.image)
        name = value.get("path") if isinstance(value, dict) else value
        if not self._bytes:
            return self._source.locator.find(name, folder_of(self._name))
        group, row_in_group = place
        return ImageRef(
            kind=ROW,
            path=os.fsencode(self._source.root / self._name),
            name=name if isinstance(name, str) and name else f"{shown(self._name)}#{number}",
            offset=row_in_group,
            length=group,
            column=self._columns.image,
        )


def image_in_row(value: Any) -> bytes | str | None:
    """Returns the bytes of a cell of an image column; its path, if it has no bytes.

    Raises:
        RowProblem: "several_images", if the cell is a list of more than one.
    """
    if isinstance(value, list):
        if len(value) > 1:
            raise RowProblem("several_images", f"{len(value)} images; one image per row is read")
        value = value[0] if value else None
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes | str) else None


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | None]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            try:
                (row,) = batch.slice(number, 1).to_pylist()
            except UnicodeDecodeError:
                row = None
            yield row


def _plain(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_talk(field: pa.Field) -> bool:
    """Returns whether a column holds conversations: by its name, or a list of turns."""
    kind = _plain(field.type)
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    inner = _plain(kind.value_type) if listed else kind
    turns = pa.types.is_struct(inner) and {"user", "assistant"} <= {each.name for each in inner}
    return field.name in TALKS or turns


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    checks = (
        *(types.is_binary, types.is_large_binary, types.is_binary_view),
        types.is_fixed_size_binary,
    )
    return any(check(kind) for check in checks)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        check(kind)
        for check in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_integer,
        )
    )


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
