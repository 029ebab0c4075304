"""The regular members of a tar, compressed or not, in their order."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

FAULTS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, MemoryError)
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


def is_compressed(path: Path) -> bool:
    """Returns whether a tar must be read from its beginning to reach a member."""
    with path.open("rb") as file:
        return file.read(5).startswith(COMPRESSED)


def tar_members(path: Path) -> Iterator[tuple[int, tarfile.TarInfo, tarfile.TarFile]]:
    """Yields (number, member, tar) for each regular file; the member can be read until the next.

    Raises:
        One of `FAULTS`: if the tar is torn.
    """
    with tarfile.open(path, "r:*", encoding="utf-8", errors="surrogateescape") as tar:
        number = -1
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
            number += 1
            if member.isreg() and not member.issparse():
                yield number, member, tar
        # tarfile takes a header that is cut off for the end
        if tar.fileobj is not None:
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("the tar has no end: it is cut off")
