"""An append-only file with one line per event: the state from which a later run resumes.

Each line is a CRC-32 and JSON. A kill can tear only the last line, and `replay` cuts it off. A line
that is damaged in the middle is skipped and counted; at worst one image is downloaded again. The
offset of a line in the file serves as its time: a later event has a larger offset.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

Record = dict[str, Any]


class Journal:
    """An append-only file of records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.damaged = 0
        self._mapped: mmap.mmap | bytes = b""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def replay(self) -> Iterator[tuple[int, Record]]:
        """Yields offset and record of every complete line, then cuts off a torn end."""
        offset = good = 0
        with self._path.open("rb") as file:
            for line in file:
                record = decode(line)
                if record is not None:
                    yield offset, record
                    good = offset + len(line)
                elif line.endswith(b"\n"):
                    self.damaged += 1
                    good = offset + len(line)
                offset += len(line)
        if good < offset:
            os.ftruncate(self._file, good)
        self._end = good

    def append(self, lines: list[bytes]) -> list[int]:
        """Writes lines made by `encode`; returns their offsets. Call it only after `replay`."""
        offsets = []
        end = self._end
        for line in lines:
            offsets.append(end)
            end += len(line)
        write_all(self._file, b"".join(lines))
        self._end = end
        return offsets

    def read(self, offset: int) -> Record:
        """Returns the record at an offset from `replay` or `append`."""
        if offset >= len(self._mapped):
            # mapped, because two million calls of `read` would take longer than everything else;
            # length 0 maps the whole file, to which a different thread may append meanwhile
            self._mapped = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        end = self._mapped.find(b"\n", offset)
        record = decode(self._mapped[offset : end + 1])
        if record is None:
            raise OSError(
                f"{self._path}: damaged at byte {offset}; run the command again to skip this line"
            )
        return record

    def sync(self) -> None:
        """Flushes the file to the disk, so that it survives a power cut."""
        os.fsync(self._file)


def encode(record: Record) -> bytes:
    """Returns the line of a record."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Record | None:
    """Returns the record of a line, or None if the line is damaged."""
    if len(line) < 10 or not line.endswith(b"\n"):
        return None
    text = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(text):
        return None
    record: Record = json.loads(text)
    return record


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`: on a nearly full disk one call may write less."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
