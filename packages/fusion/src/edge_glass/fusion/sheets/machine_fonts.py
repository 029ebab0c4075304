"""Fonts of this machine that have a character: by fontconfig, or from the usual folders."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    *(r"C:\Windows\Fonts", r"~\AppData\Local\Microsoft\Windows\Fonts"),
)
SUFFIXES = (".ttf", ".otf", ".ttc")
STYLES = ("regular", "book", "roman", "normal", "medium")
MAX_FILES = 600  # that are looked into without fontconfig
SECONDS = 10  # for fontconfig, which may have to build its cache


@dataclass(frozen=True, kw_only=True)
class FontFile:
    """A font: a file, and its number in a collection."""

    path: Path
    index: int = 0


def fonts_with(character: str) -> Iterator[FontFile]:
    """Yields fonts that may have a character, plain ones without serifs first."""
    listed = _by_fontconfig(character)
    yield from _in_folders() if listed is None else listed


@functools.lru_cache(maxsize=256)
def _by_fontconfig(character: str) -> tuple[FontFile, ...] | None:
    """Returns the fonts that have a character; None without fontconfig."""
    command = ["fc-list", "--format", "%{file}\t%{index}\t%{style}\t%{family}\n"]
    try:
        done = subprocess.run(
            [*command, f":charset={ord(character):x}"],
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found: dict[FontFile, tuple[int, str]] = {}
    for line in os.fsdecode(done.stdout).splitlines():
        name, _, rest = line.partition("\t")
        index, _, about = rest.partition("\t")
        if name.lower().endswith(SUFFIXES) and index.isdecimal():
            # the upper bits number the instances of a variable font
            file = FontFile(path=Path(name), index=int(index) & 0xFFFF)
            found.setdefault(file, (_rank(about), f"{name}:{index:>9}"))
    return tuple(sorted(found, key=lambda file: found[file]))


@functools.cache
def _in_folders() -> tuple[FontFile, ...]:
    files: list[str] = []
    for folder in FOLDERS:
        # Path.expanduser would fail for a user without a home folder
        for parent, _, names in os.walk(os.path.expanduser(folder)):  # noqa: PTH111
            files += [f"{parent}/{name}" for name in names if name.lower().endswith(SUFFIXES)]
    ordered = sorted(files, key=lambda name: (_rank(name), name))
    return tuple(FontFile(path=Path(name)) for name in ordered[:MAX_FILES])


def _rank(about: str) -> int:
    words = about.lower()
    plain = any(style in words for style in STYLES)
    odd = any(word in words for word in ("bold", "italic", "oblique", "mono", "condensed", "serif"))
    return 4 * (not plain) + 2 * odd + ("sans" not in words)
