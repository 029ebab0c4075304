"""Reads images in the order of a slice: whole files, parts of tars, rows of Parquet files."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edge_glass.training.ingest.images import read_file
from edge_glass.training.ingest.readers.parquet import UNREADABLE, image_in_row
from edge_glass.training.ingest.reading.locate import MAX_BYTES, Locator
from edge_glass.training.ingest.reading.records import FILE, MEMBER, RANGE, ImageRef, RowProblem
from edge_glass.training.ingest.reading.tar_members import FAULTS, tar_members

BATCH = 16  # rows of a Parquet file at a time
BUFFER = 2**20  # bytes of a Parquet file at a time

Cells = Iterator[tuple[int, Any]]


class ImageReader:
    """Keeps the last container open, because the next image is most likely in it.

    Args:
        root: the source folder.
        locator: finds the files of rows that hold a path and no bytes.
    """

    def __init__(self, root: Path, locator: Locator) -> None:
        self._root = root
        self._locator = locator
        self._key: tuple[object, ...] = ()
        self._place = -1
        self._cells: Cells = iter(())
        self._members: Iterator[tuple[int, tarfile.TarInfo, tarfile.TarFile]] = iter(())

    def read(self, ref: ImageRef) -> bytes:
        """Returns the bytes of an image.

        Raises:
            RowProblem: naming the reason.
        """
        if ref.kind == FILE:
            return read_file(ref.path, MAX_BYTES)
        if ref.kind == RANGE:
            return self._range(ref)
        if ref.kind == MEMBER:
            return self._member(ref)
        return self._row(ref)

    def _range(self, ref: ImageRef) -> bytes:
        try:
            descriptor = os.open(ref.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(descriptor, ref.length, ref.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RowProblem("unreadable_file", f"{error.strerror}") from None
        if len(data) != ref.length:
            raise RowProblem("truncated_image", f"{len(data)} of {ref.length} bytes are in the tar")
        return data

    def _member(self, ref: ImageRef) -> bytes:
        key = (MEMBER, ref.path)
        try:
            if key != self._key or ref.offset <= self._place:
                self._key = key
                self._members = tar_members(Path(os.fsdecode(ref.path)))
            for number, member, tar in self._members:
                self._place = number
                if number == ref.offset:
                    opened = tar.extractfile(member)
                    data = b"" if opened is None else opened.read(MAX_BYTES)
                    if data:
                        return data
                    break
        except FAULTS as error:
            self._key = ()
            raise RowProblem("broken_tar", f"{type(error).__name__}: {error}") from None
        raise RowProblem("missing_image", "the member is gone or empty")

    def _row(self, ref: ImageRef) -> bytes:
        key = (ref.path, ref.length, ref.column)
        try:
            if key != self._key or ref.offset <= self._place:
                self._key = key
                self._cells = _cells(ref, ref.offset)
            for place, cell in self._cells:
                self._place = place
                if place == ref.offset:
                    return self._cell(ref, cell)
        except RowProblem:
            raise
        except UNREADABLE as error:
            self._key = ()
            raise RowProblem("broken_parquet", f"{type(error).__name__}: {error}"[:200]) from None
        raise RowProblem("missing_image", "the row is gone")

    def _cell(self, ref: ImageRef, cell: Any) -> bytes:
        value = image_in_row(cell)
        if isinstance(value, bytes) and value:
            return value
        if not isinstance(value, str):
            raise RowProblem("missing_image", "the row holds neither bytes nor a path")
        folder = os.path.relpath(os.path.dirname(os.fsdecode(ref.path)), self._root)  # noqa: PTH120
        found = self._locator.find(value, "" if folder == "." else folder)
        return read_file(found.path, MAX_BYTES)


def _cells(ref: ImageRef, first: int) -> Cells:
    place = 0
    with pq.ParquetFile(os.fsdecode(ref.path), buffer_size=BUFFER, pre_buffer=False) as file:
        for batch in file.iter_batches(
            BATCH, row_groups=[ref.length], columns=[ref.column], use_threads=False
        ):
            if place + batch.num_rows <= first:
                place += batch.num_rows
                continue
            column = batch.column(0)
            for number in range(batch.num_rows):
                yield place, column[number].as_py()
                place += 1
