"""Single values of a binary column of a Parquet file, without those before them.

Arrow reads a row group from its start, so an image from the middle of one costs the reading of
several MB. In a column that is neither compressed nor dictionary-encoded and has no nulls, as
`prepare` writes images, a value is found by the headers of the pages and the lengths before it.

Source: the format of pages, https://parquet.apache.org/docs/file-format/data-pages/, and of their
headers, https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edge_glass.encoders.files import DataError

# fields of a page header, and of its part that describes a data page of version 1 or 2
COMPRESSED_SIZE, DATA_PAGE, DATA_PAGE_V2 = 3, 5, 8
NUM_VALUES = 1
LENGTH = struct.Struct("<I")


class PlainColumn:
    """A column of bytes that is stored as described above; it belongs to one process."""

    def __init__(self, path: Path, footer: pq.FileMetaData, number: int) -> None:
        self._path = path
        self._starts = [
            footer.row_group(group).column(number).data_page_offset
            for group in range(footer.num_row_groups)
        ]
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def value(self, group: int, row: int) -> bytes:
        """Returns the value of a row of a row group."""
        at, rest = self._starts[group], row
        try:
            while True:
                header, at = _struct(self._data, at)
                page = header[DATA_PAGE if DATA_PAGE in header else DATA_PAGE_V2]
                end = at + header[COMPRESSED_SIZE]
                if rest < page[NUM_VALUES]:
                    break
                at, rest = end, rest - page[NUM_VALUES]
            for _ in range(rest + 1):
                start = at + LENGTH.size
                at = start + LENGTH.unpack_from(self._data, at)[0]
            if at > end:
                raise IndexError("a value ends after its page")
            return self._data[start:at]
        except (IndexError, KeyError, TypeError, struct.error) as error:
            raise DataError(
                f"{self._path}: the page of row {row} of row group {group} is damaged "
                f"({error!r}); get the file again (`dvc checkout --force`)"
            ) from error


def open_plain_column(path: Path, name: str) -> PlainColumn | None:
    """Opens a column; returns None if it is stored differently, so that Arrow has to read it."""
    footer = pq.read_metadata(path)
    number = footer.schema.names.index(name)
    schema = footer.schema.column(number)
    levels = schema.max_definition_level or schema.max_repetition_level
    if levels or schema.physical_type != "BYTE_ARRAY":
        return None
    for group in range(footer.num_row_groups):
        column = footer.row_group(group).column(number)
        if column.compression != "UNCOMPRESSED" or set(column.encodings) - {"PLAIN", "RLE"}:
            return None
    return PlainColumn(path, footer, number)


def _struct(data: mmap.mmap, at: int) -> tuple[dict[int, Any], int]:
    """Returns the fields of a struct in Thrift's compact protocol, and the place after it."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, kind & 15)
    return fields, at + 1


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 8:  # text, of which only the length is needed
        size, at = _varint(data, at)
        return size, at + size
    if kind == 12:
        return _struct(data, at)
    if kind not in (4, 5, 6):
        raise KeyError(f"type {kind} of Thrift")
    return _integer(data, at)


def _integer(data: mmap.mmap, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at  # zigzag: the sign is the last bit


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
