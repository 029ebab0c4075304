"""The new folder that a command writes a model to, checked before any work."""

from __future__ import annotations

from pathlib import Path


def check_new_folder(out: Path, *sources: Path) -> None:
    """Refuses a folder that holds something, can't be one, or lies in a folder that is read.

    Raises:
        OSError: names the folder and the remedy.
    """
    remedy = "name a new folder"
    if out.is_symlink() and not out.is_dir():
        raise FileExistsError(f"{out} is a link to no folder; delete it, or {remedy}")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, expected a folder; {remedy}")
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} exists and is not empty; delete it, or {remedy}")
    for source in sources:
        if source.resolve() in out.resolve().parents:
            raise FileExistsError(
                f"{out} lies in {source}, which would then hold more than its model; {remedy} "
                "outside of it"
            )
