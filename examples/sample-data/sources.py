"""Pinned npm packages: fetched once, checked by their hash, read from the tarball."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class IntegrityError(RuntimeError):
    """A downloaded package is not the one that the list pins."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One pinned npm package.

    Attributes:
        hand: name of the drawing style that it holds; empty for the package with the names.
        name: npm name.
        version: exact version.
        integrity: subresource-integrity string, ``sha512-<base64>``.
    """

    hand: str
    name: str
    version: str
    integrity: str

    @property
    def filename(self) -> str:
        """Name that ``npm pack`` gives the tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def read_packages(path: Path) -> list[Package]:
    """Read the pinned package list."""
    return [Package(**entry) for entry in json.loads(path.read_text())["packages"]]


def integrity(data: bytes) -> str:
    """Subresource-integrity string of ``data``."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def download(command: list[str], cache: Path) -> None:
    """Run a program that writes a package into ``cache``.

    Ends the build with one message if the program is missing or fails.
    """
    try:
        subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not installed, and `{' '.join(command)}` needs it; install it")
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(
            f"`{' '.join(command)}` failed: {last}; check the connection and that the package's "
            "list still has this version"
        )


def fetched(path: Path, command: list[str], measure: Callable[[bytes], str], pinned: str) -> Path:
    """Return a package's file, downloading it if it is not there.

    Args:
        path: of the file.
        command: writes it into its folder.
        measure: gives the hash of its bytes.
        pinned: the hash that it must have.

    Raises:
        IntegrityError: the file's hash is not the pinned one.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        download(command, path.parent)
    found = measure(path.read_bytes())
    if found != pinned:
        raise IntegrityError(
            f"{path}: found {found}, expected {pinned}; delete the file and build again, or "
            "correct packages.json"
        )
    return path


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's tarball in ``cache``; see ``fetched``."""
    command = ["npm", "pack", f"{package.name}@{package.version}", "--pack-destination", "."]
    return fetched(cache / package.filename, command, integrity, package.integrity)


class Tarball:
    """The files of one npm package, read without unpacking to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, bytes] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    self._files[member.name.removeprefix("package/")] = file.read()

    def names(self) -> list[str]:
        """All file names, sorted."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """Bytes of one file.

        Raises:
            KeyError: the package has no such file.
        """
        if name not in self._files:
            raise KeyError(f"{self.path} holds no {name!r}; its layout differs from the pinned one")
        return self._files[name]

    def json(self, name: str) -> Any:
        """One JSON file, parsed."""
        return json.loads(self.read(name))
