"""Which project a notebook belongs to."""

from __future__ import annotations

from pathlib import Path

_MARKERS = ("dvc.yaml", ".git", "pyproject.toml")


def find_root(notebook: Path) -> Path:
    """Return the project of a notebook: the nearest folder with a marker file, else its own."""
    folder = notebook.resolve().parent
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in _MARKERS):
            return candidate
    return folder
