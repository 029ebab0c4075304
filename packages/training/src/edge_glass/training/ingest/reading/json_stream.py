"""JSON of any size, an element at a time: a list, a table of lists, or one value per line.

`json.load` of a file of 1 GB needs 5 GB of memory. Here at most one element is in memory, and an
error names its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from edge_glass.encoders.file_names import shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.plain_text import open_text
from edge_glass.training.ingest.reading.records import RowProblem

CHUNK = 2**20  # characters read at a time
HEAD = 4096  # bytes
MAX_VALUE = 64 * 2**20  # characters of one element
MARGIN = 16  # an error this close to the end of what is read may be an element that is cut
MAX_DIGITS = 4000  # Python refuses to read integers of more than 4300

Element = tuple[int, Any]  # line, value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


# not strict: a line break inside of a text is a common fault, and what is meant is clear
DECODER = json.JSONDecoder(parse_int=_integer, strict=False)


def json_head(path: Path) -> bytes:
    """Returns how a JSON file begins, after blanks; b"" if it can't be read, which readers report.

    Enough to see in UTF-8 whether it holds a list or an object, without reading all of it.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:
        return b""


def is_lines(path: Path, encoding: str) -> bool:
    """Returns whether a file holds one JSON value per line, whatever its name."""
    with open_text(path, encoding) as file:
        first = ""
        while not first.strip():
            line = file.readline(MAX_VALUE)
            if not line:
                return path.suffix.lower() != ".json"
            first = line
        if not first.lstrip("\ufeff \t").startswith("{"):
            # a list that is spread over lines is JSON; a line that is no object is a broken row
            return not first.lstrip("\ufeff \t").startswith("[")
        try:
            DECODER.decode(first.strip().strip("\ufeff"))
        except (ValueError, RecursionError):
            return path.suffix.lower() != ".json"
        return path.suffix.lower() != ".json" or bool(file.readline(64).strip())


def json_rows(path: Path, encoding: str) -> Iterator[tuple[int, Any | RowProblem]]:
    """Yields the rows of a JSON list or of a file with one value per line, each with its line.

    A line that is no JSON is yielded as its problem. A broken list is an error.

    Raises:
        DataError: naming file and line, if the list is broken.
    """
    if is_lines(path, encoding):
        yield from _lines(path, encoding)
        return
    with open_text(path, encoding) as file:
        scanner = _Scanner(file, path)
        if scanner.peek() != "[":
            raise DataError(
                f"{_where(path)}: expected a list of rows or one JSON object per line; "
                f"found {scanner.peek()!r} first"
            )
        yield from scanner.elements()


def json_lists(path: Path, encoding: str) -> Iterator[tuple[str, int, Any]]:
    """Yields (key, line, element) for the lists of a JSON object, (key, line, value) for the rest.

    Raises:
        DataError: naming file and line, if the file is broken.
    """
    with open_text(path, encoding) as file:
        scanner = _Scanner(file, path)
        if scanner.peek() != "{":
            raise DataError(f"{_where(path)}: expected an object; found {scanner.peek()!r} first")
        yield from scanner.entries()


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, Any | RowProblem]]:
    with open_text(path, encoding) as file:
        number = 0
        while line := file.readline(MAX_VALUE):
            number += 1
            if len(line) >= MAX_VALUE and not line.endswith("\n"):
                raise DataError(
                    f"{_where(path)}, line {number}: longer than {MAX_VALUE} characters"
                )
            text = line.strip().strip("\ufeff")
            if not text:
                continue
            try:
                yield number, DECODER.decode(text)
            except json.JSONDecodeError as error:
                yield number, RowProblem("not_json", f"{error.msg} at column {error.colno}")
            except RecursionError:
                yield number, RowProblem("not_json", "nested too deep")


class _Scanner:
    """Reads values from a text file, a chunk at a time."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self._file = file
        self._path = path
        self._text = ""
        self._place = 0
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """Returns the next character that is no space, "" at the end."""
        while True:
            while self._place < len(self._text):
                character = self._text[self._place]
                if character not in " \t\r\n\ufeff":
                    return character
                self.line += character == "\n"
                self._place += 1
            if not self._read(CHUNK):
                return ""

    def elements(self) -> Iterator[Element]:
        """Yields the elements of the list that begins here."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            self.peek()
            line = self.line
            yield line, self._value()
            if self.peek() != ",":
                self._take("]")
                return
            self._take(",")

    def entries(self) -> Iterator[tuple[str, int, Any]]:
        """Yields the entries of the object that begins here, lists by element."""
        self._take("{")
        if self.peek() == "}":
            return
        while True:
            self.peek()
            key = self._value()
            if not isinstance(key, str):
                raise self._error(f"expected a name in quotes, found {str(key)[:40]}")
            self._take(":")
            if self.peek() == "[":
                for line, element in self.elements():
                    yield key, line, element
            else:
                line = self.line
                yield key, line, self._value()
            if self.peek() != ",":
                self._take("}")
                return
            self._take(",")

    def _value(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - MARGIN
                if not cut or not self._read(max(CHUNK, len(self._text) - self._place)):
                    self.line += self._text.count("\n", self._place, error.pos)
                    raise self._error(error.msg) from None
                continue
            except RecursionError:
                raise self._error("nested too deep") from None
            # a number at the end of what is read may go on
            if end == len(self._text) and self._read(CHUNK):
                continue
            self.line += self._text.count("\n", self._place, end)
            self._place = end
            return value

    def _take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            raise self._error(f"expected {expected!r}, found {found!r}" if found else "cut off")
        self._place += 1

    def _read(self, number: int) -> bool:
        if self._ended:
            return False
        self._text = self._text[self._place :]
        self._place = 0
        if len(self._text) > MAX_VALUE:
            raise self._error(f"a value is longer than {MAX_VALUE} characters")
        more = self._file.read(number)
        self._ended = not more
        self._text += more
        return bool(more)

    def _error(self, problem: str) -> DataError:
        return DataError(f"{_where(self._path)}, line {self.line}: not valid JSON: {problem}")


def _where(path: Path) -> str:
    return shown(str(path))
