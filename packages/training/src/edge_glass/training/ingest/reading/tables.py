"""CSV, TSV and JSON tables as rows with their lines, whatever their delimiter and line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.json_stream import json_rows
from edge_glass.training.ingest.reading.plain_text import open_text
from edge_glass.training.ingest.reading.records import RowProblem

DELIMITERS = (",", "\t", ";", "|")
MAX_CELL = 16 * 2**20  # characters
MAX_LINES = 500  # of one row: more is a quote that was never closed
HEADER_ROWS = 100  # of a JSON table, whose keys are its columns
Row = tuple[int, dict[str, Any] | RowProblem]  # line, cells by column


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table file.

    Attributes:
        path: of the file.
        names: of its columns, in order.
        encoding: of its text.
        delimiter: between cells; "" for JSON.
    """

    path: Path
    names: tuple[str, ...]
    encoding: str
    delimiter: str = ""

    def rows(self) -> Iterator[Row]:
        """Yields the rows, each with its line; a row that can't be read comes as its problem.

        Raises:
            DataError: naming file and line, if the rest of the file can't be read.
        """
        return _csv_rows(self) if self.delimiter else _json_table(self.path, self.encoding)


def open_table(path: Path, encoding: str) -> Table:
    """Reads the columns of a table.

    Raises:
        DataError: naming the file, if it has no columns.
    """
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _csv_table(path, encoding)
    names: dict[str, None] = {}
    for count, (_, row) in enumerate(_json_table(path, encoding)):
        if isinstance(row, dict):
            names |= dict.fromkeys(row)
        if count + 1 >= HEADER_ROWS:
            break
    if not names:
        raise DataError(f"{shown(str(path))}: no row is a JSON object; expected one per line")
    return Table(path=path, names=tuple(names), encoding=encoding)


def _json_table(path: Path, encoding: str) -> Iterator[Row]:
    for line, row in json_rows(path, encoding):
        if isinstance(row, dict | RowProblem):
            yield line, row
        else:
            yield line, RowProblem("wrong_type", f"the row is {type(row).__name__}, not an object")


def _csv_table(path: Path, encoding: str) -> Table:
    with open_text(path, encoding) as file:
        head = ""
        while not head.strip():
            head = file.readline(MAX_CELL)
            if not head:
                raise DataError(f"{shown(str(path))}: the file is empty; expected a header line")
    head = head.replace("\r", "\n").strip("\ufeff").lstrip("\n").split("\n")[0]
    preferred = "\t" if path.suffix.lower() == ".tsv" else ","
    order = sorted(DELIMITERS, key=lambda each: each != preferred)
    try:
        found = max(order, key=lambda each: len(next(csv.reader([head], delimiter=each))))
        names = next(csv.reader([head], delimiter=found))
    except (csv.Error, StopIteration) as error:
        raise DataError(f"{shown(str(path))}, line 1: not a header line: {error}") from None
    names = [name.strip() for name in names]
    return Table(path=path, names=tuple(names), encoding=encoding, delimiter=found)


def _csv_rows(table: Table) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    where = shown(str(table.path))
    with open_text(table.path, table.encoding) as file:
        reader = csv.reader(_bounded(file, where), delimiter=table.delimiter)
        header = True
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"{where}, line {line}: {error}; look for a quote that is not closed"
                ) from None
            if not cells or (len(cells) == 1 and not cells[0].strip("\ufeff \t\r\n")):
                continue
            if header:
                header = False
                continue
            if reader.line_num - line >= MAX_LINES:
                yield line, RowProblem("unclosed_quote", f"the row ends at line {reader.line_num}")
            elif len(cells) > len(table.names) and any(cells[len(table.names) :]):
                detail = f"{len(cells)} cells, the header has {len(table.names)}: put texts that "
                yield line, RowProblem("cell_count", f"{detail}hold {table.delimiter!r} in quotes")
            else:
                # a row may be shorter: what is missing is empty
                yield line, dict(zip(table.names, cells, strict=False))


def _bounded(file: Any, where: str) -> Iterator[str]:
    while line := file.readline(2 * MAX_CELL):
        if len(line) >= 2 * MAX_CELL:
            raise DataError(f"{where}: a line is longer than {len(line)} characters")
        yield line
