"""Images that a list leaves out, such as near-copies of images that a benchmark holds back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.records import Drop, Record


class Exclusion:
    """The lines of a list: an image's name as the report has it, with or without its suffix.

    A line with `*`, `?` or `[` is a pattern too, in which `*` matches `/`. Empty lines and those
    that begin with `#` do not count.

    Raises:
        DataError: if the list can't be read, or has no line.
    """

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"--exclude is {path}, which can't be read ({error}); expected a text file with "
                "an image per line"
            ) from None
        found = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
        if not found:
            raise DataError(f"--exclude is {path}, which has no line; expected an image per line")
        self._patterns = [line for line in found if any(sign in line for sign in "*?[")]
        self._names = set(found)  # patterns too: an image may be named `a [1].png`
        self._unused = set(found)

    def apply(self, found: Iterable[Record | Drop]) -> Iterator[Record | Drop]:
        """Yields what was found, with a drop in place of each record that is left out."""
        for each in found:
            if isinstance(each, Record) and (line := self._line(each.image.name)) is not None:
                self._unused.discard(line)
                yield Drop(file=each.file, line=each.line, reason="excluded", detail=line)
            else:
                yield each

    def unused(self) -> list[str]:
        """Returns the lines that no image had so far."""
        return sorted(self._unused)

    def _line(self, name: str) -> str | None:
        for each in (name, name.rpartition(".")[0]):
            if each in self._names:
                return each
        return next((each for each in self._patterns if fnmatchcase(name, each)), None)
