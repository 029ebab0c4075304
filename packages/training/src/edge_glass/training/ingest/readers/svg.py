"""SVG drawings that hold their own title, description and keywords (RDF, or `<title>`, `<desc>`).

Each drawing gives up to three captions: the title, the description, and the keywords with commas.
"Clipart by NAME - " at the beginning of a title is removed. Addresses such as `HASH(0x9371fbc)` are
no texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from edge_glass.encoders.file_names import shown
from edge_glass.training.ingest.reading.drawing import MAX_SVG, unpacked
from edge_glass.training.ingest.reading.records import Drop, Record, RowProblem
from edge_glass.training.ingest.reading.source import Source, splits_of_images
from edge_glass.training.ingest.reading.texts import text_of

SVGS = (".svg", ".svgz")
NO_TITLES = ("untitled", "unknown", "title", "untitled document", "svg")
# what programs of the Open Clip Art Library left in titles and keywords
AUTHOR = re.compile(r"\A\s*clip ?art by [^-]+ - ", re.IGNORECASE)
ADDRESS = re.compile(r"hash(\(0x[0-9a-f]+\))?|0x[0-9a-f]+", re.IGNORECASE)


def read_svg(source: Source) -> Iterator[Record | Drop]:
    """Reads the metadata of each drawing; it is rendered later, by the workers."""
    files = source.files(*SVGS)
    splits = splits_of_images(files)
    for name in files:
        try:
            image = source.locator.listed(name)
            captions = _captions(_read_drawing(source.root / name))
        except RowProblem as fault:
            yield Drop(file=shown(name), line=None, reason=fault.reason, detail=fault.detail)
            continue
        yield Record(
            image=image, file=shown(name), line=None, captions=captions, split=splits[name]
        )


def _read_drawing(path: Path) -> bytes:
    """Returns an SVG's bytes, unpacked.

    Raises:
        RowProblem: "unreadable_file", "large_file" or "broken_svg".
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SVG + 1)
    except OSError as error:
        raise RowProblem("unreadable_file", f"{shown(path.name)}: {error.strerror}") from None
    return unpacked(data)


def _captions(data: bytes) -> tuple[str, ...]:
    """Returns the texts of a drawing.

    Raises:
        RowProblem: "broken_svg" or "no_text".
    """
    # the metadata are a small part of most drawings
    begin, end = data.find(b"<metadata"), data.find(b"</metadata>")
    found = _Metadata()
    if 0 <= begin < end:
        try:
            found.parse(data[begin : end + len(b"</metadata>")])
        except RowProblem:
            found = _Metadata()  # an entity that the document declares above
    if not found.title:
        found = _Metadata()
        found.parse(data)
    texts: list[str] = []
    keywords = [word for word in found.keywords if not ADDRESS.fullmatch(word)]
    for text in (AUTHOR.sub("", found.title), found.description, ", ".join(keywords)):
        try:
            clean = " ".join(text_of(text, "caption").split())
        except RowProblem:
            continue
        if ADDRESS.fullmatch(clean):
            continue
        if clean.lower() not in (*NO_TITLES, *(each.lower() for each in texts)):
            texts.append(clean)
    if not texts:
        raise RowProblem("no_text", "no title, description or keywords inside")
    return tuple(texts)


class _Metadata:
    """Collects the texts of one document; names are compared without their prefix."""

    def __init__(self) -> None:
        self.title = self.description = ""
        self.keywords: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []

    def parse(self, data: bytes) -> None:
        parser: Any = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise RowProblem("broken_svg", f"not valid XML: {error}") from None

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._open.append(name.rpartition(":")[2])
        self._text.clear()

    def _end(self, _: str) -> None:
        name = self._open.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if not text:
            return
        above = self._open[-1] if self._open else ""
        own = above == "Work" or (above == "svg" and len(self._open) == 1)
        if name == "title" and own:
            self.title = self.title or text
        elif name in ("description", "desc") and own:
            self.description = self.description or text
        elif name == "li" and "subject" in self._open:
            self.keywords.append(text)
        elif name == "subject" and above == "Work":
            self.keywords += [word.strip() for word in text.split(",") if word.strip()]
