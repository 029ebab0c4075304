"""A notebook file as text with known places: sources can be exchanged, all other bytes stay.

Unusual here: a changed notebook is not parsed and written again. The JSON is walked once, the span
of each cell's source is remembered, and a new source is spliced into exactly that span, in the
style it had (one string or a list of lines, its indent, its escapes). Indent, key order, number
formats, line ends and the trailing newline of everything else therefore cannot change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_glass.tools.atomic_file import FileRefusedError, read_file

_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = "\ufeff"
_decode = json.JSONDecoder().raw_decode


# What nbformat runs into when it reads a notebook whose JSON has parts of wrong types.
DAMAGED = (AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)


class NotebookError(Exception):
    """A file is not a notebook that can be worked on. The message names file, place and remedy."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its source and the place of it in the file's text."""

    index: int  # from 0, in file order
    kind: str  # "code", "markdown", "raw", …
    id: str | None  # None before nbformat 4.5
    source: str
    span: tuple[int, int]  # of the JSON value of the source
    outputs: tuple[int, int] | None = None  # of the JSON value of the outputs, if it has any
    count: tuple[int, int] | None = None  # of the JSON value of the execution count

    @property
    def label(self) -> str:
        """The cell as a person finds it: `cell 3` counts from 1, as editors do."""
        return f"cell {self.index + 1}" + (f" [{self.id}]" if self.id else "")


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """A notebook's text, its cells, and the little metadata that decides how to read them."""

    path: Path
    text: str
    cells: tuple[Cell, ...]
    nbformat: int
    language: str

    def replaced(self, sources: Mapping[int, str], cleared: Iterable[int] = ()) -> str:
        """Return the file's text with sources exchanged and outputs cleared.

        Args:
            sources: new sources by cell index.
            cleared: indices of the cells that lose their outputs and execution counts.
        """
        spans = {
            self.cells[index].span: _encode_like(self.text[slice(*self.cells[index].span)], source)
            for index, source in sources.items()
        }
        for index in cleared:
            outputs, count = self.cells[index].outputs, self.cells[index].count
            spans |= {outputs: "[]"} if outputs is not None else {}
            spans |= {count: "null"} if count is not None else {}
        pieces, done = [], 0
        for start, end in sorted(spans):
            pieces += [self.text[done:start], spans[start, end]]
            done = end
        return "".join([*pieces, self.text[done:]])

    def has_run(self, cell: Cell) -> bool:
        """Whether a cell has outputs or an execution count."""
        parts = [(cell.outputs, "[]"), (cell.count, "null")]
        return any(span and "".join(self.text[slice(*span)].split()) != empty
                   for span, empty in parts)  # fmt: skip


def read_notebook(path: Path) -> Notebook:
    """Read `path` (nbformat 3 or 4, UTF-8).

    Raises:
        NotebookError: It is not one; a truncated file is named as such.
        FileRefusedError: It cannot be read.
    """
    try:  # reading a named pipe would wait for ever
        special = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:  # a name that is too long
        raise FileRefusedError(f"{path}: cannot be read: {error.strerror or error}") from error
    if special:
        raise FileRefusedError(
            f"{path}: is a named pipe, a device or the like; name a notebook file"
        )
    data = read_file(path)
    if not data.strip():
        raise NotebookError(f"{path}: is empty")
    try:
        return parse_notebook(data.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise NotebookError(
            f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from None


def parse_notebook(text: str, path: Path) -> Notebook:
    """Parse a notebook's text. `path` is only for messages.

    Raises:
        NotebookError: The text is not a notebook.
    """
    try:
        start = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
        if text[start : start + 1] != "{":
            raise NotebookError(f"{path}: is not a notebook: expected a JSON object at its start")
        top: dict[str, Any] = {}
        places: list[int] = []
        last = start + 1
        for key, at, end, value in _members(text, start):
            top[key], last = value, end
            if key == "cells":
                places.append(at)
            elif key == "worksheets":
                places += _sheet_cells(text, at)
        end = _skip(text, last) + 1  # past the closing brace
        if _skip(text, end) != len(text):
            raise json.JSONDecodeError("more text after the notebook's end", text, end)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        what = "ends too early" if cut else "is not valid JSON"
        raise NotebookError(
            f"{path}: {what} (line {error.lineno}, column {error.colno}: {error.msg}); "
            "restore it from a backup or from version control"
        ) from None
    except ValueError:  # from int(), which refuses thousands of digits
        raise NotebookError(
            f"{path}: is not a notebook: a number in it has too many digits"
        ) from None
    except RecursionError:
        raise NotebookError(f"{path}: is not a notebook: nested too deeply") from None

    if any(text[place : place + 1] != "[" for place in places):
        raise NotebookError(f"{path}: is not a notebook: `cells` is not a list")
    version = top.get("nbformat")
    if not isinstance(version, int) or not places:
        raise NotebookError(f"{path}: is not a notebook: no `nbformat` number or no cells in it")
    if version not in (3, 4):
        raise NotebookError(f"{path}: nbformat {version} is not supported, only 3 and 4")
    cells: list[Cell] = []
    for place in places:
        for at in _elements(text, place):
            cells.append(_cell(text, at, len(cells), path))
    return Notebook(
        path=path, text=text, cells=tuple(cells), nbformat=version, language=_language(top)
    )


def _cell(text: str, at: int, index: int, path: Path) -> Cell:
    """Read the cell that starts at `at`. nbformat 3 calls the source of a code cell `input`."""
    values: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    if text[at : at + 1] != "{":
        raise NotebookError(f"{path}: cell {index + 1} is not a JSON object")
    for key, start, end, value in _members(text, at):
        values[key], spans[key] = value, (start, end)
    kind = values.get("cell_type")
    name = "input" if kind == "code" and "input" in values else "source"
    source = values.get(name)
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(kind, str) or not isinstance(source, str):
        raise NotebookError(f"{path}: cell {index + 1} has no `cell_type` or no source text")
    cell_id = values.get("id")
    return Cell(
        index=index,
        kind=kind,
        id=cell_id if isinstance(cell_id, str) else None,
        source=source,
        span=spans[name],
        outputs=spans.get("outputs"),
        count=spans.get("execution_count", spans.get("prompt_number")),
    )


def _language(top: Mapping[str, Any]) -> str:
    """Return the kernel's language in lower case; Python if the file does not name it."""
    metadata = top.get("metadata")
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        entry = metadata.get(key) if isinstance(metadata, dict) else None
        if isinstance(entry, dict) and isinstance(entry.get(name), str):
            return str(entry[name]).lower()
    return "python"


def _encode_like(old: str, source: str) -> str:
    """Return `source` as JSON in the style of `old`, the JSON value that it replaces."""
    # A lone surrogate cannot be written as UTF-8, so such a file keeps its escapes throughout.
    escapes = re.search(r"\\u(?!00[01])", old) is not None and old.isascii()
    value, _ = _decode(old)
    if isinstance(value, str):
        return _dump(source, escapes)
    raw = {line: old[start:end] for line, start, end in _strings(old)}
    lines = [raw.get(line) or _dump(line, escapes) for line in source.splitlines(keepends=True)]
    places = [(start, end) for _, start, end in _strings(old)]
    if not places:  # "[]": nothing to copy the style from
        return "[" + ", ".join(lines) + "]"
    first, last = places[0][0], places[-1][1]
    between = old[places[0][1] : places[1][0]] if len(places) > 1 else "," + old[1:first]
    return old[:first] + between.join(lines) + old[last:]


def _dump(line: str, escapes: bool) -> str:
    surrogate = any("\ud800" <= character <= "\udfff" for character in line)
    return json.dumps(line, ensure_ascii=escapes or surrogate)


def _strings(array: str) -> Iterator[tuple[str, int, int]]:
    for at in _elements(array, 0):
        value, end = _decode(array, at)
        yield value, at, end


def _sheet_cells(text: str, at: int) -> list[int]:
    places = []
    for sheet in _elements(text, at):
        places += [start for key, start, _, _ in _members(text, sheet) if key == "cells"]
    return places


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # the pattern matches the empty string too
    return match.end()


def _members(text: str, at: int) -> Iterator[tuple[str, int, int, Any]]:
    """Yield key, start, end and value of each member of the JSON object at `at`."""
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("expected a name in double quotes", text, at)
        key, at = _decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("expected ':'", text, at)
        start = _skip(text, at + 1)
        value, end = _decode(text, start)
        yield key, start, end, value
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("expected ',' or '}'", text, at)
        at = _skip(text, at + 1)


def _elements(text: str, at: int) -> Iterator[int]:
    """Yield the start of each element of the JSON array at `at`; nothing if it is none."""
    if text[at : at + 1] != "[":
        return
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        yield at
        at = _skip(text, _decode(text, at)[1])
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
