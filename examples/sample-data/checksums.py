"""Checksums of the built files: what the pinned packages give, byte for byte."""

from __future__ import annotations

import hashlib
from pathlib import Path


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_checksums(path: Path) -> dict[str, str]:
    """Read a list in the format of ``sha256sum``."""
    lines = path.read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def write_checksums(found: dict[str, str], path: Path) -> None:
    """Write a list that ``sha256sum --check`` reads in the built folder."""
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in found.items()))


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """One line for each file that is missing, not expected, or has other bytes."""
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected:
            lines.append(f"{name}: not expected")
        elif name not in found:
            lines.append(f"{name}: missing")
        elif found[name] != expected[name]:
            lines.append(f"{name}: found {found[name][:12]}, expected {expected[name][:12]}")
    return lines
