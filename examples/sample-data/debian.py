"""Debian packages: fetched once with apt, checked by their hash, read without installing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from sources import fetched

MAGIC = b"!<arch>\n"
HEADER = 60  # bytes, before each member of an ar archive


@dataclass(frozen=True, kw_only=True)
class DebianPackage:
    """One pinned Debian package.

    Attributes:
        name: of the package.
        version: exact version.
        sha256: of the ``.deb`` file.
    """

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """Name that ``apt-get download`` gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"


def read_debian_packages(path: Path) -> dict[str, DebianPackage]:
    """Read the pinned package list, by name."""
    found = [DebianPackage(**entry) for entry in json.loads(path.read_text())["debian"]]
    return {package.name: package for package in found}


def sha256(data: bytes) -> str:
    """Hash of bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def fetch_deb(package: DebianPackage, cache: Path) -> Path:
    """Return the package's file in ``cache``; see ``sources.fetched``."""
    command = ["apt-get", "download", f"{package.name}={package.version}"]
    return fetched(cache / package.filename, command, sha256, package.sha256)


def read_deb(path: Path, suffix: str) -> dict[str, bytes]:
    """The package's files whose names end in ``suffix``, by path, sorted."""
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is no Debian package; delete it and build again")
    place = len(MAGIC)
    while place < len(data):
        name, size = data[place : place + 16].decode().strip(), int(data[place + 48 : place + 58])
        if name.startswith("data.tar"):
            content = io.BytesIO(data[place + HEADER : place + HEADER + size])
            with tarfile.open(fileobj=content) as archive:
                found = {
                    member.name.removeprefix("./"): archive.extractfile(member)
                    for member in archive
                    if member.isfile() and member.name.endswith(suffix)
                }
                return {name: file.read() for name, file in sorted(found.items()) if file}
        place += HEADER + size + size % 2  # members begin at even places
    raise ValueError(f"{path} holds no data.tar; delete it and build again")
