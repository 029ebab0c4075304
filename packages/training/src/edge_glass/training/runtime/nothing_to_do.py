"""What a stage writes if the data set has nothing for it.

The stage prints one line, and writes empty results. Each folder then holds one small file with the
reason, because git and DVC keep no empty folders; later stages find it there.
"""

from __future__ import annotations

from pathlib import Path

from edge_glass.encoders.files import NO_CONTENT, output_folder, write_atomic, write_json
from edge_glass.training.runtime.progress import say


def nothing_to_do(stage: str, reason: str, *folders: Path, metrics: Path | None = None) -> None:
    """Reports that a stage has nothing to do, and writes its outputs without content."""
    for folder in folders:
        with output_folder(folder) as work:
            write_note(work, reason)
    if metrics is not None:
        write_json(metrics, {})
    say(f"{stage}: nothing to do: {reason}")


def write_note(folder: Path, reason: str) -> None:
    """Writes why a folder has no content."""
    write_atomic(folder / NO_CONTENT, f"{reason}\n".encode())


def read_note(folder: Path) -> str | None:
    """Returns why a folder has no content, None if it has some."""
    path = folder / NO_CONTENT
    return path.read_text().strip() if path.is_file() else None


def remove_note(folder: Path) -> None:
    """Removes the note of an earlier run from a folder that gets content now."""
    (folder / NO_CONTENT).unlink(missing_ok=True)
