"""WebDataset: tars whose members of one name before the first dot make a sample.

`0001.jpg` with `0001.txt` is an image with a caption; `0001.json` may hold texts by column, or a
conversation.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any

from edge_glass.encoders.file_names import IMAGE_SUFFIXES, is_hidden, shown
from edge_glass.encoders.files import DataError
from edge_glass.training.ingest.reading.columns import Columns, find_columns
from edge_glass.training.ingest.reading.conversations import to_questions, turns_of
from edge_glass.training.ingest.reading.json_stream import DECODER
from edge_glass.training.ingest.reading.locate import MAX_BYTES
from edge_glass.training.ingest.reading.plain_text import decode
from edge_glass.training.ingest.reading.records import (
    MEMBER,
    RANGE,
    Drop,
    ImageRef,
    Record,
    RowProblem,
)
from edge_glass.training.ingest.reading.row_record import row_record
from edge_glass.training.ingest.reading.source import Source, splits_of_paths
from edge_glass.training.ingest.reading.tar_members import FAULTS, is_compressed, tar_members

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
CAPTIONS = ("txt", "caption", "text")
MAX_MEMBER = 16 * 2**20  # bytes of a text
LISTS = ("conversations", "messages")


def read_webdataset(source: Source) -> Iterator[Record | Drop]:
    """Reads each tar; one that is torn is read up to the tear, which is reported."""
    files = source.files(*TARS)
    splits = splits_of_paths(files)
    for name in files:
        sample = _Sample(source, name, splits[name])
        number = 0
        try:
            compressed = is_compressed(source.root / name)
            for number, member, tar in tar_members(source.root / name):
                key, extension = _split_name(member.name)
                if not extension or is_hidden(key.rpartition("/")[2]):
                    continue
                if key != sample.key:
                    yield from sample.finish()
                    sample.begin(key, number)
                sample.add(extension, member, tar, number, compressed=compressed)
        except FAULTS as error:
            detail = f"torn after member {number}: {type(error).__name__}: {error}"
            yield Drop(file=shown(name), line=number, reason="broken_tar", detail=shown(detail))
        yield from sample.finish()


class _Sample:
    """The members of one name; `line` of what it yields is the number of the first member."""

    def __init__(self, source: Source, name: str, split: str) -> None:
        self._source, self._name, self._split = source, name, split
        self.begin("", 0)

    def begin(self, key: str, number: int) -> None:
        self.key = key
        self._number = number
        self._image: ImageRef | None = None
        self._texts: dict[str, bytes] = {}
        self._fault: RowProblem | None = None

    def add(
        self,
        extension: str,
        member: tarfile.TarInfo,
        tar: tarfile.TarFile,
        number: int,
        *,
        compressed: bool,
    ) -> None:
        kind = extension.rpartition(".")[2]  # a name may have more dots: IMG.2020.jpg, IMG.2020.txt
        if f".{kind}" in IMAGE_SUFFIXES:
            if member.size > MAX_BYTES:
                self._fault = RowProblem("large_file", f"{shown(member.name)}: {member.size} bytes")
            elif self._image is None:
                self._image = ImageRef(
                    kind=MEMBER if compressed else RANGE,
                    path=os.fsencode(self._source.root / self._name),
                    name=shown(member.name),
                    offset=number if compressed else member.offset_data,
                    length=member.size,
                )
        elif kind in (*CAPTIONS, "json") and (kind == extension or kind not in self._texts):
            if member.size > MAX_MEMBER:
                self._fault = RowProblem("long_text", f"{shown(member.name)}: {member.size} bytes")
                return
            opened = tar.extractfile(member)
            self._texts[kind] = b"" if opened is None else opened.read()

    def finish(self) -> Iterator[Record | Drop]:
        if not self.key:
            return
        where = shown(self._name)
        try:
            if self._fault is not None:
                raise self._fault
            if self._image is None:
                raise RowProblem("no_image", f"{shown(self.key)} has no image")
            yield from self._record(self._image)
        except RowProblem as fault:
            yield Drop(file=where, line=self._number, reason=fault.reason, detail=fault.detail)
        self.begin("", 0)

    def _record(self, image: ImageRef) -> Iterator[Record | Drop]:
        where, encoding = shown(self._name), self._source.encoding
        row: dict[str, Any] = {}
        if "json" in self._texts:
            row = _object(decode(self._texts["json"], encoding))
        talk = next((key for key in LISTS if isinstance(row.get(key), list)), "")
        if talk:
            turns, _ = turns_of(row[talk])
            questions = tuple(to_questions(turns, ""))
            yield Record(
                image=image, file=where, line=self._number, questions=questions, split=self._split
            )
            return
        caption = next((self._texts[each] for each in CAPTIONS if each in self._texts), None)
        if caption is not None and not self._source.columns:
            row = {**row, "": decode(caption, encoding)}
        columns = self._columns(row)
        yield from row_record(row, columns, image, file=where, line=self._number, split=self._split)

    def _columns(self, row: dict[str, Any]) -> Columns:
        if "" in row:
            return Columns(image="-", captions=("",))
        try:
            given = {**self._source.columns, "image": ("-",)}
            return find_columns([*row, "-"], given, where=shown(self.key))
        except DataError as error:
            raise RowProblem("no_text", str(error)) from None


def _split_name(name: str) -> tuple[str, str]:
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _object(text: str) -> dict[str, Any]:
    try:
        value = DECODER.decode(text.strip().strip("\ufeff"))
    except json.JSONDecodeError as error:
        raise RowProblem("not_json", f"{error.msg} at column {error.colno}") from None
    except RecursionError:
        raise RowProblem("not_json", "nested too deep") from None
    if not isinstance(value, dict):
        raise RowProblem("wrong_type", f"the JSON is {type(value).__name__}, not an object")
    return value
