"""Patches over many files: shown, written or checked; a bad file does not stop the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_glass.tools.atomic_file import FileRefusedError, replace_file
from edge_glass.tools.notebook import Notebook, NotebookError, parse_notebook, read_notebook
from edge_glass.tools.patch.outputs import stale_outputs
from edge_glass.tools.patch.rewrite import Note, Outcome, Patch, Review, rewrite_notebook


class Mode(StrEnum):
    """What to do with a notebook that would change."""

    DIFF = "diff"  # show it
    WRITE = "write"  # replace the file, keep a backup
    CHECK = "check"  # only report it


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with each file.

    Attributes:
        patches: those to run, in order.
        review: reads the final code and returns further notes.
        clear_outputs: also clear the outputs that no longer fit the code.
    """

    patches: Sequence[Patch]
    review: Review | None = None
    clear_outputs: bool = False


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of one file."""

    path: Path
    changed_cells: tuple[int, ...] = ()
    cleared_cells: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()
    diff: str = ""
    backup: Path | None = None
    error: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the file changes."""
        return bool(self.changed_cells or self.cleared_cells)


def patch_files(paths: Iterable[Path], job: Job, mode: Mode) -> Iterator[FileReport]:
    """Patch each file and yield its report. Nothing but `Mode.WRITE` changes a file."""
    for path in paths:
        try:
            yield _patch_file(path, job, mode)
        except (NotebookError, FileRefusedError) as error:
            yield FileReport(path=path, error=str(error))


def exit_status(reports: Iterable[FileReport], mode: Mode) -> int:
    """Return 2 if a file failed, 1 if a check found something to change, else 0."""
    reports = list(reports)
    if any(report.error for report in reports):
        return 2
    return int(mode is Mode.CHECK and any(report.changes for report in reports))


def _patch_file(path: Path, job: Job, mode: Mode) -> FileReport:
    notebook = read_notebook(path)
    outcome = rewrite_notebook(notebook, job.patches, job.review)
    cleared = stale_outputs(notebook, outcome.sources) if job.clear_outputs else ()
    backup = None
    if outcome.sources or cleared:
        text = notebook.replaced(outcome.sources, cleared)
        _prove(notebook, outcome, text)
        if mode is Mode.WRITE:
            backup = replace_file(path, notebook.text.encode(), text.encode())
    return FileReport(
        path=path,
        changed_cells=tuple(sorted(outcome.sources)),
        cleared_cells=tuple(cleared),
        notes=outcome.notes,
        diff=_diff(notebook, outcome) if mode is Mode.DIFF else "",
        backup=backup,
    )


def _prove(notebook: Notebook, outcome: Outcome, text: str) -> None:
    """Read the new text back: it is a notebook whose cells hold exactly what was meant."""
    again = parse_notebook(text, notebook.path)
    for old, new in zip(notebook.cells, again.cells, strict=True):
        if new.source != outcome.sources.get(old.index, old.source):
            raise NotebookError(f"{notebook.path}: {old.label} would not read back; not written")


def _diff(notebook: Notebook, outcome: Outcome) -> str:
    pieces: list[str] = []
    for index, source in sorted(outcome.sources.items()):
        cell = notebook.cells[index]
        title = f"{notebook.path}: {cell.label}"
        lines = difflib.unified_diff(
            cell.source.splitlines(), source.splitlines(), title, title, lineterm=""
        )
        pieces += [*lines, ""]
    return "\n".join(pieces)
