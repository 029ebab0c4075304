"""The options that several patch commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Notebooks = Annotated[list[Path], typer.Argument(help="Notebook files.", show_default=False)]
Diff = Annotated[bool, typer.Option("--diff", help="Show what would change (the default).")]
Write = Annotated[bool, typer.Option("--write", help="Replace the files; each old one is kept.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if something would change.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="List notebooks with nothing to report too.")
]
Clear = Annotated[
    bool,
    typer.Option(
        "--clear-outputs",
        help="Clear outputs from the first changed cell on; all if cells failed or ran in "
        "another order.",
    ),
]
Devices = Annotated[str, typer.Option(help="Those to use, the main one first.")]
Memory = Annotated[str, typer.Option(help="Memory of each: one size, or one per device.")]
Size = Annotated[
    list[str] | None,
    typer.Option("--size", help="NAME=7.6B or NAME=15GiB: the size of a model or class."),
]
Library = Annotated[
    bool, typer.Option("--library", help="Let functions call the library's if all keys map.")
]
Fit = Annotated[str, typer.Option(help="pad: the whole image; crop: its centre.")]
Root = Annotated[
    Path | None, typer.Option(help="The project's folder; found by itself if not given.")
]
Keyword = Annotated[
    list[str] | None,
    typer.Option("--keyword", help="OLD=NEW or FUNCTION.OLD=NEW: a renamed keyword argument."),
]


def check_fit(fit: str) -> None:
    """Raise a ValueError if `--fit` is unknown."""
    if fit not in ("pad", "crop"):
        raise ValueError(f"--fit is {fit!r}, expected pad or crop")


def folder(root: Path | None) -> Path | None:
    """Return `--root`; raise a ValueError if it is no folder."""
    if root is not None and not root.is_dir():
        raise ValueError(f"--root {root} is no folder")
    return root


def pairs(texts: list[str] | None, option: str) -> tuple[tuple[str, str], ...]:
    """Split the values `A=B` of an option."""
    found = []
    for text in texts or ():
        key, equal, value = text.partition("=")
        if not (key and equal and value):
            raise typer.BadParameter(f"{text!r}: expected two parts as A=B", param_hint=option)
        found.append((key, value))
    return tuple(found)
